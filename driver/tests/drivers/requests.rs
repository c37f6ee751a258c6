//! Requests: in, over to the control thread, and the response out.

use driver::Kind;
use wire::http::Method;

use crate::for_both_drivers;
use crate::house::Plan;

const RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";

for_both_drivers!(
    a_request_is_forwarded_and_answered,
    a_head_may_come_in_pieces,
    a_large_head_passes_a_small_receive_buffer,
    a_body_comes_with_its_request,
    a_full_control_thread_is_told_to_the_client,
    a_bad_request_is_refused_by_the_engine,
    the_peer_is_known_over_both_families,
);

fn a_request_is_forwarded_and_answered(kind: Kind) {
    let house = Plan::new(kind).open();
    for _ in 0..20 {
        let mut client = house.connect();
        client.say("GET /api?x=1 HTTP/1.1\r\nhost: a\r\n\r\n");
        let asked = house.next_request();
        assert_eq!(
            (asked.request.head.path(), asked.request.head.query()),
            ("/api", "x=1")
        );
        house.respond(asked.connection, RESPONSE);
        assert_eq!(client.read_to_end(), RESPONSE);
    }
}

fn a_head_may_come_in_pieces(kind: Kind) {
    let house = Plan::new(kind).open();
    let mut client = house.connect();
    for byte in "GET /pieces HTTP/1.1\r\nhost: a\r\naccept: */*\r\n\r\n".chars() {
        client.say(&byte.to_string());
    }
    let asked = house.next_request();
    assert_eq!(asked.request.head.path(), "/pieces");
    house.respond(asked.connection, RESPONSE);
    assert_eq!(client.read_to_end(), RESPONSE);
}

fn a_large_head_passes_a_small_receive_buffer(kind: Kind) {
    let house = Plan::new(kind).open();
    let mut client = house.connect();
    let cookie = "c".repeat(60 * 1024);
    client.say(&format!(
        "GET / HTTP/1.1\r\nhost: a\r\ncookie: session={cookie}\r\n\r\n"
    ));
    let asked = house.next_request();
    assert_eq!(
        asked.request.head.field("cookie").unwrap().len(),
        "session=".len() + cookie.len()
    );
    house.respond(asked.connection, RESPONSE);
    assert_eq!(client.read_to_end(), RESPONSE);
}

fn a_body_comes_with_its_request(kind: Kind) {
    let house = Plan::new(kind).open();
    let mut client = house.connect();
    let body = "b".repeat(64 * 1024);
    client.say("POST /publish HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n");
    client.say(&body);
    let asked = house.next_request();
    assert_eq!(asked.request.head.method(), Method::Post);
    assert!(asked.request.body == body.as_bytes(), "the body is whole");
    house.respond(asked.connection, RESPONSE);
    assert_eq!(client.read_to_end(), RESPONSE);
}

fn a_full_control_thread_is_told_to_the_client(kind: Kind) {
    let house = Plan {
        is_overloaded: true,
        ..Plan::new(kind)
    }
    .open();
    let mut client = house.connect();
    client.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let response = client.read_to_end();
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
}

fn a_bad_request_is_refused_by_the_engine(kind: Kind) {
    let house = Plan::new(kind).open();
    let mut client = house.connect();
    client.say("GET / HTTP/1.1\r\nno colon here\r\n\r\n");
    let response = client.read_to_end();
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(house.requests.is_empty());
}

fn the_peer_is_known_over_both_families(kind: Kind) {
    for (listen, client, peer) in [
        ("127.0.0.1:0", "127.0.0.1", "127.0.0.1"),
        ("[::1]:0", "::1", "::1"),
        ("[::]:0", "127.0.0.1", "127.0.0.1"),
    ] {
        let house = Plan {
            listen: listen.parse().unwrap(),
            ..Plan::new(kind)
        }
        .open();
        let address = (client, house.engines.local_addr().port());
        let stream = std::net::TcpStream::connect(address).unwrap();
        let mut client = crate::house::Client::over(stream);
        client.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(house.next_request().peer, Some(peer.parse().unwrap()));
    }
}

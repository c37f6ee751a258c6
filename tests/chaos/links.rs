//! Peers that vanish without a word, and clients that talk where they should listen.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use crate::clients::request;
use crate::faults::skipped;
use crate::house::listening_on;
use crate::link::Link;
use crate::support::http::Connection;
use crate::support::{Config, Database, Driver, Node, Stream, World, wait_until};

/// When a peer that has vanished must have been found out: a heartbeat is due every two seconds, and
/// bytes may stay unacknowledged for thirty.
const FOUND_OUT_MAX: Duration = Duration::from_secs(60);

/// How many bytes of talk a node may take that nobody asked for: its socket's buffer and the client's
/// own, and nothing in the process.
const TALK_MAX: usize = 8 << 20;

#[test]
#[ignore = "a minute; script/chaos runs it"]
fn a_peer_that_vanished_is_found_out() {
    let link = match Link::new() {
        Ok(link) => link,
        Err(why) => return skipped("a peer that vanished", &why),
    };
    for driver in [Driver::Uring, Driver::Epoll] {
        let database = Database::new();
        let config = Config::new(&database, driver).text("http.heartbeat", "2s");
        let node = Node::start(&listening_on(config, link.address));
        let here = node.open("acme", "carol");
        let streams = |count: f64| node.metrics().value("tailrace_streams") == count;
        // The namespace is the thread's; whoever holds the stream lives there.
        std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                link.enter();
                let connection = Connection::open(node.address()).expect("the link is up");
                Stream::open_over(connection, &request("acme", "alice"))
            });
            let _there = there.join().expect("it gets a stream");
            wait_until("both are there", FOUND_OUT_MAX, || streams(2.0));
            link.down().expect("the link is ours");
            wait_until("one is found out", FOUND_OUT_MAX, || streams(1.0));
            link.up();
        });
        drop(here);
    }
}

#[test]
fn who_talks_while_it_should_listen_is_not_heard_and_hears_everything() {
    for driver in [Driver::Uring, Driver::Epoll] {
        let world = World::new(driver);
        let connection = Connection::open(world.node.address()).expect("it takes connections");
        let talker = connection.socket().try_clone().expect("a socket can be");
        // C7: another request and a megabyte of anything behind the first.
        let mut stream = Stream::open_over(connection, &request("acme", "alice"));
        let taken = talk(talker);
        assert!(taken < TALK_MAX, "{driver:?}: {taken} bytes were taken");
        let sql = world.database.connect();
        for number in 0..50 {
            sql.run(&format!(
                r#"INSERT INTO "Client" (id, "organizationId", name) VALUES ('{number}', 'acme', 'C')"#
            ));
            let event = stream.event();
            assert_eq!(event["payload"]["record"]["id"], number.to_string());
        }
        assert!(
            !stream.has_received("HTTP/1.1"),
            "one response, and no other"
        );
    }
}

/// Writes requests until no more is taken; how many bytes were.
fn talk(mut socket: std::net::TcpStream) -> usize {
    let limit = Some(Duration::from_millis(300));
    socket.set_write_timeout(limit).expect("it is not zero");
    let request = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1_000);
    let (mut taken, deadline) = (0, Instant::now() + Duration::from_secs(10));
    while taken < TALK_MAX && Instant::now() < deadline {
        match socket.write(request.as_bytes()) {
            Ok(count) => taken += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("the stream broke: {error}"),
        }
    }
    taken
}

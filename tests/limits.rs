//! What one user, one organisation or one address may take of a node: whoever is at a limit is refused
//! and told so, and nobody else notices anything. On two nodes, each of which counts for itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};

use crate::support::http::{Connection, Response};
use crate::support::{Config, Database, End, Node, Pair, Request, Stream, wait_until};

/// How long a stream that was closed may be counted on.
const LIMIT: Duration = Duration::from_secs(20);

/// A pair whose limits differ.
fn pair(change: impl FnOnce(Config) -> Config) -> Pair {
    Pair::on(Database::new(), change)
}

fn stream_of(organization: &str, user: &str) -> Request {
    Request::stream(&format!("organizationId={organization}")).user(user)
}

/// Says that a temporary refusal is what it should be, for both kinds of clients: a short stream for
/// a browser's own `EventSource`, which would never come back after anything but 200, and the true
/// status for a client that asks for it.
fn assert_refused(node: &Node, request: &Request, status: u16, code: &str) {
    let soft = request.send(node.address());
    assert_eq!(soft.head.status, 200, "{soft:?}");
    assert_soft(&soft, code);
    let hard = request.clone().field("x-tailrace-client", "test");
    let hard = hard.send(node.address());
    assert_eq!(hard.head.status, status, "{hard:?}");
    assert_eq!(hard.refusal().0, code, "{hard:?}");
    let after = hard.head.value("retry-after").map(str::parse::<u32>);
    assert!(matches!(after, Some(Ok(1..))), "{hard:?}");
}

fn assert_soft(response: &Response, code: &str) {
    let content_type = response.head.value("content-type");
    assert_eq!(content_type, Some("text/event-stream; charset=utf-8"));
    let mut lines = response.body.lines();
    let retry = lines.next().and_then(|line| line.strip_prefix("retry: "));
    let retry: Option<u32> = retry.and_then(|ms| ms.parse().ok());
    assert!(retry.is_some_and(|ms| ms >= 1_000), "{response:?}");
    let refused = format!("event: refused\ndata: {{\"code\":\"{code}\"");
    assert!(response.body.contains(&refused), "{response:?}");
}

/// Waits until a node counts so many streams: what has ended is given back by the engine's notice.
fn wait_for_streams(node: &Node, count: usize) {
    wait_until("the node knows who has gone", LIMIT, || {
        node.metrics().value("tailrace_streams") == count as f64
    });
}

#[test]
fn a_user_has_three_streams_and_nobody_else_notices() {
    let pair = pair(|config| config.set("limits.connections_per_user", "3"));
    for node in &pair.nodes {
        let alice = stream_of("acme", "alice");
        let mut open: Vec<Stream> = (0..3).map(|_| node.stream(&alice)).collect();
        assert_refused(node, &alice, 429, "too_many_connections");
        let strict = Request::get("/api/activity/stream?organizationId=acme").user("alice");
        let strict = strict.send(node.address());
        assert_eq!(strict.head.status, 429, "{strict:?}");
        // Another organisation, and another user of the same one.
        let others: Vec<Stream> = ["globex", "acme"]
            .map(|organization| node.open(organization, "carol"))
            .into();
        let bobs: Vec<Stream> = (0..3).map(|_| node.open("globex", "bob")).collect();
        // Room again, once one has ended.
        open.pop();
        node.stream(&alice);
        drop((others, bobs));
    }
}

#[test]
fn a_newcomer_at_the_limit_waits_for_a_stream_to_end() {
    // A page that is loaded again opens the new stream before the old one is seen to end.
    let pair = pair(|config| config.set("limits.connections_per_user", "1"));
    for node in &pair.nodes {
        let request = stream_of("acme", "alice");
        let old = node.stream(&request);
        let newcomer = std::thread::scope(|scope| {
            let newcomer = scope.spawn(|| {
                let connection = Connection::open(node.address());
                Stream::open_over(connection.expect("it is accepted"), &request)
            });
            std::thread::sleep(Duration::from_millis(300));
            drop(old);
            newcomer.join().expect("it was let in")
        });
        assert_eq!(newcomer.connected["userId"], "alice");
    }
}

#[test]
fn an_organisation_has_its_own_count() {
    let pair = pair(|config| config.set("limits.connections_per_organization", "2"));
    for node in &pair.nodes {
        // Named, and found as the only one of its user.
        let unnamed = Request::get("/api/realtime/stream").user("alice");
        let mut open = vec![node.open("acme", "carol"), node.stream(&unnamed)];
        assert_refused(
            node,
            &stream_of("acme", "alice"),
            429,
            "too_many_connections",
        );
        assert_refused(node, &unnamed, 429, "too_many_connections");
        // Who is no member is not told that there is such an organisation.
        let foreign = |organization| stream_of(organization, "bob").send(node.address());
        let (there, nowhere) = (foreign("acme"), foreign("nowhere"));
        assert_eq!((there.head.status, &there.body), (403, &nowhere.body));
        let globex = [node.open("globex", "bob"), node.open("globex", "carol")];
        assert_refused(
            node,
            &stream_of("globex", "bob"),
            429,
            "too_many_connections",
        );
        open.pop();
        wait_for_streams(node, 3);
        node.open("acme", "alice");
        drop(globex);
    }
}

#[test]
fn a_node_has_its_own_count() {
    let pair = pair(|config| config.set("limits.connections", "3"));
    for node in &pair.nodes {
        let mut open = vec![
            node.open("acme", "alice"),
            node.open("globex", "bob"),
            node.open("acme", "carol"),
        ];
        assert_refused(node, &stream_of("globex", "carol"), 503, "overloaded");
        // Those that are open are served, and what is no stream is answered.
        assert_eq!(node.get("/livez").head.status, 200);
        open.pop();
        wait_for_streams(node, 2);
        node.open("globex", "carol");
    }
}

#[test]
fn two_users_behind_one_trusted_proxy_share_no_limit() {
    let pair = pair(|config| {
        config
            .set("http.trusted_proxies", "[\"127.0.0.1\"]")
            .set("limits.connections_per_user", "1")
            .set("limits.connections_per_address", "2")
    });
    for node in &pair.nodes {
        let from = |address: &str, organization: &str, user: &str| {
            stream_of(organization, user).field("x-forwarded-for", address)
        };
        // Of an address as many as an address may have, whoever the users are.
        let office = "203.0.113.7";
        let open = [
            node.stream(&from(office, "acme", "alice")),
            node.stream(&from(office, "acme", "carol")),
        ];
        assert_refused(
            node,
            &from(office, "globex", "bob"),
            429,
            "too_many_connections",
        );
        // From the same proxy, and not from the same place.
        let home = node.stream(&from("203.0.113.8", "globex", "bob"));
        let standard = stream_of("acme", "alice").field("forwarded", "for=203.0.113.9");
        assert_refused(node, &standard, 429, "too_many_connections");
        drop((open, home));
    }
}

#[test]
fn who_is_no_proxy_is_not_believed() {
    let pair = pair(|config| {
        config
            .set("http.trusted_proxies", "[\"192.0.2.0/24\"]")
            .set("limits.connections_per_address", "2")
    });
    for node in &pair.nodes {
        let claiming = |number: usize| {
            stream_of("acme", "alice").field("x-forwarded-for", &format!("203.0.113.{number}"))
        };
        let open = [node.stream(&claiming(1)), node.stream(&claiming(2))];
        assert_refused(node, &claiming(3), 429, "too_many_connections");
        // Another address is another address.
        let elsewhere = Stream::open_over(from([127, 0, 0, 2], node), &claiming(1));
        drop((open, elsewhere));
    }
}

#[test]
fn an_address_connects_so_often_a_second() {
    const PER_SECOND: usize = 4;
    let pair = pair(|config| {
        config
            .set("http.trusted_proxies", "[\"127.0.0.1\"]")
            .set("limits.connects_per_second", &PER_SECOND.to_string())
    });
    for node in &pair.nodes {
        let of = |address: &str, organization: &str, user: &str| {
            stream_of(organization, user)
                .field("x-forwarded-for", address)
                .field("x-tailrace-client", "test")
        };
        // Faster than it may, until it is told so.
        let refused = (0..100).find_map(|_| {
            let connection = Connection::open(node.address()).expect("it is accepted");
            let status = status_over(connection, &of("203.0.113.7", "acme", "alice"));
            (status != 200).then_some(status)
        });
        assert_eq!(refused, Some(429));
        // Somebody else, at the same moment and behind the same proxy.
        node.stream(&of("203.0.113.8", "globex", "bob"));
    }
}

#[test]
fn a_client_of_ours_takes_the_place_of_the_oldest_stream() {
    let pair = pair(|config| {
        config
            .set("limits.connections_per_user", "2")
            .set("limits.close_oldest", "true")
    });
    for node in &pair.nodes {
        let ours = stream_of("acme", "alice").field("x-tailrace-client", "test");
        let mut oldest = node.stream(&ours);
        let mut second = node.stream(&ours);
        let other = node.open("globex", "bob");
        let third = node.stream(&ours);
        let bye = oldest.control("bye").json();
        assert_eq!(bye["reason"], "replaced", "{bye}");
        assert_eq!(oldest.try_next(LIMIT), Err(End::Closed));
        // The others stay.
        let silence = second.try_next(Duration::from_millis(200));
        assert_eq!(silence, Err(End::Silent));
        // Plain event sources would close each other for ever.
        let plain = stream_of("acme", "alice").send(node.address());
        assert_soft(&plain, "too_many_connections");
        drop((third, other));
    }
}

#[test]
fn a_stream_without_events_ends_where_that_is_wanted() {
    let pair = pair(|config| {
        config
            .text("limits.idle_close", "2s")
            .text("http.heartbeat", "500ms")
    });
    let sql = pair.database.connect();
    for node in &pair.nodes {
        let mut idle = node.open("globex", "bob");
        let mut busy = node.open("acme", "alice");
        std::thread::scope(|scope| {
            let bye = scope.spawn(|| idle.control("bye").json());
            for _ in 0..20 {
                sql.run(r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'P')"#);
                busy.event();
                std::thread::sleep(Duration::from_millis(200));
            }
            let bye = bye.join().expect("it was told");
            assert_eq!(bye["reason"], "idle", "{bye}");
        });
    }
}

#[test]
fn so_many_sessions_are_looked_at_at_a_time() {
    let database = Database::new();
    let sql = database.connect();
    sql.run(
        r#"CREATE TABLE "Session" (
               id text PRIMARY KEY,
               "sessionToken" text NOT NULL UNIQUE,
               "userId" text NOT NULL,
               expires timestamp(3) NOT NULL
           );
           ALTER PUBLICATION tailrace ADD TABLE "Session";
           GRANT SELECT ON "Session" TO tailrace;"#,
    );
    let pair = Pair::on(database, |config| {
        config
            .set("auth.mode", "[\"jwt\", \"session\"]")
            .text("session.table", "Session")
            .set("limits.handshakes", "2")
    });
    for node in &pair.nodes {
        // The table is locked: whoever has to be looked up there waits.
        sql.run(r#"BEGIN; LOCK TABLE "Session" IN ACCESS EXCLUSIVE MODE"#);
        let of = |number: usize| {
            let cookie = format!("authjs.session-token=token-of-session-{number}");
            Request::stream("organizationId=acme").field("cookie", &cookie)
        };
        // Two of four wait there, and the others are told to come back.
        let (told, tellings) = mpsc::channel();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let told = told.clone();
                scope.spawn(move || {
                    let answer = of(number).send(node.address());
                    told.send(answer).expect("it is waited for");
                });
            }
            for _ in 0..2 {
                let answer = tellings.recv_timeout(LIMIT);
                assert_soft(&answer.expect("they are told at once"), "overloaded");
            }
            assert_refused(node, &of(4), 503, "overloaded");
            sql.run("ROLLBACK");
            for _ in 0..2 {
                let answer = tellings.recv_timeout(LIMIT).expect("the table can be read");
                assert_eq!(answer.head.status, 401, "{answer:?}");
            }
        });
        node.open("globex", "bob");
    }
}

/// A connection from another address of this machine.
fn from(address: [u8; 4], node: &Node) -> Connection {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
    let socket = socket.expect("there are descriptors");
    let own = SocketAddr::from((Ipv4Addr::from(address), 0));
    rustix::net::bind(&socket, &own).expect("all of 127.0.0.0/8 is this machine");
    rustix::net::connect(&socket, &node.address()).expect("the node takes connections");
    Connection::over(socket.into()).expect("a socket takes a limit")
}

/// The status of the answer to a request; whatever else it is, it is dropped.
fn status_over(mut connection: Connection, request: &Request) -> u16 {
    connection.send(&request.bytes()).expect("it is read");
    connection.read_head().expect("it is answered").status
}

//! Clocks that are set while streams are open, and nodes that stand still: sessions end when they were to
//! end, nothing else does, and who was there before is there after.

use std::time::Duration;

use serde_json::json;

use crate::faults::skipped;
use crate::support::config::SECRET;
use crate::support::directory::Directory;
use crate::support::process::Signal;
use crate::support::{Config, Database, Driver, Node, Request, World, session, wait_until};
use crate::surroundings::Clock;

const DAY_SECONDS: u64 = 24 * 3_600;

/// How long a node may take to go by another clock: its library looks once a second.
const SET_MAX: Duration = Duration::from_secs(20);

/// Longer than a stream may take nothing, and longer than sent bytes may stay unacknowledged.
const STILL: Duration = Duration::from_secs(32);

/// Asks for a stream with a session that began a month ago and ends in so many days.
fn ends_in(days: u64) -> Request {
    let now = session::seconds_since_1970();
    let claims = json!({
        "sub": "alice",
        "iat": now - 30 * DAY_SECONDS,
        "exp": now + days * DAY_SECONDS,
    });
    let cookie = format!("session={}", session::signed(&claims, SECRET));
    // With true statuses: a soft refusal would have the one of a stream.
    let request = Request::stream("organizationId=acme").field("x-tailrace-client", "test");
    request.field("cookie", &cookie)
}

#[test]
fn a_clock_that_is_set_ends_nothing_that_has_not_ended() {
    let directory = Directory::new();
    let clock = match Clock::new(directory.join("clock")) {
        Ok(clock) => clock,
        Err(why) => return skipped("a clock that is set", &why),
    };
    for driver in [Driver::Uring, Driver::Epoll] {
        clock.set("+0");
        let database = Database::new();
        let variables = clock.environment().into_iter();
        let config = variables.fold(Config::new(&database, driver), |config, (name, value)| {
            config.env(name, value)
        });
        let mut node = Node::start(&config);
        let (long, short) = (ends_in(60), ends_in(5));
        let mut streams = [node.stream(&long), node.stream(&short)];
        let sql = database.connect();
        for (offset, of_short) in [("+10d", 401), ("-10d", 200), ("+0", 200)] {
            clock.set(offset);
            // That it goes by it is seen where it must be: a session that has ended lets nobody in.
            wait_until(offset, SET_MAX, || status(&node, &short) == of_short);
            assert_eq!(status(&node, &long), 200, "{driver:?}: {offset}");
            sql.run(&format!(
                r#"INSERT INTO "Client" (id, "organizationId", name) VALUES ('{offset}', 'acme', 'C')"#
            ));
            // Streams that are open live on by the clock that nobody sets.
            for stream in &mut streams {
                assert_eq!(stream.event()["payload"]["record"]["id"], offset);
            }
            assert_eq!(node.get("/readyz").head.status, 200, "{driver:?}: {offset}");
        }
        assert!(node.process().is_running());
    }
}

#[test]
#[ignore = "a minute; script/chaos runs it"]
fn a_node_that_stood_still_goes_on_with_everybody() {
    for driver in [Driver::Uring, Driver::Epoll] {
        let mut world = World::new(driver);
        let mut alice = world.node.open("acme", "alice");
        let mut carol = world.node.open("acme", "carol");
        world.node.process().signal(Signal::STOP);
        let sql = world.database.connect();
        for number in 0..100 {
            sql.run(&format!(
                r#"INSERT INTO "Client" (id, "organizationId", name) VALUES ('{number}', 'acme', 'C')"#
            ));
        }
        std::thread::sleep(STILL);
        world.node.process().signal(Signal::CONT);
        for stream in [&mut alice, &mut carol] {
            for number in 0..100 {
                let event = stream.event();
                assert_eq!(event["payload"]["record"]["id"], number.to_string());
            }
        }
        world.node.open("acme", "alice");
    }
}

/// The status of the answer to a request for a stream, which is left at once.
fn status(node: &Node, request: &Request) -> u16 {
    let connection = crate::support::http::Connection::open(node.address());
    let mut connection = connection.expect("the node takes connections");
    connection.send(&request.bytes()).expect("it is read");
    connection.read_head().expect("it is answered").status
}

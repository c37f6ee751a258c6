//! Memory under floods: what clients make a node hold has one bound, however many they are. Each is seen
//! in the resident memory of the whole process, with both drivers.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::clients::request;
use crate::crowd::{self, connect, connect_small};
use crate::lanes;
use crate::support::{Driver, Request, World};

/// How many clients there are. What each makes a node hold is some 60 KiB and 256 KiB.
const CROWD: usize = 4_000;

/// By how much a node may grow for heads and bodies that arrive in pieces: 16 MiB for each of its two
/// engines, a few KiB for each client, and as much again for what an allocator keeps.
const REQUESTS_MAX: u64 = 128 << 20;

/// And for pages that nobody reads: 64 MiB for each engine, beside the events themselves.
const PAGES_MAX: u64 = 224 << 20;

/// What grows less was no flood, and says nothing.
const FLOOD_MIN: u64 = 8 << 20;

/// How long a request may take beside all that.
const NEXT_MAX: Duration = Duration::from_secs(30);

#[test]
fn heads_and_bodies_that_do_not_end_have_one_bound_together() {
    let head = format!(
        "GET /livez HTTP/1.1\r\nhost: a\r\ncookie: {}",
        "x".repeat(60_000)
    );
    let body = format!(
        "POST /api/realtime/publish HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n{}",
        "x".repeat(60_000)
    );
    for driver in [Driver::Uring, Driver::Epoll] {
        for (name, text) in [("heads", &head), ("bodies", &body)] {
            // Each has a node of its own: an allocator keeps what one flood took for the next.
            let mut world = World::new(driver);
            let address = world.node.address();
            let grown = grown(&mut world, || {
                let open: Vec<TcpStream> = (0..CROWD)
                    .filter_map(|_| begin(address, text.as_bytes()))
                    .collect();
                assert!(crowd::is_answered(address, NEXT_MAX), "{driver:?}: {name}");
                open
            });
            println!("{driver:?}: {} MiB for {CROWD} {name}", grown >> 20);
            assert!(grown > FLOOD_MIN, "no flood: {grown} bytes for {name}");
            assert!(grown < REQUESTS_MAX, "{driver:?}: {grown} bytes for {name}");
        }
    }
}

#[test]
fn pages_that_nobody_reads_have_one_bound_together() {
    for driver in [Driver::Uring, Driver::Epoll] {
        let mut world = World::new(driver);
        let address = world.node.address();
        let mut alice = world.node.open("acme", "alice");
        world.database.connect().run(
            r#"INSERT INTO "Property" (id, "organizationId", name, notes)
               SELECT i::text, 'acme', 'P', repeat('x', 5000) FROM generate_series(1, 60) i"#,
        );
        alice.events(60);
        let page = request_page();
        let grown = grown(&mut world, || {
            let open: Vec<TcpStream> = (0..CROWD)
                .filter_map(|_| {
                    let mut socket = connect_small(address)?;
                    socket.write_all(&page).ok()?;
                    Some(socket)
                })
                .collect();
            assert!(open.len() > CROWD / 2, "{}", open.len());
            assert!(crowd::is_answered(address, NEXT_MAX), "{driver:?}");
            open
        });
        println!("{driver:?}: {} MiB for {CROWD} pages", grown >> 20);
        assert!(grown > FLOOD_MIN, "no flood: {grown} bytes for pages");
        assert!(grown < PAGES_MAX, "{driver:?}: {grown} bytes for pages");
        // Who reads gets a page, as soon as there is room again.
        let read = || {
            let page = Request::get("/api/realtime/history?organizationId=acme&limit=50");
            let response = page.user("alice").try_send(address);
            response.is_ok_and(|response| response.head.status == 200)
        };
        crate::support::wait_until("a page is answered", NEXT_MAX, read);
    }
}

/// A page as long as pages may be, for somebody of acme.
fn request_page() -> Vec<u8> {
    let stream = String::from_utf8(request("acme", "alice").bytes()).expect("a request is text");
    let (_, fields) = stream.split_once("\r\n").expect("it has a first line");
    let line = "GET /api/realtime/history?organizationId=acme&limit=60 HTTP/1.1";
    format!("{line}\r\n{fields}").into_bytes()
}

/// By how many bytes a node has grown at the most while something is held.
fn grown<T>(world: &mut World, hold: impl FnOnce() -> T + Send) -> u64 {
    let process = world.node.process().id().as_raw_nonzero().get();
    let memory = || lanes::usage(process).expect("the node runs").0;
    let before = memory();
    let mut most = before;
    thread::scope(|scope| {
        let held = scope.spawn(|| {
            let held = hold();
            // What it sends is read in its turn.
            thread::sleep(Duration::from_secs(1));
            drop(held);
        });
        while !held.is_finished() {
            most = most.max(memory());
            thread::sleep(Duration::from_millis(20));
        }
        held.join().expect("it was held");
    });
    assert!(world.node.process().is_running());
    most - before
}

/// Sends as much of a request as the node takes in half a second.
fn begin(address: SocketAddr, bytes: &[u8]) -> Option<TcpStream> {
    let mut socket = connect(address)?;
    let limit = Some(Duration::from_millis(500));
    socket.set_write_timeout(limit).ok()?;
    match socket.write_all(bytes) {
        Ok(()) => Some(socket),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Some(socket)
        }
        // It was refused.
        Err(_) => None,
    }
}

//! What counts the descriptors of the process, and its processor time: alone in a process of its
//! own, one test after the other. The suite is in `drivers`.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "drivers/house.rs"]
#[expect(dead_code, reason = "the suite uses more of it")]
mod house;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use driver::Kind;
use house::{Client, PATIENCE, Plan};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Held by each test: they share the process's descriptors.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn want_of_descriptors_neither_spins_nor_drops_over_uring() {
    want_of_descriptors_neither_spins_nor_drops(Kind::Uring, false);
}

#[test]
fn want_of_descriptors_neither_spins_nor_drops_over_epoll() {
    want_of_descriptors_neither_spins_nor_drops(Kind::Epoll, false);
}

#[test]
fn who_waits_for_a_descriptor_is_taken_before_listening_ends_over_uring() {
    want_of_descriptors_neither_spins_nor_drops(Kind::Uring, true);
}

#[test]
fn who_waits_for_a_descriptor_is_taken_before_listening_ends_over_epoll() {
    want_of_descriptors_neither_spins_nor_drops(Kind::Epoll, true);
}

#[test]
fn the_last_descriptors_are_the_nodes_own_over_uring() {
    the_last_descriptors_are_the_nodes_own(Kind::Uring);
}

#[test]
fn the_last_descriptors_are_the_nodes_own_over_epoll() {
    the_last_descriptors_are_the_nodes_own(Kind::Epoll);
}

#[test]
fn connections_leave_no_descriptor_behind_over_uring() {
    connections_leave_no_descriptor_behind(Kind::Uring);
}

#[test]
fn connections_leave_no_descriptor_behind_over_epoll() {
    connections_leave_no_descriptor_behind(Kind::Epoll);
}

fn want_of_descriptors_neither_spins_nor_drops(kind: Kind, stops_listening: bool) {
    const WAITING: usize = 100;
    let _alone = ALONE.lock().unwrap();
    // Before the engines start: a ring heeds the limit of the moment in which an accept is armed.
    let before = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(500),
        ..before
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut house = Plan::new(kind).open();
    let mut streams = house.open_streams(50);
    // The sockets of those who will wait are made before the rest is used up: to connect them takes
    // no descriptor more.
    let address = house.engines.local_addr();
    let sockets: Vec<socket2::Socket> = (0..WAITING)
        .map(|_| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap())
        .collect();
    let rest: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    for socket in &sockets {
        socket.connect(&address.into()).unwrap();
    }
    let mut waiting: Vec<Client> = sockets
        .into_iter()
        .map(|socket| Client::over(socket.into()))
        .collect();
    for client in &mut waiting {
        client.say("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
    }

    if stops_listening {
        house.engines.stop_listening();
    }
    // Nobody is let in, the threads are idle, and the streams live.
    let cpu = processor_time();
    std::thread::sleep(Duration::from_secs(1));
    let spent = processor_time() - cpu;
    assert!(
        spent < Duration::from_millis(200),
        "{spent:?} of processor time in a second"
    );
    assert!(house.requests.is_empty());
    house.commit(1, 100);
    for client in &mut streams {
        client.expect_event(1);
    }

    drop(rest);
    for _ in 0..WAITING {
        house.grant_next();
    }
    for client in &mut waiting {
        client.expect_stream();
    }
    house.commit(2, 100);
    for client in streams.iter_mut().chain(&mut waiting) {
        client.expect_event(2);
    }
    if stops_listening {
        let end = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < end, "somebody still listens");
        }
    }
    house.engines.stop();
    setrlimit(Resource::Nofile, before).unwrap();
}

fn the_last_descriptors_are_the_nodes_own(kind: Kind) {
    const OWN: usize = 30;
    const ASKING: usize = 20;
    let _alone = ALONE.lock().unwrap();
    let before = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(500),
        ..before
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut house = Plan::new(kind).open();
    let mut streams = house.open_streams(5);
    let address = house.engines.local_addr();
    let sockets: Vec<socket2::Socket> = (0..ASKING)
        .map(|_| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap())
        .collect();
    // All are used but some of the last ones, which are fewer than are reserved.
    let open = || std::fs::File::open("/dev/null").ok();
    let mut rest: Vec<_> = std::iter::from_fn(open).collect();
    rest.truncate(rest.len() - OWN);
    for socket in &sockets {
        socket.connect(&address.into()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        house.total(|counters| counters.connections),
        5,
        "nobody is let in"
    );
    let own: Vec<_> = (0..OWN).map_while(|_| open()).collect();
    assert_eq!(own.len(), OWN, "none of them is a client's");
    house.commit(1, 100);
    for client in &mut streams {
        client.expect_event(1);
    }
    drop((rest, own, sockets));
    streams.extend(house.open_streams(5));
    house.commit(2, 100);
    for client in &mut streams {
        client.expect_event(2);
    }
    house.engines.stop();
    setrlimit(Resource::Nofile, before).unwrap();
}

fn connections_leave_no_descriptor_behind(kind: Kind) {
    let _alone = ALONE.lock().unwrap();
    let at_rest = open_descriptors();
    let house = Plan::new(kind).open();
    let before = open_descriptors();
    for round in 0..20 {
        let clients = house.open_streams(100);
        for (index, client) in clients.into_iter().enumerate() {
            // Some close, some break, and some only stop speaking.
            match (index + round) % 3 {
                0 => drop(client),
                1 => {
                    let socket = socket2::SockRef::from(&client.stream);
                    socket.set_linger(Some(Duration::ZERO)).unwrap();
                }
                _ => client.stream.shutdown(std::net::Shutdown::Write).unwrap(),
            }
        }
    }
    await_descriptors(before);
    assert_eq!(house.total(|counters| counters.opened), 2_000);
    house.engines.stop();
    await_descriptors(at_rest);
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A ring lets go of its files a moment after it is closed.
fn await_descriptors(want: usize) {
    let end = Instant::now() + PATIENCE;
    while open_descriptors() != want {
        assert!(
            Instant::now() < end,
            "{} descriptors instead of {want}",
            open_descriptors()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap()
}

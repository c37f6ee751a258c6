//! What counts the descriptors of the process, and its processor time: alone in a process of its
//! own, one test after the other. The suite is in `drivers`.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "drivers/both.rs"]
mod both;
#[path = "drivers/house.rs"]
#[expect(dead_code, reason = "the suite uses more of it")]
mod house;

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use both::for_both_drivers;
use driver::Kind;
use house::{Client, PATIENCE, Plan};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

/// Held by each test: they share the process's descriptors.
static ALONE: Mutex<()> = Mutex::new(());

/// Of these a driver takes the last [`driver::RESERVED_DESCRIPTORS`] for itself, and counts the last 54
/// before them as scarce.
const LIMIT: u64 = 500;

for_both_drivers!(
    want_of_descriptors_neither_spins_nor_drops,
    who_waits_for_a_descriptor_is_taken_before_listening_ends,
    the_last_descriptors_are_the_nodes_own,
    nobody_is_lost_while_descriptors_run_out,
    connections_leave_no_descriptor_behind,
);

fn want_of_descriptors_neither_spins_nor_drops(kind: Kind) {
    bear_want_of_descriptors(kind, false);
}

fn who_waits_for_a_descriptor_is_taken_before_listening_ends(kind: Kind) {
    bear_want_of_descriptors(kind, true);
}

fn bear_want_of_descriptors(kind: Kind, stops_listening: bool) {
    const WAITING: usize = 100;
    let _alone = ALONE.lock().unwrap();
    let before = limit_descriptors();
    let mut house = Plan::new(kind).open();
    let mut streams = house.open_streams(50);
    let address = house.engines.local_addr();
    let sockets = sockets(WAITING);
    let rest = use_up_but(0);
    let mut waiting = ask_over(sockets, address);

    if stops_listening {
        house.engines.stop_listening();
    }
    // Nobody is let in, the threads are idle, and the streams live.
    expect_idleness();
    assert!(house.requests.is_empty());
    house.commit(1, 100);
    for client in &mut streams {
        client.expect_event(1);
    }

    drop(rest);
    for _ in 0..WAITING {
        house.grant_next();
    }
    waiting.iter_mut().for_each(Client::expect_stream);
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
    const WAITING: usize = 100;
    const ROUNDS: usize = 10;
    let _alone = ALONE.lock().unwrap();
    let before = limit_descriptors();
    // One engine, which learns from its own clients that there is no descriptor for them.
    let mut house = Plan {
        threads: 1,
        ..Plan::new(kind)
    }
    .open();
    let mut streams = house.open_streams(5);
    let address = house.engines.local_addr();
    let mut sockets = sockets(WAITING);
    let mut rest = use_up_but(driver::RESERVED_DESCRIPTORS);
    // All for clients are gone at one time, and whoever comes next is accepted before anybody can look.
    let first = sockets.pop().unwrap();
    first.connect(&address.into()).unwrap();
    let mut first = Client::over(first.into());
    assert_eq!(first.read_to_end(), "");

    // From then on whoever comes waits, and costs nothing.
    expect_idleness();
    let mut waiting = ask_over(sockets, address);
    expect_idleness();
    assert!(house.requests.is_empty(), "nobody is let in");
    expect_own_descriptors();
    house.commit(1, 100);
    for client in &mut streams {
        client.expect_event(1);
    }

    // As many are let in as there is room for, and the others keep their places.
    for _ in 0..ROUNDS {
        drop(rest.pop());
        house.grant_next();
        expect_own_descriptors();
    }
    assert!(house.requests.is_empty(), "one for each");

    drop(rest);
    for _ in ROUNDS..waiting.len() {
        house.grant_next();
    }
    waiting.iter_mut().for_each(Client::expect_stream);
    house.commit(2, 100);
    for client in streams.iter_mut().chain(&mut waiting) {
        client.expect_event(2);
    }
    house.engines.stop();
    setrlimit(Resource::Nofile, before).unwrap();
}

fn nobody_is_lost_while_descriptors_run_out(kind: Kind) {
    const COMING: usize = 100;
    const ROOM: usize = 20;
    let _alone = ALONE.lock().unwrap();
    let before = limit_descriptors();
    let mut house = Plan {
        threads: 1,
        ..Plan::new(kind)
    }
    .open();
    let address = house.engines.local_addr();
    let mut sockets = sockets(1 + COMING);
    let rest = use_up_but(driver::RESERVED_DESCRIPTORS + 1 + ROOM as u64);
    // By the one who comes first the engine sees that few are left.
    let first = sockets.pop().unwrap();
    first.connect(&address.into()).unwrap();
    let mut streams = house.open_streams_of(vec![Client::over(first.into())]);

    let mut coming = ask_over(sockets, address);
    for _ in 0..ROOM {
        house.grant_next();
    }
    expect_idleness();
    assert!(house.requests.is_empty(), "no more than there is room for");
    expect_own_descriptors();

    drop(rest);
    for _ in ROOM..COMING {
        house.grant_next();
    }
    coming.iter_mut().for_each(Client::expect_stream);
    house.commit(1, 100);
    for client in streams.iter_mut().chain(&mut coming) {
        client.expect_event(1);
    }
    house.engines.stop();
    setrlimit(Resource::Nofile, before).unwrap();
}

/// Sets [`LIMIT`], and says what it was. To be called before the engines start: they heed the limit of
/// that moment, and a ring that of the moment in which an accept is armed.
fn limit_descriptors() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(LIMIT),
        ..before
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    before
}

/// Holds every descriptor but the last ones.
fn use_up_but(last: u64) -> Vec<File> {
    let mut rest: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let last = usize::try_from(last).unwrap();
    assert!(rest.len() > last, "the clients have not taken them");
    rest.truncate(rest.len() - last);
    rest
}

/// The sockets of clients, made while there are descriptors: to connect them takes none of ours more.
fn sockets(count: usize) -> Vec<Socket> {
    (0..count)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap())
        .collect()
}

/// Clients that have asked for a stream.
fn ask_over(sockets: Vec<Socket>, address: SocketAddr) -> Vec<Client> {
    for socket in &sockets {
        socket.connect(&address.into()).unwrap();
    }
    let ask = |socket: Socket| {
        let mut client = Client::over(socket.into());
        client.say("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
        client
    };
    sockets.into_iter().map(ask).collect()
}

/// The process can open as many files as are reserved; all but a few, since an engine that looks for a
/// descriptor has it for a moment.
fn expect_own_descriptors() {
    let own: Result<Vec<_>, _> = (4..driver::RESERVED_DESCRIPTORS)
        .map(|_| File::open("/dev/null"))
        .collect();
    own.expect("no client has them");
}

/// The threads do next to nothing for a second.
fn expect_idleness() {
    let cpu = processor_time();
    std::thread::sleep(Duration::from_secs(1));
    let spent = processor_time() - cpu;
    assert!(
        spent < Duration::from_millis(200),
        "{spent:?} of processor time in a second"
    );
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

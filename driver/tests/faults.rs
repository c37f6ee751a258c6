//! System calls that fail, over both drivers: a server of its own process runs under `strace`, which
//! makes some of its calls return an error without making them (`-e inject`). What a fault may cost is
//! said with it, and is at most the connection that it hit; nobody else misses an event.
//!
//! The completions of a ring cannot be made to fail in this way; a ring that is too small for them is
//! tried in `src/poller_tests.rs`, and the want of descriptors in `descriptors.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "drivers/house.rs"]
#[expect(dead_code, reason = "the suite uses more of it")]
mod house;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use driver::Kind;
use house::{Client, House, Plan};

/// Set in the process that serves: over which driver.
const SERVER: &str = "TAILRACE_TEST_SERVES_OVER";

/// How many streams are open, and how many events each of them is sent.
const STREAMS: usize = 40;
const EVENTS: usize = 60;

/// What the server says before its address.
const LISTENS: &str = "listens on ";

#[test]
fn an_interrupted_ring_goes_on() {
    survives(Kind::Uring, "io_uring_enter:error=EINTR:when=1+2", 0);
}

#[test]
fn a_ring_without_memory_goes_on() {
    survives(Kind::Uring, "io_uring_enter:error=EAGAIN:when=1+2", 0);
    survives(Kind::Uring, "io_uring_enter:error=ENOMEM:when=2+3", 0);
}

#[test]
fn a_ring_that_is_full_goes_on() {
    survives(Kind::Uring, "io_uring_enter:error=EBUSY:when=1+2", 0);
}

#[test]
fn a_ring_is_smaller_where_memory_is_short() {
    survives(Kind::Uring, "io_uring_setup:error=ENOMEM:when=1", 0);
}

#[test]
fn a_ring_has_fewer_flags_on_an_older_kernel() {
    survives(Kind::Uring, "io_uring_setup:error=EINVAL:when=1..2", 0);
}

#[test]
fn an_interrupted_wait_goes_on() {
    let waits = "epoll_wait,epoll_pwait,epoll_pwait2";
    survives(Kind::Epoll, &format!("{waits}:error=EINTR:when=1+2"), 0);
}

#[test]
fn a_send_without_memory_is_made_again() {
    for error in ["EAGAIN", "EINTR", "ENOBUFS", "ENOMEM"] {
        survives(Kind::Epoll, &format!("sendto:error={error}:when=1+2"), 0);
    }
}

#[test]
fn a_send_that_breaks_costs_one_connection() {
    for error in ["ECONNRESET", "EPIPE", "ETIMEDOUT"] {
        survives(Kind::Epoll, &format!("sendto:error={error}:when=200"), 1);
    }
}

#[test]
fn an_accept_that_fails_is_made_again() {
    for error in [
        "ECONNABORTED",
        "EINTR",
        "EMFILE",
        "ENFILE",
        "ENOBUFS",
        "EPROTO",
    ] {
        survives(Kind::Epoll, &format!("accept4:error={error}:when=1+3"), 0);
    }
}

#[test]
fn a_receive_that_brings_nothing_is_made_again() {
    for error in ["EAGAIN", "EINTR", "ENOMEM"] {
        survives(Kind::Epoll, &format!("recvfrom:error={error}:when=1+2"), 0);
        survives(Kind::Uring, &format!("recvfrom:error={error}:when=1+2"), 0);
    }
}

#[test]
fn a_receive_that_breaks_costs_one_connection() {
    survives(Kind::Epoll, "recvfrom:error=ECONNRESET:when=7", 1);
    survives(Kind::Uring, "recvfrom:error=ETIMEDOUT:when=7", 1);
}

#[test]
fn a_watch_that_is_refused_costs_one_connection() {
    survives(Kind::Epoll, "epoll_ctl:error=ENOMEM:when=30", 1);
    survives(Kind::Epoll, "epoll_ctl:error=ENOSPC:when=60", 1);
}

/// Streams of a server under this fault get every event, but for as many as may be lost; and the server
/// ends in order.
fn survives(kind: Kind, fault: &str, lost_max: usize) {
    let log = std::env::temp_dir().join(format!(
        "tailrace-faults-{}-{kind:?}-{}",
        std::process::id(),
        fault.replace([':', '=', ','], "-")
    ));
    let (calls, _) = fault.split_once(':').unwrap();
    let mut server = Command::new("strace")
        .args(["-f", "-qq", "--seccomp-bpf", "-o"])
        .arg(&log)
        .args(["-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={fault}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "serves_while_its_calls_fail", "--nocapture"])
        .env(SERVER, kind.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("strace is needed: script/test installs it");
    // Kept until the end: the server says more when it is done.
    let mut said = BufReader::new(server.stdout.take().unwrap());
    let whole = stream_from(&mut said, fault);
    // The end of its input is the end of the server.
    drop(server.stdin.take());
    let status = server.wait().unwrap();
    let calls = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    assert!(status.success(), "{kind:?} {fault}: {status}");
    assert!(
        calls.contains("INJECTED"),
        "{kind:?} {fault}: it never came"
    );
    assert!(
        whole + lost_max >= STREAMS,
        "{kind:?} {fault}: {whole} of {STREAMS} streams got everything"
    );
}

/// Reads as many streams, and says how many got every event. What one got is a beginning in any case.
fn stream_from(said: &mut impl BufRead, fault: &str) -> usize {
    let address = said.lines().find_map(|line| {
        let line = line.unwrap();
        let (_, address) = line.split_once(LISTENS)?;
        Some(address.parse::<SocketAddr>().unwrap())
    });
    let address = address.unwrap_or_else(|| panic!("{fault}: the server did not start"));
    let mut clients: Vec<Client> = (0..STREAMS).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.say("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    let counts = clients.into_iter().map(|client| events_of(client, fault));
    counts.filter(|count| *count == EVENTS).count()
}

/// How many events a client gets before its stream ends or it has all.
fn events_of(mut client: Client, fault: &str) -> usize {
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let text = String::from_utf8_lossy(&received);
        let numbers = text.split("\"number\":").skip(1);
        let numbers = numbers.filter_map(|rest| rest.split(',').next()?.parse().ok());
        let numbers: Vec<usize> = numbers.collect();
        assert!(
            numbers.iter().copied().eq(1..=numbers.len()),
            "{fault}: {numbers:?}"
        );
        let is_whole = text.ends_with("\n\n");
        if numbers.len() == EVENTS && is_whole {
            return EVENTS;
        }
        match client.stream.read(&mut buffer) {
            Ok(0) | Err(_) => return numbers.len().saturating_sub(usize::from(!is_whole)),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The server, in a process of its own; otherwise nothing is to be done here.
#[test]
fn serves_while_its_calls_fail() {
    let Some(kind) = std::env::var_os(SERVER) else {
        return;
    };
    let kind = match kind.to_str() {
        Some("io_uring") => Kind::Uring,
        _ => Kind::Epoll,
    };
    let plan = Plan {
        threads: 1,
        ..Plan::new(kind)
    };
    let mut house = plan.open();
    let mut out = std::io::stdout();
    writeln!(out, "{LISTENS}{}", house.engines.local_addr()).unwrap();
    out.flush().unwrap();
    admit(&house);
    for number in 1..=EVENTS {
        house.commit(number, 500);
        std::thread::sleep(Duration::from_millis(2));
    }
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    house.engines.stop();
}

/// Lets everybody in who asks, until all have asked or nobody has for a while: one may be lost.
fn admit(house: &House) {
    const QUIET: Duration = Duration::from_secs(3);
    let mut admitted = 0;
    let mut last = Instant::now();
    while admitted < STREAMS && last.elapsed() < QUIET {
        if house.requests.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        } else {
            house.grant_next();
            admitted += 1;
            last = Instant::now();
        }
    }
}

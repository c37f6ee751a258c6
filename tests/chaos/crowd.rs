//! Crowds: heads that come byte by byte or are large, requests that wait, and those that never stop; and how a
//! node is asked whether it is there. What each promises to those who behave is seen by those who behave.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde_json::json;

use crate::stage::Stage;
use crate::support::Request;

/// How long a connection may take; a node that stands still takes none.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// When heads that do not end must all have been closed, not counting the time for which the node stands
/// still. Its own limit is five seconds from the first byte; one that each byte moves would never come.
const SLOW_MAX: Duration = Duration::from_secs(30);

/// How often each of the slow heads grows by a byte.
const DRIP: Duration = Duration::from_millis(400);

/// How long an answer may take to begin.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A crowd came, if at least half of it got through; else why it did not.
pub(crate) fn is_crowd(what: &str, came: usize, wanted: usize) -> Result<(), String> {
    let is_enough = came * 2 >= wanted;
    is_enough
        .then_some(())
        .ok_or_else(|| format!("no crowd: {came} of {wanted} {what}"))
}

/// Heads that never end, and grow. Says how many connections there were; an error where the node keeps
/// some.
pub(crate) fn slow_heads(
    address: SocketAddr,
    count: usize,
    stage: &Stage,
    is_still: impl Fn() -> bool,
) -> Result<usize, String> {
    let head = b"GET /api/realtime/stream?organizationId=acme HTTP/1.1\r\nhost: a\r\nx-slow: ";
    let mut open: Vec<TcpStream> = (0..count)
        .filter_map(|_| connect(address))
        .filter(|mut socket| socket.write_all(head).is_ok())
        .collect();
    for socket in &open {
        socket.set_nonblocking(true).map_err(|e| e.to_string())?;
    }
    let begun = open.len();
    let (mut waited, mut last) = (Duration::ZERO, Instant::now());
    while !open.is_empty() {
        if waited >= SLOW_MAX {
            let left = open.len();
            return Err(format!(
                "{left} of {begun} slow heads are open after {SLOW_MAX:?}"
            ));
        }
        open.retain_mut(|socket| socket.write_all(b"x").is_ok() && !has_ended(socket));
        if !stage.sleep(DRIP, Stage::is_broken_off) {
            break;
        }
        let now = Instant::now();
        if !is_still() {
            waited += now - last;
        }
        last = now;
    }
    Ok(begun)
}

/// Heads of 60 kB each that do not end either, as many as the node takes. They hold what they take until
/// they are dropped, or the node gives them up.
pub(crate) fn large_heads(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let head = format!(
        "GET /livez HTTP/1.1\r\nhost: a\r\ncookie: {}",
        "x".repeat(60_000)
    );
    (0..count)
        .filter_map(|_| begin(address, head.as_bytes()))
        .collect()
}

/// Sends as much of a request as the node takes in half a second.
pub(crate) fn begin(address: SocketAddr, bytes: &[u8]) -> Option<TcpStream> {
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

/// What became of what was published.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) taken: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// One publisher publishes as fast as it can, from eight threads.
pub(crate) fn publish_flood(
    address: SocketAddr,
    organisation: &str,
    marker: &str,
    time: Duration,
    stage: &Stage,
) -> Result<Published, String> {
    let body = json!({
        "type": "chaos.flood",
        "organizationId": organisation,
        "data": { "marker": marker },
    });
    let request = Request::new("POST", "/api/realtime/publish").service();
    let bytes = request.with_json(&body).bytes();
    let published = Published::default();
    let until = Instant::now() + time;
    let post = || -> Result<(), String> {
        while Instant::now() < until && !stage.is_broken_off() {
            let counter = match status_of(address, &bytes) {
                Some(202) => &published.taken,
                Some(429) => &published.limited,
                Some(503 | 504) => &published.failed,
                None => {
                    // It is away, and connections to it are refused at once.
                    stage.sleep(Duration::from_millis(20), Stage::is_broken_off);
                    &published.failed
                }
                Some(other) => return Err(format!("status {other} for what is published")),
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let posts: Vec<_> = (0..8).map(|_| scope.spawn(post)).collect();
        posts
            .into_iter()
            .try_for_each(|post| post.join().expect("a publisher does not fail"))
    })?;
    Ok(published)
}

/// Many requests at once that wait for their answers.
pub(crate) fn waiting_requests(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let bytes = Request::get("/livez").bytes();
    (0..count)
        .filter_map(|_| connect(address))
        .filter(|mut socket| socket.write_all(&bytes).is_ok())
        .collect()
}

/// How many of them are answered in the end with 200.
pub(crate) fn answered(waiting: Vec<TcpStream>, limit: Duration) -> usize {
    let until = Instant::now() + limit;
    let is_answered = |mut socket: TcpStream| {
        let left = until.saturating_duration_since(Instant::now());
        status(&mut socket, left.max(DRIP)) == Some(200)
    };
    waiting
        .into_iter()
        .filter_map(|it| is_answered(it).then_some(()))
        .count()
}

/// Whether a plain request is answered, as whoever comes anew is.
pub(crate) fn is_answered(address: SocketAddr, limit: Duration) -> bool {
    let bytes = Request::get("/livez").bytes();
    crate::support::becomes_true(limit, || status_of(address, &bytes) == Some(200))
}

/// The status of the answer to these bytes, where there is one.
pub(crate) fn status_of(address: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut socket = connect(address)?;
    socket.write_all(bytes).ok()?;
    status(&mut socket, ANSWER_MAX)
}

/// The status of the answer that comes next, with so much time for each part of it.
fn status(socket: &mut TcpStream, limit: Duration) -> Option<u16> {
    socket.set_read_timeout(Some(limit)).ok()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 2_048];
    while answer.len() < 12 {
        match socket.read(&mut buffer) {
            Ok(count @ 1..) => answer.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
    str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// A connection, where the node takes one.
pub(crate) fn connect(address: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&address, CONNECT_MAX).ok()
}

/// A connection with little room for what is sent to it.
pub(crate) fn connect_small(address: SocketAddr) -> Option<TcpStream> {
    // Servers are started meanwhile, and must not inherit it.
    let flags = SocketFlags::CLOEXEC;
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, flags, None).ok()?;
    // Before connecting, so that the window is announced small (tcp(7)).
    sockopt::set_socket_recv_buffer_size(&socket, 4 * 1024).ok()?;
    // Connecting waits for as long as sending may (socket(7)).
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(CONNECT_MAX)).ok()?;
    rustix::net::connect(&socket, &address).ok()?;
    Some(socket.into())
}

/// Whether the node has ended it, in whatever way.
fn has_ended(socket: &mut TcpStream) -> bool {
    let mut buffer = [0; 512];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

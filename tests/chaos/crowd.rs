//! Crowds: heads that come byte by byte, streams that nobody reads, streams opened and reset again and
//! again, requests that never stop. What each promises to those who behave is seen by those who behave.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde_json::json;

use crate::clients::request;
use crate::stage::Stage;
use crate::support::Request;

/// How long a connection may take; a node that stands still takes none.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// When heads that do not end must all have been closed: the node's own limit is five seconds, and it
/// may be made to stand still meanwhile.
const SLOW_MAX: Duration = Duration::from_secs(60);

/// How often each of the slow heads grows by a byte.
const DRIP: Duration = Duration::from_millis(400);

/// Heads that never end, and grow. Says how many connections there were; an error where the node keeps
/// some.
pub(crate) fn slow_heads(
    address: SocketAddr,
    count: usize,
    stage: &Stage,
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
    let deadline = Instant::now() + SLOW_MAX;
    while !open.is_empty() {
        if Instant::now() >= deadline {
            let left = open.len();
            return Err(format!(
                "{left} of {begun} slow heads are open after {SLOW_MAX:?}"
            ));
        }
        open.retain_mut(|socket| socket.write_all(b"x").is_ok() && !has_ended(socket));
        if !stage.sleep(DRIP, Stage::is_broken_off) {
            break;
        }
    }
    Ok(begun)
}

/// Streams that nobody reads, for so long. Says how many there were.
pub(crate) fn stalled_readers(
    address: SocketAddr,
    count: usize,
    users: &[(&str, String)],
    time: Duration,
    stage: &Stage,
) -> usize {
    let requests: Vec<Vec<u8>> = users
        .iter()
        .map(|(organisation, user)| request(organisation, user).bytes())
        .collect();
    let open: Vec<TcpStream> = (0..count)
        .filter_map(|number| {
            let mut socket = connect_small(address)?;
            socket.write_all(&requests[number % requests.len()]).ok()?;
            Some(socket)
        })
        .collect();
    stage.sleep(time, Stage::is_broken_off);
    open.len()
}

/// Streams that are opened all at once and reset, several times over. Says how many there were.
pub(crate) fn reconnect_storm(
    address: SocketAddr,
    count: usize,
    users: &[(&str, String)],
    stage: &Stage,
) -> usize {
    let requests: Vec<Vec<u8>> = users
        .iter()
        .map(|(organisation, user)| request(organisation, user).bytes())
        .collect();
    let mut opened = 0;
    for round in 0..4 {
        let mut open = Vec::with_capacity(count);
        for number in 0..count {
            let Some(mut socket) = connect(address) else {
                continue;
            };
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
            // A reset is a way to end it, too.
            let _ = socket.write_all(&requests[number % requests.len()]);
            open.push(socket);
        }
        opened += open.len();
        if round % 2 == 0 {
            // Time for verdicts: half of the storms end streams, the others requests.
            stage.sleep(Duration::from_millis(700), Stage::is_broken_off);
        }
    }
    opened
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

/// Many requests at once that wait for their answers; how many get one in the end.
pub(crate) fn waiting_requests(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let bytes = Request::get("/livez").bytes();
    (0..count)
        .filter_map(|_| connect(address))
        .filter(|mut socket| socket.write_all(&bytes).is_ok())
        .collect()
}

/// Whether a plain request is answered, as whoever comes anew is.
pub(crate) fn is_answered(address: SocketAddr, limit: Duration) -> bool {
    let bytes = Request::get("/livez").bytes();
    crate::support::becomes_true(limit, || status_of(address, &bytes) == Some(200))
}

fn status_of(address: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut socket = connect(address)?;
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    socket.write_all(bytes).ok()?;
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

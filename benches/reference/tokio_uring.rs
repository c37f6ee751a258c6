//! A plain SSE fan-out server on tokio-uring, as one writes it in that world: a task, a read buffer
//! and a receiver of the broadcast channel for each connection.
//!
//! `GET` of any path is a stream; `POST` of any path sends its body, a whole event block, to every
//! stream. It prints `listening <address>`. Nothing of Tailrace is here, and nothing is left out
//! that would make it slower: no sessions, no filters, no resume, no heartbeat.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Sender};
use tokio_uring::net::{TcpListener, TcpStream};

/// How many events a stream may lag behind before it misses some.
const LAG_MAX: usize = 1024;

/// The longest request: head and body, in bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What a stream waits with for its client to go: a client sends nothing more.
const IDLE_READ_BYTES: usize = 64;

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache\r\n\r\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

fn main() -> std::io::Result<()> {
    tokio_uring::start(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        println!("listening {}", listener.local_addr()?);
        let (events, _) = broadcast::channel(LAG_MAX);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio_uring::spawn(serve(stream, events.clone()));
        }
    })
}

/// Serves one connection to its end.
async fn serve(stream: TcpStream, events: Sender<Bytes>) {
    let Some(request) = read_request(&stream).await else {
        return;
    };
    match request {
        Request::Stream => serve_stream(&stream, &events).await,
        Request::Publish(event) => {
            // An error means that nobody listens.
            let _ = events.send(event);
            let _ = stream.write_all(PUBLISHED).await;
        }
    }
}

/// Sends the stream's head, and then every event until the client goes.
async fn serve_stream(stream: &TcpStream, events: &Sender<Bytes>) {
    let _ = stream.set_nodelay(true);
    let mut events = events.subscribe();
    if stream.write_all(STREAM_HEAD).await.0.is_err() {
        return;
    }
    let mut gone = pin!(async {
        let mut buffer = Vec::with_capacity(IDLE_READ_BYTES);
        loop {
            let (result, returned) = stream.read(buffer).await;
            buffer = returned;
            if !matches!(result, Ok(1..)) {
                return;
            }
        }
    });
    loop {
        let event = tokio::select! {
            () = &mut gone => return,
            event = events.recv() => event,
        };
        match event {
            Ok(event) => {
                if stream.write_all(event).await.0.is_err() {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        }
    }
}

/// What a client wants.
enum Request {
    Stream,
    Publish(Bytes),
}

/// Reads one request, head and body; `None` where there is none to be had.
async fn read_request(stream: &TcpStream) -> Option<Request> {
    let (mut request, mut chunk) = (Vec::new(), Vec::with_capacity(4096));
    loop {
        let (result, returned) = stream.read(chunk).await;
        chunk = returned;
        let taken = result.ok().filter(|taken| *taken > 0)?;
        request.extend_from_slice(&chunk[..taken]);
        if request.len() > REQUEST_BYTES_MAX {
            return None;
        }
        if let Some(request) = parse(&request)? {
            return Some(request);
        }
    }
}

/// Reads a request from what arrived: `Some(None)` where more is needed.
fn parse(bytes: &[u8]) -> Option<Option<Request>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(body_start) = head.parse(bytes).ok()? else {
        return Some(None);
    };
    if head.method == Some("GET") {
        return Some(Some(Request::Stream));
    }
    let field = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(field?.value).ok()?.parse().ok()?;
    let body = bytes.get(body_start..body_start.checked_add(length)?);
    Some(body.map(|body| Request::Publish(Bytes::copy_from_slice(body))))
}

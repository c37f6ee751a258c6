//! A plain SSE fan-out server on tokio-uring, as one writes it in that world: a task, a read buffer and a
//! receiver of its organisation's broadcast channel for each connection, on one thread.
//!
//! What is asked of it is written in `lib.rs`.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use reference::{Organisations, STREAM_HEAD, Then, answer};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_uring::net::{TcpListener, TcpStream};

/// What a stream waits with for its client to go: a client sends nothing more.
const IDLE_READ_BYTES: usize = 64;

fn main() -> std::io::Result<()> {
    tokio_uring::start(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        println!("listening {}", listener.local_addr()?);
        let organisations = Rc::new(Organisations::default());
        loop {
            let (stream, _) = listener.accept().await?;
            tokio_uring::spawn(serve(stream, Rc::clone(&organisations)));
        }
    })
}

/// Serves one connection to its end.
async fn serve(stream: TcpStream, organisations: Rc<Organisations>) {
    let _ = stream.set_nodelay(true);
    if let Some(organisation) = serve_requests(&stream, &organisations).await {
        let events = organisations.subscribe(&organisation);
        drop(organisations);
        serve_stream(stream, events).await;
    }
}

/// Answers whoever publishes, until the connection ends or asks for a stream: that of an organisation.
async fn serve_requests(stream: &TcpStream, organisations: &Organisations) -> Option<String> {
    let (mut requests, mut chunk) = (Vec::new(), Vec::with_capacity(4096));
    loop {
        let (result, returned) = stream.read(chunk).await;
        chunk = returned;
        let taken = result.ok().filter(|taken| *taken > 0)?;
        requests.extend_from_slice(&chunk[..taken]);
        let (answers, then) = answer(&mut requests, organisations);
        if !answers.is_empty() {
            stream.write_all(answers).await.0.ok()?;
        }
        match then {
            Then::Read => {}
            Then::Close => return None,
            Then::Stream(organisation) => return Some(organisation),
        }
    }
}

/// Sends the stream's head, and then every event until the client goes.
async fn serve_stream(stream: TcpStream, mut events: Receiver<Bytes>) {
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

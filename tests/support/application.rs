//! The application beside the node, as far as the node asks it anything: a server that answers what
//! a test wants and keeps what it was asked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a request says, and the answer's status and body.
type Answer = dyn Fn(&str) -> (u16, String) + Send + Sync;

/// The running server. It ends with the value.
pub(crate) struct Application {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Box<Answer>,
    asked: Mutex<Vec<String>>,
    is_away: AtomicBool,
    has_ended: AtomicBool,
}

impl Application {
    /// Answers each request by its head.
    pub(crate) fn start(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            asked: Mutex::default(),
            is_away: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if of_thread.has_ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || shared.serve(socket));
            }
        });
        Self { address, shared }
    }

    /// Where it is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared
            .asked
            .lock()
            .expect("nobody panics with it")
            .clone()
    }

    /// Answers nobody from now on, or everybody again.
    pub(crate) fn be_away(&self, is_away: bool) {
        self.shared.is_away.store(is_away, Ordering::SeqCst);
    }
}

impl Shared {
    /// Serves a connection until its other end closes it.
    fn serve(&self, mut socket: TcpStream) {
        let mut pending = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            let end = pending.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = end else {
                match socket.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(len) => pending.extend_from_slice(&buffer[..len]),
                }
                continue;
            };
            let head: Vec<u8> = pending.drain(..end + 4).collect();
            let head = String::from_utf8(head).expect("the node asks in UTF-8");
            if self.is_away.load(Ordering::SeqCst) {
                return;
            }
            self.asked
                .lock()
                .expect("nobody panics with it")
                .push(head.clone());
            let (status, body) = (self.answer)(&head);
            let answer = format!(
                "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            if socket.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

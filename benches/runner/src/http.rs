//! Publishing by HTTP: `POST`s on one connection that stays open, pipelined, for all contestants that
//! take events that way.
//!
//! An answer is read when it comes and never waited for, so that a server's time to answer does not
//! pace its load; a bound on what is unanswered stands for the socket's buffers.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::contestant::{Event, Publisher};

/// How many requests may be unanswered.
const UNANSWERED_MAX: usize = 1_024;

/// How long a server may take no byte and give none.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the requests of a server look.
pub(crate) struct Route {
    /// The path for the organisation with this number.
    pub(crate) path: fn(u32) -> String,
    /// Further fields of the head, each with its line's end.
    pub(crate) fields: String,
    /// Appends an event as the server wants it in a body.
    pub(crate) write: fn(&Event, usize, &mut Vec<u8>),
    /// How many bytes that shall have.
    pub(crate) bytes: usize,
    /// Whether one body may hold several events of the same organisation.
    pub(crate) is_batched: bool,
    /// Whether a request waits for the answer to the one before it: for servers that do not take
    /// pipelined requests.
    pub(crate) is_in_turn: bool,
}

impl Route {
    /// What servers of our own speak: whole SSE blocks, several in a body.
    pub(crate) fn own(block_bytes: usize) -> Self {
        Self {
            path: |organisation| format!("/publish?organizationId=o{organisation}"),
            fields: String::new(),
            write: |event, bytes, body| event.write_block(bytes, body),
            bytes: block_bytes,
            is_batched: true,
            is_in_turn: false,
        }
    }
}

/// A connection that events go out on.
pub(crate) struct HttpPublisher {
    route: Route,
    address: SocketAddr,
    stream: TcpStream,
    unanswered: usize,
    /// Bytes that are to go out, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// Bytes of an answer that is not whole.
    answers: Vec<u8>,
    body: Vec<u8>,
}

impl HttpPublisher {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr, route: Route) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            route,
            address,
            stream,
            unanswered: 0,
            out: Vec::new(),
            sent: 0,
            answers: Vec::new(),
            body: Vec::new(),
        })
    }

    /// Appends a request for the events at the beginning that may share one, and says how many.
    fn write_request(&mut self, events: &[Event]) -> usize {
        let organisation = events[0].organisation;
        let shared = |event: &&Event| event.organisation == organisation;
        let count = if self.route.is_batched {
            events.iter().take_while(shared).count()
        } else {
            1
        };
        self.body.clear();
        for event in &events[..count] {
            (self.route.write)(event, self.route.bytes, &mut self.body);
        }
        let path = (self.route.path)(organisation);
        let (address, fields, length) = (self.address, &self.route.fields, self.body.len());
        write!(
            self.out,
            "POST {path} HTTP/1.1\r\nhost: {address}\r\n{fields}content-length: {length}\r\n\r\n"
        )
        .expect("a vector takes everything");
        self.out.extend_from_slice(&self.body);
        self.unanswered += 1;
        count
    }

    /// Sends what is to go out and reads what has come, until nothing is to go out and no more than
    /// so many requests are unanswered.
    fn exchange(&mut self, unanswered_max: usize) -> io::Result<()> {
        let mut progress = Instant::now();
        loop {
            let moved = self.send()? | self.receive()?;
            if self.sent == self.out.len() {
                self.out.clear();
                self.sent = 0;
                if self.unanswered <= unanswered_max {
                    return Ok(());
                }
            }
            if moved {
                progress = Instant::now();
            } else if progress.elapsed() > PATIENCE {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "the server takes no more events",
                ));
            } else {
                self.wait()?;
            }
        }
    }

    fn send(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(moved),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            moved = true;
        }
        Ok(moved)
    }

    fn receive(&mut self) -> io::Result<bool> {
        let mut moved = false;
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                // What came before the end may be all that was wanted.
                Ok(0) if moved => return Ok(true),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.answers.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(moved),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            moved = true;
            let mut taken = 0;
            while let Some(length) = answer(&self.answers[taken..])? {
                taken += length;
                self.unanswered = self.unanswered.checked_sub(1).ok_or_else(|| {
                    io::Error::new(ErrorKind::InvalidData, "an answer to no request")
                })?;
            }
            self.answers.drain(..taken);
        }
    }

    /// Waits until the socket can do something, but not for ever.
    fn wait(&self) -> io::Result<()> {
        const AT_MOST: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        let mut flags = PollFlags::IN;
        if self.sent < self.out.len() {
            flags |= PollFlags::OUT;
        }
        match poll(&mut [PollFd::new(&self.stream, flags)], Some(&AT_MOST)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Publisher for HttpPublisher {
    fn publish(&mut self, mut events: &[Event]) -> io::Result<()> {
        let unanswered_max = if self.route.is_in_turn {
            0
        } else {
            UNANSWERED_MAX
        };
        while !events.is_empty() {
            let count = self.write_request(events);
            events = &events[count..];
            if self.route.is_in_turn || self.unanswered > unanswered_max {
                self.exchange(unanswered_max)?;
            }
        }
        self.exchange(unanswered_max)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.exchange(0)
    }
}

/// The length of the answer at the beginning, where it is whole; an error where it is no success.
fn answer(bytes: &[u8]) -> io::Result<Option<usize>> {
    let invalid = |why: String| io::Error::new(ErrorKind::InvalidData, why);
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head
        .parse(bytes)
        .map_err(|error| invalid(format!("no HTTP answer: {error}")))?;
    let httparse::Status::Complete(start) = parsed else {
        return Ok(None);
    };
    let code = head.code.expect("a whole head has one");
    if !(200..300).contains(&code) {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(start + 200)]);
        return Err(invalid(format!("an event was answered with {text:?}")));
    }
    let field = |name: &str| {
        let field = head
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| String::from_utf8_lossy(field.value).trim().to_owned())
    };
    if field("transfer-encoding").is_some() {
        const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
        let body = &bytes[start..];
        let end = body
            .windows(LAST_CHUNK.len())
            .position(|window| window == LAST_CHUNK);
        return Ok(end.map(|end| start + end + LAST_CHUNK.len()));
    }
    let length = match field("content-length") {
        None => 0,
        Some(length) => length
            .parse()
            .map_err(|_| invalid(format!("a length of {length:?} bytes")))?,
    };
    Ok((bytes.len() >= start + length).then_some(start + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead as _;
    use std::net::TcpListener;

    #[test]
    fn answers_are_told_apart_whatever_their_bodies() {
        let plain = b"HTTP/1.1 204 No Content\r\n\r\nHTTP";
        assert_eq!(answer(plain).unwrap(), Some(plain.len() - 4));
        let body = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(answer(body).unwrap(), Some(body.len()));
        assert_eq!(answer(&body[..body.len() - 1]).unwrap(), None);
        let chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        assert_eq!(answer(chunks).unwrap(), Some(chunks.len()));
        assert_eq!(answer(b"HTTP/1.1 20").unwrap(), None);
        assert!(
            answer(b"HTTP/1.1 503 Full\r\n\r\n")
                .unwrap_err()
                .to_string()
                .contains("503")
        );
    }

    #[test]
    fn events_of_one_organisation_share_a_request_and_order_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = io::BufReader::new(stream.try_clone().unwrap());
            let mut seen = Vec::new();
            for _ in 0..3 {
                let (mut request, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.trim().parse().unwrap();
                    }
                    if line == "\r\n" {
                        break;
                    }
                    request.push_str(&line);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let first = request.lines().next().unwrap().to_owned();
                seen.push((first, body.len()));
            }
            stream
                .write_all(&b"HTTP/1.1 204 No Content\r\n\r\n".repeat(3))
                .unwrap();
            seen
        });
        let mut publisher = HttpPublisher::connect(address, Route::own(300)).unwrap();
        let event = |organisation, sequence| Event {
            organisation,
            sequence,
            at: 1,
        };
        publisher
            .publish(&[event(1, 1), event(1, 2), event(2, 1), event(1, 3)])
            .unwrap();
        publisher.settle().unwrap();
        let line = |number| format!("POST /publish?organizationId=o{number} HTTP/1.1");
        let expected = [(line(1), 600), (line(2), 300), (line(1), 300)];
        assert_eq!(server.join().unwrap(), expected);
    }
}

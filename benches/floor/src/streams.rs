//! The open streams by organisation, what is pending for each organisation, and the two loops.

use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// All open streams.
#[derive(Default)]
pub(crate) struct Streams {
    by_name: HashMap<String, usize>,
    organisations: Vec<Organisation>,
    /// Those with something pending, in the order in which it came.
    dirty: Vec<usize>,
    /// Those of which a socket was full.
    full: Vec<usize>,
}

#[derive(Default)]
struct Organisation {
    /// In the order of the descriptors, which is that of the kernel's own tables.
    streams: Vec<Stream>,
    is_unsorted: bool,
    /// What was published since the last pass, and where each event ends in it.
    pending: Vec<u8>,
    ends: Vec<usize>,
    /// What is sent in this pass: its room is used again for the next one.
    slice: Vec<u8>,
    /// A socket did not take everything.
    is_full: bool,
}

struct Stream {
    socket: OwnedFd,
    /// What the socket did not take. Empty, and without room, wherever the client keeps up.
    rest: Vec<u8>,
}

/// The client has left.
struct Gone;

impl Streams {
    pub(crate) fn open(&mut self, organisation: &str, socket: OwnedFd) {
        let place = match self.by_name.get(organisation) {
            Some(place) => *place,
            None => {
                self.organisations.push(Organisation::default());
                let place = self.organisations.len() - 1;
                self.by_name.insert(organisation.to_owned(), place);
                place
            }
        };
        let organisation = &mut self.organisations[place];
        let rest = Vec::new();
        organisation.streams.push(Stream { socket, rest });
        organisation.is_unsorted = true;
    }

    /// Takes events for an organisation, or for all.
    pub(crate) fn publish(&mut self, organisation: Option<&str>, body: &[u8]) {
        let places = match organisation {
            None => 0..self.organisations.len(),
            Some(name) => match self.by_name.get(name) {
                None => return,
                Some(place) => *place..*place + 1,
            },
        };
        for place in places {
            let organisation = &mut self.organisations[place];
            if organisation.pending.is_empty() {
                self.dirty.push(place);
            }
            let start = organisation.pending.len();
            organisation.pending.extend_from_slice(body);
            organisation
                .ends
                .extend(blocks(body).map(|block| start + block.end));
        }
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// The first loop: for each event, a send to each socket.
    pub(crate) fn send_each(&mut self) {
        self.pass(|organisation, slice, ends| {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            for (start, end) in starts.zip(ends) {
                organisation.send(&slice[start..*end]);
            }
        });
    }

    /// The second loop: all that is pending in one send to each socket.
    pub(crate) fn send_together(&mut self) {
        self.pass(|organisation, slice, _| organisation.send(slice));
    }

    fn pass(&mut self, send: impl Fn(&mut Organisation, &[u8], &[usize])) {
        for place in std::mem::take(&mut self.full) {
            let organisation = &mut self.organisations[place];
            // Whoever has something pending as well gets both below.
            if organisation.pending.is_empty() {
                organisation.send(&[]);
            }
            if organisation.is_full {
                self.full.push(place);
            }
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for place in dirty.drain(..) {
            let organisation = &mut self.organisations[place];
            organisation.sort();
            let slice = std::mem::take(&mut organisation.slice);
            let slice = std::mem::replace(&mut organisation.pending, slice);
            let ends = std::mem::take(&mut organisation.ends);
            let was_full = organisation.is_full;
            send(organisation, &slice, &ends);
            organisation.slice = slice;
            organisation.slice.clear();
            if organisation.is_full && !was_full {
                self.full.push(place);
            }
        }
        self.dirty = dirty;
    }

    /// Closes the streams whose clients have left. Whether there were any.
    pub(crate) fn drop_ended(&mut self) -> bool {
        let mut has_ended = false;
        for organisation in &mut self.organisations {
            organisation.streams.retain(|stream| {
                let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
                let read = rustix::net::recv(&stream.socket, &mut [0u8; 1], flags);
                let is_open = matches!(read, Err(Errno::AGAIN));
                has_ended |= !is_open;
                is_open
            });
        }
        has_ended
    }
}

impl Organisation {
    fn sort(&mut self) {
        if std::mem::take(&mut self.is_unsorted) {
            self.streams
                .sort_unstable_by_key(|stream| stream.socket.as_raw_fd());
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut has_gone = false;
        self.is_full = false;
        for stream in &mut self.streams {
            has_gone |= stream.send(bytes).is_err();
            self.is_full |= !stream.rest.is_empty();
        }
        if has_gone {
            // A second try finds out which.
            self.streams.retain_mut(|stream| stream.send_rest().is_ok());
        }
    }
}

impl Stream {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if !self.rest.is_empty() {
            self.rest.extend_from_slice(bytes);
            return self.send_rest();
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let taken = self.offer(bytes)?;
        self.rest.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    fn send_rest(&mut self) -> Result<(), Gone> {
        let taken = self.offer(&self.rest)?;
        if taken == self.rest.len() {
            self.rest = Vec::new();
        } else {
            self.rest.drain(..taken);
        }
        Ok(())
    }

    fn offer(&self, bytes: &[u8]) -> Result<usize, Gone> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(&self.socket, bytes, flags) {
            Ok(taken) => Ok(taken),
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => Ok(0),
            Err(_) => Err(Gone),
        }
    }
}

/// The ranges of the SSE blocks of a body, which ends with the last of them.
fn blocks(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = &body[start..];
        if rest.is_empty() {
            return None;
        }
        let end = rest.windows(2).position(|pair| pair == b"\n\n");
        let end = end.map_or(body.len(), |end| start + end + 2);
        Some(std::mem::replace(&mut start, end)..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn events_reach_their_organisation_and_wait_for_a_client_that_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut streams = Streams::default();
        let mut client = |name: &str| {
            let client = TcpStream::connect(address).unwrap();
            streams.open(name, listener.accept().unwrap().0.into());
            client
        };
        let (mut one, mut other) = (client("o1"), client("o2"));
        let large = [b"data: ", vec![b'x'; 8 * 1024 * 1024].as_slice(), b"\n\n"].concat();
        streams.publish(Some("o1"), &large);
        streams.publish(None, b"data: 1\n\ndata: 2\n\n");
        streams.send_each();
        assert!(streams.has_full(), "no socket takes 8 MiB");
        let reader = std::thread::spawn(move || {
            let mut taken = vec![0; large.len() + 18];
            one.read_exact(&mut taken).unwrap();
            taken
        });
        while streams.has_full() {
            streams.send_together();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(
            reader
                .join()
                .unwrap()
                .ends_with(b"\n\ndata: 1\n\ndata: 2\n\n")
        );
        let mut taken = [0; 18];
        other.read_exact(&mut taken).unwrap();
        assert_eq!(&taken, b"data: 1\n\ndata: 2\n\n");
        drop(other);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(streams.drop_ended());
    }
}

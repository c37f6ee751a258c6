//! Readers by the thousand that read slowly, or not at all. What they hold up is seen by those who read;
//! what they are sent is looked through like everybody's.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::clients::request;
use crate::crowd::connect_small;
use crate::house::House;
use crate::leaks::Search;
use crate::stage::Stage;

/// How often a slow reader reads, and how many bytes at a time: a kilobyte a second.
const SIP: Duration = Duration::from_millis(250);
const SIP_BYTES: usize = 256;

/// How many bytes of those who have read nothing are looked through at the end: more than their buffers
/// hold.
const HELD_BYTES_MAX: usize = 256 << 10;

/// How they read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Not at all, until it is over.
    Stalled,
    /// A kilobyte a second.
    Slow,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Sluggish {
    /// How many connected and asked.
    pub(crate) asked: usize,
    /// How many got a stream.
    pub(crate) streams: usize,
    /// How many of those the node has ended.
    pub(crate) ended: usize,
    /// How much of all that was read.
    pub(crate) bytes: usize,
}

/// One of them.
struct Reader {
    socket: TcpStream,
    search: Search,
    /// What came first, until it is known to be a stream.
    first: Vec<u8>,
    is_stream: bool,
    has_ended: bool,
    bytes: usize,
}

/// Streams that are read like this for so long, from sockets with little room. The error is a promise that
/// was not kept.
pub(crate) fn read_sluggishly(
    address: SocketAddr,
    count: usize,
    pace: Pace,
    time: Duration,
    house: &House,
    stage: &Stage,
) -> Result<Sluggish, String> {
    let mut readers: Vec<Reader> = (0..count)
        .filter_map(|number| Reader::new(address, number, house))
        .collect();
    let until = Instant::now() + time;
    while Instant::now() < until && stage.sleep(SIP, Stage::is_broken_off) {
        if pace == Pace::Slow {
            readers
                .iter_mut()
                .try_for_each(|reader| reader.read(SIP_BYTES))?;
        }
    }
    for reader in &mut readers {
        while reader.bytes < HELD_BYTES_MAX && !reader.has_ended {
            let before = reader.bytes;
            reader.read(16 << 10)?;
            if reader.bytes == before {
                break;
            }
        }
    }
    let streams = || readers.iter().filter(|reader| reader.is_stream);
    Ok(Sluggish {
        asked: readers.len(),
        streams: streams().count(),
        ended: streams().filter(|reader| reader.has_ended).count(),
        bytes: readers.iter().map(|reader| reader.bytes).sum(),
    })
}

impl Reader {
    /// One of many, which takes turns to be a user of each organisation.
    fn new(address: SocketAddr, number: usize, house: &House) -> Option<Self> {
        let (organisation, user) = &house.users[number % house.users.len()];
        let mut socket = connect_small(address)?;
        socket
            .write_all(&request(organisation, user).bytes())
            .ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self {
            socket,
            search: Search::new(house.markers.foreign(organisation)),
            first: Vec::new(),
            is_stream: false,
            has_ended: false,
            bytes: 0,
        })
    }

    /// Reads what is there, at most so many bytes.
    fn read(&mut self, most: usize) -> Result<(), String> {
        let mut buffer = [0; 16 << 10];
        match self.socket.read(&mut buffer[..most]) {
            Ok(0) => self.has_ended = true,
            Ok(count) => {
                self.bytes += count;
                self.search.look(&buffer[..count])?;
                if !self.is_stream {
                    self.first.extend_from_slice(&buffer[..count]);
                    self.is_stream =
                        String::from_utf8_lossy(&self.first).contains("\nevent: connected");
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.has_ended = true,
        }
        Ok(())
    }
}

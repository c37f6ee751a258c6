//! The task of one stream, from its socket's first byte to its last.
//!
//! All streams read into the one buffer of [`Reader`]: a task has the bytes only until it waits
//! again, and keeps of them no more than the beginning of a block.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdTcpStream};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::net::TcpStream;
use monoio::net::tcp::stream_poll::TcpStreamPoll;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::clock::monotonic_nanoseconds;
use crate::pool::{End, Pool};
use crate::stream::Wish;

/// How many bytes are read at a time: more than a socket mostly holds, and less than the
/// processor's own memory.
const BUFFER_BYTES: usize = 256 * 1024;

/// How often a task reads before the others have their turn: the second read mostly finds nothing,
/// which is how the runtime learns that it has to ask the kernel again.
const READS_MAX: usize = 2;

/// What the tasks of all streams share.
pub(crate) struct Shared {
    pub(crate) pool: RefCell<Pool>,
    buffer: RefCell<Box<[u8]>>,
    /// When the loop wants to go on, and how to make it.
    turn_end: RefCell<Option<(u64, Waker)>>,
}

impl Shared {
    /// For a pool whose streams are not open yet.
    pub(crate) fn new(pool: Pool) -> Rc<Self> {
        Rc::new(Self {
            pool: RefCell::new(pool),
            buffer: RefCell::new(vec![0; BUFFER_BYTES].into()),
            turn_end: RefCell::new(None),
        })
    }

    /// Wakes the loop at the first read after this time. The runtime's own timers only fire when no
    /// task is ready, which may be never.
    pub(crate) fn end_turn_at(&self, time: u64, waker: Waker) {
        self.turn_end.replace(Some((time, waker)));
    }

    #[inline]
    fn end_turn_if_due(&self, now: u64) {
        let due = |turn_end: &mut (u64, Waker)| turn_end.0 <= now;
        if let Some((_, waker)) = self.turn_end.borrow_mut().take_if(due) {
            waker.wake();
        }
    }
}

/// Opens the streams that may be opened now, each in a task of its own.
pub(crate) fn open_pending(shared: &Rc<Shared>) {
    let mut pool = shared.pool.borrow_mut();
    if pool.pending.is_empty() {
        return;
    }
    let now = monotonic_nanoseconds();
    while let Some((number, request)) = pool.next_pending(now) {
        monoio::spawn(hold(Rc::clone(shared), number, request));
    }
}

/// Holds a stream until it ends, or is to be dropped.
async fn hold(shared: Rc<Shared>, number: u32, request: String) {
    let end = {
        let mut life = pin!(live(&shared, number, request));
        poll_fn(|context| {
            if shared.pool.borrow_mut().is_dropped(number, context) {
                return Poll::Ready(End::Dropped);
            }
            life.as_mut().poll(context)
        })
        .await
        // Here the socket is closed.
    };
    let now = monotonic_nanoseconds();
    shared.pool.borrow_mut().on_end(number, end, now);
    open_pending(&shared);
}

/// The life of a stream: it connects, asks, and reads.
async fn live(shared: &Rc<Shared>, number: u32, request: String) -> End {
    let (address, source) = {
        let pool = shared.pool.borrow();
        (pool.target.address, pool.target.source(number))
    };
    let mut socket = match ask(address, source, request.as_bytes()).await {
        Ok(socket) => socket,
        Err(error) => return End::Gone(Err(error)),
    };
    if shared.pool.borrow_mut().stream(number).wish == Wish::Stall {
        let now = monotonic_nanoseconds();
        shared.pool.borrow_mut().on_open(number, now);
    }
    poll_fn(|context| {
        let read = poll_read(shared, number, &mut socket, context);
        // What arrived may have been the answer that the next stream waited for.
        open_pending(shared);
        read
    })
    .await
}

/// Connects and sends the request.
async fn ask(
    address: SocketAddr,
    source: Option<Ipv4Addr>,
    request: &[u8],
) -> io::Result<TcpStreamPoll> {
    let mut socket = connect(address, source)?;
    // On loopback the connection mostly stands by now, and nothing need be waited for.
    let sent = match socket.write(request) {
        Ok(sent) => sent,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    let socket = TcpStream::from_std(socket)?;
    let mut socket = socket.try_into_poll_io().map_err(|(error, _)| error)?;
    write(&mut socket, &request[sent..]).await?;
    Ok(socket)
}

/// Begins to connect, from an address of loopback: each has its own range of ports. Whether the
/// connection stands is said by the first write.
fn connect(address: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<StdTcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        None,
    )?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        Ok(()) | Err(_) => Ok(socket.into()),
    }
}

async fn write(socket: &mut TcpStreamPoll, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = poll_fn(|context| Pin::new(&mut *socket).poll_write(context, bytes)).await?;
        bytes = &bytes[taken..];
    }
    Ok(())
}

/// Reads what has arrived, until the stream ends.
fn poll_read(
    shared: &Shared,
    number: u32,
    socket: &mut TcpStreamPoll,
    context: &mut Context<'_>,
) -> Poll<End> {
    let (mut pool, mut buffer) = (shared.pool.borrow_mut(), shared.buffer.borrow_mut());
    if pool.stream(number).wish == Wish::Stall {
        // Who changes the wish wakes the task.
        return Poll::Pending;
    }
    for _ in 0..READS_MAX {
        let mut buffer = ReadBuf::new(&mut buffer);
        match Pin::new(&mut *socket).poll_read(context, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(End::Gone(Err(error))),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                return Poll::Ready(End::Gone(Ok(())));
            }
            Poll::Ready(Ok(())) => {
                let now = monotonic_nanoseconds();
                shared.end_turn_if_due(now);
                let end = pool.take(number, buffer.filled(), now);
                if let Some(end) = end {
                    return Poll::Ready(end);
                }
            }
        }
    }
    context.waker().wake_by_ref();
    Poll::Pending
}

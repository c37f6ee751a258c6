//! Starting the engine threads, and ending them. What one thread does is in `thread`.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::process::{Resource, getrlimit};

use crate::abort::AbortOnPanic;
use crate::choice::{Choice, Kind, Options, StartError};
use crate::decision::{Decision, Offer};
use crate::epoll::Epoll;
use crate::listener;
use crate::poller::Poller;
use crate::port::{Inbox, Port, port};
use crate::thread::{Clock, EngineThread};
use crate::uplink::Uplink;
use crate::uring::{Ring, Uring};

/// The descriptor table is made this large at most before the threads start.
const TABLE_MAX: u64 = 1 << 20;

/// The running engines. Dropping this leaves them running; [`Engines::stop`] ends them.
#[derive(Debug)]
pub struct Engines {
    ports: Vec<Port>,
    threads: Vec<JoinHandle<()>>,
    kind: Kind,
    kind_reason: Option<String>,
    local_addr: SocketAddr,
}

/// What a thread is started with.
struct Seat {
    config: engine::Config,
    listener: OwnedFd,
    uplink: Box<dyn Uplink>,
    clock: Clock,
    choice: Choice,
    /// What the thread says of its ring: its description, or why there is none.
    offers: Sender<Offer>,
    /// Which driver all threads use.
    decision: Receiver<Kind>,
    /// What came of it.
    ready: Sender<std::io::Result<()>>,
}

/// Starts the engines: each a thread with a listener and a driver of its own.
///
/// `engine` and `uplink` are asked for the configuration and the uplink of each, by its number. A
/// panic on an engine's thread ends the process: there is no node of which half is dead.
///
/// # Errors
///
/// Where the address cannot be listened on, io_uring is demanded and refused, or a thread or a
/// descriptor cannot be had. Nothing is left running then.
pub fn start(
    options: &Options,
    engine: impl Fn(u16) -> engine::Config,
    mut uplink: impl FnMut(u16) -> Box<dyn Uplink>,
) -> Result<Engines, StartError> {
    let count = match options.threads {
        0 => std::thread::available_parallelism()
            .map_or(1, |count| u16::try_from(count.get()).unwrap_or(u16::MAX)),
        count => count,
    };
    let (local_addr, listeners) = listener::open_group(options.listen, count)?;
    expand_descriptor_table(&listeners[0]);
    let mut engines = Engines {
        ports: Vec::new(),
        threads: Vec::new(),
        kind: Kind::Epoll,
        kind_reason: None,
        local_addr,
    };
    let (offers, offers_in) = bounded(usize::from(count));
    let (ready, ready_in) = bounded(usize::from(count));
    let clock = Clock::start();
    let mut decisions = Vec::new();
    let mut result = Ok(());
    for (index, listener) in (0..count).zip(listeners) {
        let (decide, decision) = bounded(1);
        let seat = Seat {
            config: engine(index),
            listener,
            uplink: uplink(index),
            clock,
            choice: options.choice,
            offers: offers.clone(),
            decision,
            ready: ready.clone(),
        };
        result = result.and_then(|()| engines.spawn(index, seat));
        decisions.push(decide);
    }
    let result =
        result.and_then(|()| engines.settle(options.choice, &offers_in, &decisions, &ready_in));
    match result {
        Ok(()) => Ok(engines),
        Err(error) => {
            // Threads that still wait for the decision end without it.
            drop(decisions);
            engines.stop();
            Err(error)
        }
    }
}

impl Engines {
    /// The engines, by number.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// The driver in use; all engines use the same.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Why it is not io_uring, where that was wanted.
    pub fn kind_reason(&self) -> Option<&str> {
        self.kind_reason.as_deref()
    }

    /// Where the engines listen.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting: each engine accepts whoever waits already, then closes its listener.
    /// Returns before that is done.
    pub fn stop_listening(&self) {
        for port in &self.ports {
            port.stop_listening();
        }
    }

    /// Ends the threads, and with them every connection, and waits for it.
    pub fn stop(self) {
        for port in &self.ports {
            port.stop();
        }
        for thread in self.threads {
            thread
                .join()
                .expect("a panic on an engine's thread ends the process");
        }
    }

    fn spawn(&mut self, index: u16, seat: Seat) -> Result<(), StartError> {
        let failed = |what| move |source| StartError::Resources { what, source };
        let (port, inbox) = port().map_err(failed("an eventfd"))?;
        let thread = std::thread::Builder::new()
            .name(format!("engine-{index}"))
            .spawn(move || seat.occupy(inbox))
            .map_err(failed("an engine thread"))?;
        self.ports.push(port);
        self.threads.push(thread);
        Ok(())
    }

    /// Hears what every thread can have, and decides for all of them.
    fn settle(
        &mut self,
        choice: Choice,
        offers: &Receiver<Offer>,
        decisions: &[Sender<Kind>],
        ready: &Receiver<std::io::Result<()>>,
    ) -> Result<(), StartError> {
        let gone = "a thread answers before it ends, or ends the process";
        let offers = decisions
            .iter()
            .map(|_| offers.recv().expect(gone))
            .collect();
        let decision = Decision::of(choice, offers)?;
        decision.log(decisions.len(), self.local_addr);
        self.kind = decision.kind();
        for thread in decisions {
            thread.send(self.kind).expect(gone);
        }
        for _ in decisions {
            let what = "an epoll instance";
            ready
                .recv()
                .expect(gone)
                .map_err(|source| StartError::Resources { what, source })?;
        }
        if let Decision::EpollInstead(reason) = decision {
            self.kind_reason = Some(reason);
        }
        Ok(())
    }
}

impl Seat {
    /// The life of an engine thread.
    fn occupy(self, inbox: Inbox) {
        let _abort = AbortOnPanic;
        let shared = Arc::clone(&inbox.shared);
        // A ring belongs to the thread that makes it.
        let ring = match self.choice {
            Choice::Auto => Ring::open().and_then(Ring::unless_untried),
            Choice::Uring => Ring::open(),
            Choice::Epoll => Err(String::from("epoll is configured")),
        };
        let offer = ring.as_ref().map(Ring::describe).map_err(Clone::clone);
        self.offers
            .send(offer)
            .expect("the starting thread listens until it has decided");
        match (self.decision.recv(), ring) {
            (Ok(Kind::Uring), Ok(ring)) => {
                let _ = self.ready.send(Ok(()));
                self.run(Uring::new(ring, shared), inbox);
            }
            (Ok(Kind::Uring), Err(_)) => unreachable!("a ring is decided on where all have one"),
            (Ok(Kind::Epoll), ring) => {
                drop(ring);
                match Epoll::open(shared) {
                    Ok(epoll) => {
                        let _ = self.ready.send(Ok(()));
                        self.run(epoll, inbox);
                    }
                    Err(error) => {
                        let _ = self.ready.send(Err(error));
                    }
                }
            }
            // The start failed elsewhere.
            (Err(_), _) => {}
        }
    }

    fn run<P: Poller>(self, poller: P, inbox: Inbox) {
        let Self {
            config,
            listener,
            uplink,
            clock,
            ..
        } = self;
        EngineThread::new(config, poller, listener, inbox, uplink, clock).run();
    }
}

/// Makes the table of descriptors as large as it can become. It grows by doubling otherwise, and in
/// a process of several threads the kernel waits at each step until every processor has let go of
/// the old one (`expand_fdtable`).
fn expand_descriptor_table(any: &OwnedFd) {
    let limit = getrlimit(Resource::Nofile)
        .current
        .unwrap_or(TABLE_MAX)
        .min(TABLE_MAX);
    let Ok(last) = i32::try_from(limit.saturating_sub(1)) else {
        return;
    };
    // Only the growth is wanted; where the last one is in use, the table is large already.
    drop(rustix::io::fcntl_dupfd_cloexec(any, last));
}

//! Getting a ring: the best flags that the kernel takes, the largest size that it grants, and a
//! trial of what the driver stands on.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;
use rustix::net::Shutdown;

use super::refusal;
use super::ring::{Completion, Entered, Operation, Ring, accepted, build};
use crate::token::Token;

/// Entries and completions of a ring: enough for four groups of sends, and for completions of
/// every kind to pile up while one is sent. Smaller where memory is short; the sends need 256.
const SIZES: [(u32, u32); 3] = [(1024, 8192), (512, 4096), (256, 2048)];

/// Bytes of one entry with its index, and of one completion.
const ENTRY_BYTES: u64 = 64 + 4;
const COMPLETION_BYTES: u64 = 16;

/// How long a trial may take before the ring counts as broken.
const TRIAL: Duration = Duration::from_secs(1);

/// The pause before a trial that the kernel had no memory for is made again.
const PAUSE: Duration = Duration::from_millis(1);

/// Sets of flags, the best first; a kernel that does not know one answers EINVAL.
#[derive(Clone, Copy, Debug)]
enum Flags {
    /// Linux 6.6.
    DeferredWithoutIndex,
    /// Linux 6.1.
    Deferred,
    /// Linux 5.19.
    Cooperative,
    /// Linux 5.18.
    SubmitAll,
    /// Linux 5.11.
    Plain,
}

impl Flags {
    const ALL: [Self; 5] = [
        Self::DeferredWithoutIndex,
        Self::Deferred,
        Self::Cooperative,
        Self::SubmitAll,
        Self::Plain,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::DeferredWithoutIndex => "SINGLE_ISSUER, DEFER_TASKRUN, SUBMIT_ALL, NO_SQARRAY",
            Self::Deferred => "SINGLE_ISSUER, DEFER_TASKRUN, SUBMIT_ALL",
            Self::Cooperative => "COOP_TASKRUN, SUBMIT_ALL",
            Self::SubmitAll => "SUBMIT_ALL",
            Self::Plain => "no flags",
        }
    }

    /// Whether kernels that take these are among those that the driver is tried on.
    fn is_tried(self) -> bool {
        matches!(self, Self::DeferredWithoutIndex | Self::Deferred)
    }
}

impl Ring {
    /// A ring of this thread.
    ///
    /// # Errors
    ///
    /// In words for an operator: why not, and what would help.
    pub(crate) fn open() -> Result<Self, String> {
        let mut ring = negotiate()?;
        ring.check()?;
        try_poll(&mut ring)?;
        try_accept(&mut ring)?;
        Ok(ring)
    }
}

#[cfg(test)]
impl Ring {
    /// A ring of this size, to see what happens when it is full.
    pub(crate) fn of_size(entries: u32, completions: u32) -> Self {
        let mut rings = Flags::ALL.iter().filter_map(|flags| {
            let ring = set_up(entries, completions, *flags).ok()?;
            Some(Self::wrap(ring, flags.as_str(), flags.is_tried()))
        });
        let mut ring = rings.next().expect("the kernel grants a ring");
        ring.check().expect("the ring has what is needed");
        try_accept(&mut ring).expect("the ring accepts");
        ring
    }
}

impl Ring {
    /// The ring, if its kernel is one on which this driver is tried: Linux 6.1 or newer.
    ///
    /// # Errors
    ///
    /// In words for an operator.
    pub(crate) fn unless_untried(self) -> Result<Self, String> {
        if self.is_tried() {
            return Ok(self);
        }
        Err(String::from(
            "the kernel's is older than Linux 6.1, on which nobody tries this; engine.driver = \
             \"uring\" takes it nevertheless",
        ))
    }
}

fn negotiate() -> Result<Ring, String> {
    let mut sizes = SIZES.iter();
    let &(mut entries, mut completions) = sizes.next().expect("there are sizes");
    let mut sets = Flags::ALL.iter();
    let mut flags = *sets.next().expect("there are sets");
    loop {
        let error = match set_up(entries, completions, flags) {
            Ok(ring) => return Ok(Ring::wrap(ring, flags.as_str(), flags.is_tried())),
            Err(error) => Errno::from_io_error(&error).unwrap_or(Errno::IO),
        };
        if error == Errno::INVAL
            && let Some(simpler) = sets.next()
        {
            flags = *simpler;
        } else if error == Errno::NOMEM
            && let Some(smaller) = sizes.next()
        {
            (entries, completions) = *smaller;
        } else {
            let bytes =
                u64::from(entries) * ENTRY_BYTES + u64::from(completions) * COMPLETION_BYTES;
            return Err(refusal::explain(error, bytes));
        }
    }
}

fn set_up(entries: u32, completions: u32, flags: Flags) -> std::io::Result<io_uring::IoUring> {
    build(entries, completions, |builder| {
        match flags {
            Flags::DeferredWithoutIndex => builder
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all()
                .setup_no_sqarray(),
            Flags::Deferred => builder
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all(),
            Flags::Cooperative => builder
                .setup_coop_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all(),
            Flags::SubmitAll => builder.setup_submit_all(),
            Flags::Plain => builder,
        };
    })
}

/// A poll that lasts reports a write, and ends with its eventfd's ring entry.
fn try_poll(ring: &mut Ring) -> Result<(), String> {
    let failed = |error: Errno| format!("the trial of the ring could not be made: {error}");
    let eventfd = eventfd(1, EventfdFlags::CLOEXEC).map_err(failed)?;
    ring.push(
        Operation::Poll(eventfd.as_raw_fd(), PollFlags::IN),
        Token::Waker,
    );
    let completion = wait_for_one(ring)?;
    if completion.token != Token::Waker || completion.result <= 0 {
        return Err(format!(
            "a poll over the ring answers {}",
            completion.result
        ));
    }
    Ok(())
}

/// A multishot accept brings a socket, and ends when its listener is shut down. Where it is not
/// known (before Linux 5.19), or cannot be tried for want of a loopback address, the listener is
/// polled.
fn try_accept(ring: &mut Ring) -> Result<(), String> {
    let Ok((listener, _client)) = loopback_pair() else {
        ring.forgo_multishot_accept();
        return Ok(());
    };
    ring.push(
        Operation::AcceptMulti(listener.as_raw_fd()),
        Token::Listener,
    );
    let mut completion = wait_for_one(ring)?;
    if completion.result < 0 || !completion.more {
        ring.forgo_multishot_accept();
    }
    // An armed accept must be gone from the ring before the ring is used.
    rustix::net::shutdown(&listener, Shutdown::Both)
        .map_err(|error| format!("the trial of the ring could not be ended: {error}"))?;
    loop {
        if completion.result >= 0 {
            drop(accepted(completion.result));
        }
        if !completion.more {
            return Ok(());
        }
        completion = wait_for_one(ring)?;
    }
}

/// A listener, and a client that waits to be accepted.
fn loopback_pair() -> std::io::Result<(TcpListener, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((listener, client))
}

/// The next completion. A signal ends a wait, and a kernel that is short of memory takes no entry: neither
/// says anything about the ring, so that it is tried again for as long as a trial may take.
fn wait_for_one(ring: &mut Ring) -> Result<Completion, String> {
    let end = Instant::now() + TRIAL;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if ring.enter(Some(left)) == Entered::Busy {
            std::thread::sleep(PAUSE);
        }
        if let Some(completion) = ring.complete() {
            return Ok(completion);
        }
        if left.is_zero() {
            return Err(String::from("the ring does not answer within a second"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_grants_a_ring() {
        let ring = Ring::open().unwrap();
        assert!(
            ring.describe().contains("1024 entries, 8192 completions"),
            "{}",
            ring.describe()
        );
    }

    #[test]
    fn every_set_of_flags_passes_the_trial() {
        for flags in Flags::ALL {
            let mut ring = Ring::wrap(set_up(256, 2048, flags).unwrap(), "a trial", true);
            ring.check().unwrap();
            try_poll(&mut ring).unwrap();
            try_accept(&mut ring).unwrap();
            assert!(ring.accepts_multishot(), "{flags:?}");
        }
    }
}

//! One ring: entries in, completions out, and the system call between them. What the entries are
//! for is in the other rooms.
//!
//! Two kinds of entries exist. Those of [`Operation`] carry descriptors and no pointer, so that
//! nothing they do can touch memory of ours. Those of [`Ring::push_send`] carry a pointer, and are
//! finished before the caller's borrow ends: `send` says how.

#![expect(
    unsafe_code,
    reason = "entries and the system call are unsafe in the io-uring crate"
)]

use std::marker::PhantomData;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use engine::Transmit;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags};

use crate::token::Token;

/// A ring, on the thread that made it (SINGLE_ISSUER binds it there).
pub(crate) struct Ring {
    ring: IoUring,
    /// Flags of every enter.
    enter_flags: EnterFlags,
    description: String,
    accepts_multishot: bool,
    is_tried: bool,
    _thread: PhantomData<*mut ()>,
}

/// What the kernel is asked to do; no variant carries a pointer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// Accept until told otherwise.
    AcceptMulti(RawFd),
    /// Report one of these once.
    Poll(RawFd, PollFlags),
    /// Report one of these each time.
    PollMulti(RawFd, PollFlags),
    /// End what carries this token.
    Cancel(Token),
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) token: Token,
    pub(super) result: i32,
    /// Whether the operation goes on.
    pub(super) more: bool,
}

/// What came of an enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It was done, or a wait ended.
    Done,
    /// The kernel has no memory for the entries now, or wants completions taken first; entries are
    /// left.
    Busy,
}

impl Ring {
    /// Wraps a ring: how it was set up, and whether the driver is tried on its kernel.
    pub(super) fn wrap(ring: IoUring, setup: &str, is_tried: bool) -> Self {
        let parameters = ring.params();
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        let mut description = format!(
            "{setup}, {} entries, {} completions",
            parameters.sq_entries(),
            parameters.cq_entries()
        );
        if parameters.is_feature_no_iowait() {
            // A thread that waits here is idle, and is not to be shown as waiting for a disk.
            enter_flags |= EnterFlags::NO_IOWAIT;
            description.push_str(", NO_IOWAIT");
        }
        Self {
            ring,
            enter_flags,
            description,
            accepts_multishot: true,
            is_tried,
            _thread: PhantomData,
        }
    }

    /// The ring in the words of the log.
    pub(crate) fn describe(&self) -> String {
        self.description.clone()
    }

    /// Whether the kernel is one that the driver is tried on.
    pub(super) fn is_tried(&self) -> bool {
        self.is_tried
    }

    /// Whether one entry accepts many connections.
    pub(super) fn accepts_multishot(&self) -> bool {
        self.accepts_multishot
    }

    /// Notes that the kernel does not know multishot accept (before Linux 5.19).
    pub(super) fn forgo_multishot_accept(&mut self) {
        self.accepts_multishot = false;
        self.description.push_str(", no multishot accept");
    }

    /// Whether the kernel has what the driver cannot do without.
    pub(super) fn check(&self) -> Result<(), String> {
        let parameters = self.ring.params();
        let mut probe = Probe::new();
        self.ring
            .submitter()
            .register_probe(&mut probe)
            .map_err(|error| format!("the ring does not say what it can do: {error}"))?;
        let needs = [
            (
                "waits with a timeout (EXT_ARG)",
                parameters.is_feature_ext_arg(),
            ),
            (
                "completions that are never dropped (NODROP)",
                parameters.is_feature_nodrop(),
            ),
            ("ACCEPT", probe.is_supported(opcode::Accept::CODE)),
            ("POLL_ADD", probe.is_supported(opcode::PollAdd::CODE)),
            ("SEND", probe.is_supported(opcode::Send::CODE)),
        ];
        match needs.iter().find(|(_, is_there)| !is_there) {
            None => Ok(()),
            Some((need, _)) => Err(format!(
                "the kernel's io_uring lacks {need}; Linux 6.1 has it"
            )),
        }
    }

    /// Queues an operation; the next enter submits it.
    pub(super) fn push(&mut self, operation: Operation, token: Token) {
        let entry = match operation {
            Operation::AcceptMulti(listener) => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                opcode::AcceptMulti::new(Fd(listener))
                    .flags(flags.bits().cast_signed())
                    .build()
            }
            Operation::Poll(descriptor, flags) => {
                opcode::PollAdd::new(Fd(descriptor), u32::from(flags.bits())).build()
            }
            Operation::PollMulti(descriptor, flags) => {
                opcode::PollAdd::new(Fd(descriptor), u32::from(flags.bits()))
                    .multi(true)
                    .build()
            }
            Operation::Cancel(token) => opcode::AsyncCancel::new(token.encode()).build(),
        };
        self.make_room();
        let entry = entry.user_data(token.encode());
        // SAFETY: the entry was made above from an operation that carries no pointer, so there is
        // nothing that must outlive it.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("room was made");
    }

    /// Queues a send that does not wait. There must be room.
    ///
    /// # Safety
    ///
    /// The bytes are read by the kernel until the completion that carries `token` was taken: the
    /// caller enters and reaps until then, and does not return or unwind before.
    #[expect(
        unsafe_code,
        reason = "the caller promises that the bytes outlive the operation"
    )]
    pub(super) unsafe fn push_send(&mut self, transmit: &Transmit<'_>, token: Token) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        // A send of 4 GiB would merely be a short one.
        let len = u32::try_from(transmit.bytes.len()).unwrap_or(u32::MAX);
        let socket = Fd(transmit.connection.descriptor);
        let entry = opcode::Send::new(socket, transmit.bytes.as_ptr(), len)
            .flags(flags.bits().cast_signed())
            .build()
            .user_data(token.encode());
        // SAFETY: the caller keeps the bytes where they are until the completion was taken.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the caller asked for room");
    }

    /// How many entries fit before the next enter.
    pub(super) fn room(&mut self) -> usize {
        let queue = self.ring.submission();
        queue.capacity() - queue.len()
    }

    /// Whether entries wait for an enter.
    pub(super) fn has_entries(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Whether the kernel holds completions back for the next enter (DEFER_TASKRUN runs a few at a
    /// time).
    pub(super) fn has_deferred(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Submits every entry, and runs what the kernel deferred; with a timeout, waits for a
    /// completion.
    pub(super) fn enter(&mut self, wait: Option<Duration>) -> Entered {
        let entries = u32::try_from(self.ring.submission().len()).expect("a queue is small");
        let timespec = wait.map(Timespec::from).unwrap_or_default();
        let arguments = SubmitArgs::new().timespec(&timespec);
        let want = u32::from(wait.is_some());
        let (submitter, flags) = (self.ring.submitter(), self.enter_flags.bits());
        // SAFETY: with EXT_ARG the argument is the structure that `SubmitArgs` wraps, of its size.
        // The kernel reads it, and the time it points to, during the call, which both outlive.
        let result = unsafe { submitter.enter(entries, want, flags, Some(&arguments)) };
        self.assert_nothing_lost();
        let Err(error) = result else {
            return Entered::Done;
        };
        match Errno::from_io_error(&error) {
            Some(Errno::TIME | Errno::INTR) => Entered::Done,
            Some(Errno::AGAIN | Errno::BUSY | Errno::NOMEM) => Entered::Busy,
            _ => fail(&format!("io_uring_enter: {error}")),
        }
    }

    /// The next completion that is there.
    pub(super) fn complete(&mut self) -> Option<Completion> {
        let entry = self.ring.completion().next()?;
        Some(Completion {
            token: Token::decode(entry.user_data()),
            result: entry.result(),
            more: cqueue::more(entry.flags()),
        })
    }

    /// Makes room for one entry by submitting the others.
    fn make_room(&mut self) {
        let mut attempts = 0;
        while self.room() == 0 {
            if self.enter(None) == Entered::Busy {
                attempts = wait_for_memory(attempts);
            }
        }
    }

    /// The kernel drops completions only when it has no memory for a list of them, and says so:
    /// from then on nobody can tell what is in flight.
    fn assert_nothing_lost(&mut self) {
        if self.ring.completion().overflow() > 0 {
            fail("the kernel lost completions of the ring, for want of memory");
        }
    }
}

/// The socket of a completed accept.
///
/// The caller passes the result of an accept that succeeded, once.
pub(super) fn accepted(result: i32) -> OwnedFd {
    assert!(result >= 0, "an accept that failed has no socket");
    // SAFETY: the kernel has just opened this descriptor for us, and told nobody else of it.
    unsafe { OwnedFd::from_raw_fd(result) }
}

/// Waits a moment for the kernel to find memory; not for ever.
pub(super) fn wait_for_memory(attempts: u32) -> u32 {
    const ATTEMPTS_MAX: u32 = 10_000;
    if attempts >= ATTEMPTS_MAX {
        fail("the kernel has had no memory for the entries of the ring for 10 s");
    }
    std::thread::sleep(Duration::from_millis(1));
    attempts + 1
}

/// Ends the process without unwinding: what the kernel still reads must not be freed.
pub(super) fn fail(why: &str) -> ! {
    tracing::error!("the ring cannot go on, and the process ends: {why}");
    std::process::abort();
}

/// A ring with these entries and completions, and the flags of `setup`.
pub(super) fn build(
    entries: u32,
    completions: u32,
    setup: impl FnOnce(&mut io_uring::Builder<squeue::Entry, cqueue::Entry>),
) -> std::io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(completions).setup_clamp().dontfork();
    setup(&mut builder);
    builder.build(entries)
}

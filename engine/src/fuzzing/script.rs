//! Scripts: bytes into operations. Every input is a script, and most changes of one byte change one
//! operation, which is what a fuzzer wants; and one can be written by hand, which is what a seed wants.
//!
//! An operation is a letter and its arguments, a byte each, of which `0` to `9` are the numbers 0 to 9;
//! what is missing is 0. Upper and lower case are the same, and so are all bytes with the same five
//! last bits; line ends and spaces are no operation. The first three bytes are the size of the log, how
//! much of the past is read at the start, and how many sends make a group: a space is as many as ever.

/// One thing that happens. Numbers are taken modulo whatever there is to choose from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// `a`: somebody connects, and says nothing yet.
    Accept,
    /// `b` count audience channel size: so many frames are committed.
    Batch {
        count: usize,
        audience: usize,
        channel: usize,
        size: usize,
    },
    /// `c` connection how reason: a stream is closed, by a command of control or of its own client.
    Close {
        connection: usize,
        how: usize,
        reason: usize,
    },
    /// `d` seconds: every stream is closed.
    CloseAll { seconds: usize },
    /// `e` ahead: what the server has flushed.
    Flushed { ahead: usize },
    /// `f` connection: a connection breaks, and only a send will find it.
    Break { connection: usize },
    /// `g` reason: changes were missed.
    Gap { reason: usize },
    /// `h` connection: the peer closes, or what is reported of a connection comes too late.
    HangUp { connection: usize, how: usize },
    /// `i` user seconds: a session lasts longer or shorter.
    Extend { user: usize, seconds: usize },
    /// `k` steps: nothing for us was committed for a while.
    Progress { steps: usize },
    /// `l` connection: a grant for a connection that was granted before, or is gone.
    LateGrant { connection: usize },
    /// `m` connection room: a socket takes so much more.
    Room { connection: usize, room: usize },
    /// `n` connection user seconds: a stream is renewed.
    Renew {
        connection: usize,
        user: usize,
        seconds: usize,
    },
    /// `o` who from filter session: somebody connects, asks and is granted.
    Open(Terms),
    /// `p` who since filter wait: somebody asks for a page of history.
    Page(PageTerms),
    /// `q` ahead: the stream of changes starts again.
    Restart { ahead: usize },
    /// `r` scope user organisation: a right ends.
    Revoke {
        scope: usize,
        user: usize,
        organisation: usize,
    },
    /// `s` connection how channel: a subscription changes.
    Subscribe {
        connection: usize,
        how: usize,
        channel: usize,
    },
    /// `t` which: time passes, and then a turn.
    Time { which: usize },
    /// `u`: a turn.
    Turn,
    /// `v` connection how: a verdict on whoever has asked.
    Verdict { connection: usize, how: usize },
    /// `w` which: the clock on the wall is set.
    Wall { which: usize },
    /// `x` connection piece: bytes from a client.
    Bytes { connection: usize, piece: usize },
    /// `y`: turns until nothing is pending.
    Settle,
    /// `z`: control has no room, or has room again.
    Overload,
}

/// Who opens a stream, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    pub(super) who: usize,
    pub(super) from: usize,
    pub(super) filter: usize,
    pub(super) session: usize,
}

/// Who asks for a page, and for which.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PageTerms {
    pub(super) who: usize,
    pub(super) since: usize,
    pub(super) filter: usize,
    pub(super) wait: usize,
}

/// The rest of a script.
pub(super) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next argument.
    pub(super) fn argument(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first.wrapping_sub(b'0').into()
    }

    fn terms(&mut self) -> Terms {
        Terms {
            who: self.argument(),
            from: self.argument(),
            filter: self.argument(),
            session: self.argument(),
        }
    }
}

impl Iterator for Script<'_> {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        loop {
            let (letter, rest) = self.0.split_first()?;
            self.0 = rest;
            // The letters of ASCII by their last five bits: `a` is 1.
            let operation = match (letter & 0x1f) + b'a' - 1 {
                b'a' => Operation::Accept,
                b'b' => Operation::Batch {
                    count: self.argument(),
                    audience: self.argument(),
                    channel: self.argument(),
                    size: self.argument(),
                },
                b'c' => Operation::Close {
                    connection: self.argument(),
                    how: self.argument(),
                    reason: self.argument(),
                },
                b'd' => Operation::CloseAll {
                    seconds: self.argument(),
                },
                b'e' => Operation::Flushed {
                    ahead: self.argument(),
                },
                b'f' => Operation::Break {
                    connection: self.argument(),
                },
                b'g' => Operation::Gap {
                    reason: self.argument(),
                },
                b'h' => Operation::HangUp {
                    connection: self.argument(),
                    how: self.argument(),
                },
                b'i' => Operation::Extend {
                    user: self.argument(),
                    seconds: self.argument(),
                },
                b'k' => Operation::Progress {
                    steps: self.argument(),
                },
                b'l' => Operation::LateGrant {
                    connection: self.argument(),
                },
                b'm' => Operation::Room {
                    connection: self.argument(),
                    room: self.argument(),
                },
                b'n' => Operation::Renew {
                    connection: self.argument(),
                    user: self.argument(),
                    seconds: self.argument(),
                },
                b'o' => Operation::Open(self.terms()),
                b'p' => Operation::Page(PageTerms {
                    who: self.argument(),
                    since: self.argument(),
                    filter: self.argument(),
                    wait: self.argument(),
                }),
                b'q' => Operation::Restart {
                    ahead: self.argument(),
                },
                b'r' => Operation::Revoke {
                    scope: self.argument(),
                    user: self.argument(),
                    organisation: self.argument(),
                },
                b's' => Operation::Subscribe {
                    connection: self.argument(),
                    how: self.argument(),
                    channel: self.argument(),
                },
                b't' => Operation::Time {
                    which: self.argument(),
                },
                b'u' => Operation::Turn,
                b'v' => Operation::Verdict {
                    connection: self.argument(),
                    how: self.argument(),
                },
                b'w' => Operation::Wall {
                    which: self.argument(),
                },
                b'x' => Operation::Bytes {
                    connection: self.argument(),
                    piece: self.argument(),
                },
                b'y' => Operation::Settle,
                b'z' => Operation::Overload,
                _ => continue,
            };
            return Some(operation);
        }
    }
}

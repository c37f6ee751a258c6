//! Requests that are under way: who asks for what, and what is known of them by now. Each is counted,
//! with what it holds in memory, until it is answered.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use auth::{Answered, Fingerprint, Identity};
use wire::http::{Refusal, RefusalCode};
use wire::{ConnectionId, EventId};

use super::request::{Credentials, Manner, Wanted};
use super::subscription::StreamChange;

/// The most requests that are under way, whatever is configured.
const UNDER_WAY_MAX: u32 = 16_384;

/// The most bytes of credentials that are held for them: cookies may be long, and are seldom.
pub(super) const CREDENTIALS_BYTES_MAX: usize = 64 << 20;

/// A request by a user that is under way.
pub(super) struct Petition {
    pub(super) connection: ConnectionId,
    pub(super) address: Option<IpAddr>,
    pub(super) credentials: Credentials,
    /// What stands for them, once they were looked at; `None` where there are none.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) errand: Errand,
    /// What had been applied before anything was read to find out who asks, and when that was noted.
    pub(super) judged: Judged,
    /// How often it was judged again.
    pub(super) attempts: u8,
    /// What was asked about it in vain.
    pub(super) answered: Answered,
    _slip: Slip,
}

/// What is asked for.
pub(super) enum Errand {
    /// A stream, or a page of history.
    Open(Arc<Wanted>),
    /// An open stream is to be changed.
    Change(Box<StreamChange>),
    /// An open stream is to go on.
    Renew {
        stream: ConnectionId,
        manner: Manner,
    },
}

/// The moment before anything was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) position: EventId,
    /// Milliseconds since 1970.
    pub(super) at_ms: u64,
}

/// Somebody whose credentials hold.
pub(super) struct Known {
    pub(super) identity: Identity,
    /// The moment before they were looked at: for one that is remembered, that of then.
    pub(super) judged: Judged,
}

impl Petition {
    /// A request that has just arrived.
    ///
    /// # Errors
    ///
    /// The refusal, where too many are under way.
    pub(super) fn new(
        connection: ConnectionId,
        address: Option<IpAddr>,
        credentials: Credentials,
        errand: Errand,
        judged: Judged,
        under_way: &UnderWay,
    ) -> Result<Self, (Refusal, Errand)> {
        let bytes = credentials.cookies.len() + credentials.bearer.as_ref().map_or(0, String::len);
        let Some(slip) = under_way.begin(bytes) else {
            let message = "too many requests are under way (limits.handshakes)";
            return Err((Refusal::new(RefusalCode::Overloaded, message), errand));
        };
        Ok(Self {
            connection,
            address,
            credentials,
            fingerprint: None,
            errand,
            judged,
            attempts: 0,
            answered: Answered::default(),
            _slip: slip,
        })
    }
}

impl Errand {
    /// How it is answered.
    pub(super) fn manner(&self) -> &Manner {
        match self {
            Self::Open(wanted) => &wanted.manner,
            Self::Change(change) => &change.manner,
            Self::Renew { manner, .. } => manner,
        }
    }
}

/// What is under way, counted.
pub(super) struct UnderWay {
    most: u32,
    load: Rc<Cell<Load>>,
}

#[derive(Clone, Copy, Default)]
struct Load {
    count: u32,
    bytes: usize,
}

/// One that is counted, until it is dropped.
struct Slip {
    load: Rc<Cell<Load>>,
    bytes: usize,
}

impl UnderWay {
    /// 0 is the node's own limit.
    pub(super) fn new(limit: u32) -> Self {
        Self {
            most: match limit {
                0 => UNDER_WAY_MAX,
                limit => limit.min(UNDER_WAY_MAX),
            },
            load: Rc::default(),
        }
    }

    fn begin(&self, bytes: usize) -> Option<Slip> {
        let Load {
            count,
            bytes: before,
        } = self.load.get();
        if count >= self.most || before + bytes > CREDENTIALS_BYTES_MAX {
            return None;
        }
        self.load.set(Load {
            count: count + 1,
            bytes: before + bytes,
        });
        Some(Slip {
            load: Rc::clone(&self.load),
            bytes,
        })
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        let Load { count, bytes } = self.load.get();
        self.load.set(Load {
            count: count - 1,
            bytes: bytes - self.bytes,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_counted_until_it_is_dropped() {
        let under_way = UnderWay::new(2);
        let one = under_way.begin(10);
        let two = under_way.begin(20);
        assert!(one.is_some() && two.is_some() && under_way.begin(0).is_none());
        drop(one);
        assert!(under_way.begin(0).is_some());
        drop(two);
        assert_eq!(
            (under_way.load.get().count, under_way.load.get().bytes),
            (0, 0)
        );
    }

    #[test]
    fn long_credentials_have_an_end_too() {
        let under_way = UnderWay::new(0);
        let long = under_way.begin(CREDENTIALS_BYTES_MAX);
        assert!(long.is_some() && under_way.begin(1).is_none());
        drop(long);
        let slips: Vec<_> = (0..UNDER_WAY_MAX).map(|_| under_way.begin(1)).collect();
        assert!(slips.iter().all(Option::is_some) && under_way.begin(1).is_none());
    }
}

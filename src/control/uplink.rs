//! The way from the engines to the control thread: one bounded channel for all of them, and beside
//! it a queue for notices that found it full, because no notice may be lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use driver::{Forwarded, Uplink};
use engine::{Notice, Overloaded};
use tokio::sync::mpsc;

/// How many requests and notices wait for the control thread.
const UPLINK_MAX: usize = 8192;

/// What an engine says.
pub(super) enum Message {
    /// Answer this.
    Request(Box<Forwarded>),
    /// Know this.
    Notice(EngineNotice),
}

/// A notice, and the engine that gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EngineNotice {
    pub(super) engine: u16,
    pub(super) notice: Notice,
}

/// An engine's end.
#[derive(Clone)]
pub(crate) struct EngineUplink {
    engine: u16,
    channel: mpsc::Sender<Message>,
    overflow: Overflow,
}

/// The control thread's end.
pub(crate) struct Downlink {
    channel: mpsc::Receiver<Message>,
    overflow: Overflow,
}

/// Notices that found the channel full. Its length is bounded by what it holds: two for each
/// connection, and one `Held` for each engine.
type Overflow = Arc<Mutex<VecDeque<EngineNotice>>>;

/// Both ends; every engine gets the first by [`EngineUplink::of`].
pub(crate) fn pair() -> (EngineUplink, Downlink) {
    let (sender, receiver) = mpsc::channel(UPLINK_MAX);
    let overflow = Overflow::default();
    let downlink = Downlink {
        channel: receiver,
        overflow: Arc::clone(&overflow),
    };
    (
        EngineUplink {
            engine: 0,
            channel: sender,
            overflow,
        },
        downlink,
    )
}

impl EngineUplink {
    /// The same for an engine of this number.
    pub(crate) fn of(&self, engine: u16) -> Self {
        Self {
            engine,
            ..self.clone()
        }
    }
}

impl Uplink for EngineUplink {
    fn forward(&mut self, request: Forwarded) -> Result<(), Overloaded> {
        self.channel
            .try_send(Message::Request(Box::new(request)))
            .map_err(|_| Overloaded)
    }

    fn notify(&mut self, notice: Notice) {
        let notice = EngineNotice {
            engine: self.engine,
            notice,
        };
        let mut overflow = self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
        // Behind those that wait already, so that a connection's notices keep their order.
        if !overflow.is_empty() || self.channel.try_send(Message::Notice(notice)).is_err() {
            overflow.push_back(notice);
        }
    }
}

impl Downlink {
    /// The next message. Whoever waits here must also look at [`Self::overflow`] from time to time:
    /// nothing wakes for what lies there.
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.channel.recv().await
    }

    /// A message that is there already.
    pub(super) fn try_next(&mut self) -> Option<Message> {
        self.channel.try_recv().ok()
    }

    /// The notices that found the channel full. Empty it first: those in it are older.
    pub(super) fn overflow(&self) -> VecDeque<EngineNotice> {
        if !self.channel.is_empty() {
            return VecDeque::new();
        }
        std::mem::take(&mut self.overflow.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use wire::{CloseReason, ConnectionId, Scope};

    use super::*;

    fn closed(slot: u32) -> Notice {
        Notice::Closed {
            connection: ConnectionId {
                boot: 0,
                engine: 0,
                slot,
                generation: 0,
            },
            user: None,
            scope: Scope::Everything,
            reason: CloseReason::ClientGone,
            open_ms: 0,
            events: 0,
            opened: true,
        }
    }

    #[test]
    fn no_notice_is_lost_or_overtaken_when_the_channel_is_full() {
        let (mut uplink, mut downlink) = pair();
        let count = UPLINK_MAX as u32 + 1000;
        (0..count).for_each(|slot| uplink.notify(closed(slot)));
        let mut seen = Vec::new();
        assert!(downlink.overflow().is_empty(), "the channel's are older");
        while let Some(Message::Notice(notice)) = downlink.try_next() {
            seen.push(notice.notice);
        }
        // While some lie in the overflow, a new one lines up behind them.
        uplink.notify(closed(count));
        assert!(downlink.try_next().is_none());
        seen.extend(downlink.overflow().into_iter().map(|notice| notice.notice));
        assert_eq!(seen, (0..=count).map(closed).collect::<Vec<_>>());
        uplink.notify(closed(0));
        assert!(downlink.try_next().is_some(), "the channel is in use again");
    }
}

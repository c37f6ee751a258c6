//! The ways to the control thread: from the engines a bounded channel of requests, and one of notices
//! beside it, so that ten thousand streams that end at once do not crowd out those who come back; and
//! from the replication thread the answers about those who want in.

use driver::{Forwarded, Uplink};
use engine::{Notice, Overloaded};
use tokio::sync::mpsc;

use super::admission::Answer;

/// How many requests wait for the control thread.
const REQUESTS_MAX: usize = 8192;

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
    requests: mpsc::Sender<Box<Forwarded>>,
    /// No notice may be lost. Their number is bounded by what they speak of: two for each connection
    /// and one `Held` for each engine.
    notices: mpsc::UnboundedSender<EngineNotice>,
}

/// The control thread's end.
pub(crate) struct Downlink {
    /// Who was let in, and who was not. Take all of it before a notice: what an engine says of
    /// a stream comes after the answer that let it in.
    pub(super) answers: mpsc::UnboundedReceiver<Answer>,
    /// What is to be answered.
    pub(super) requests: mpsc::Receiver<Box<Forwarded>>,
    /// What is to be known. Take all of it before a request: whoever closes a stream and asks for
    /// another is within the limits.
    pub(super) notices: mpsc::UnboundedReceiver<EngineNotice>,
}

/// The ends: every engine gets the first by [`EngineUplink::of`], the replication thread the second.
/// The answers are bounded by what they answer, which the control thread itself has asked.
pub(crate) fn pair() -> (EngineUplink, mpsc::UnboundedSender<Answer>, Downlink) {
    let (requests, requests_in) = mpsc::channel(REQUESTS_MAX);
    let (notices, notices_in) = mpsc::unbounded_channel();
    let (answers, answers_in) = mpsc::unbounded_channel();
    let uplink = EngineUplink {
        engine: 0,
        requests,
        notices,
    };
    let downlink = Downlink {
        answers: answers_in,
        requests: requests_in,
        notices: notices_in,
    };
    (uplink, answers, downlink)
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
        self.requests
            .try_send(Box::new(request))
            .map_err(|_| Overloaded)
    }

    fn notify(&mut self, notice: Notice) {
        // An error says that the control thread has ended, and the node is about to.
        let _ = self.notices.send(EngineNotice {
            engine: self.engine,
            notice,
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::http::{Head, Request};
    use wire::{CloseReason, ConnectionId, Scope};

    use super::*;

    fn connection(slot: u32) -> ConnectionId {
        ConnectionId {
            boot: 0,
            engine: 0,
            slot,
            generation: 0,
        }
    }

    fn closed(slot: u32) -> Notice {
        Notice::Closed {
            connection: connection(slot),
            user: None,
            scope: Scope::Everything,
            reason: CloseReason::ClientGone,
            open_ms: 0,
            events: 0,
            opened: true,
            is_page: false,
        }
    }

    #[test]
    fn notices_keep_their_order_and_leave_room_for_requests() {
        let (mut uplink, _answers, mut downlink) = pair();
        let count = REQUESTS_MAX as u32 * 2;
        (0..count).for_each(|slot| uplink.notify(closed(slot)));
        let head = Head::parse(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .ok()
            .flatten()
            .expect("a request");
        let request = || Forwarded {
            connection: connection(0),
            peer: None,
            request: Request {
                head: head.clone(),
                body: Bytes::new(),
            },
        };
        for _ in 0..REQUESTS_MAX {
            assert!(uplink.forward(request()).is_ok());
        }
        assert!(
            uplink.forward(request()).is_err(),
            "the requests are bounded"
        );
        for slot in 0..count {
            let next = downlink.notices.try_recv().expect("none is lost");
            assert_eq!(next.notice, closed(slot));
        }
    }
}

//! The ways to the control thread: from the engines a bounded channel of requests, and one of notices
//! beside it, so that ten thousand streams that end at once do not crowd out those who come back; and
//! from the replication thread the answers about those who want in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};

use driver::{Forwarded, Uplink};
use engine::{Notice, Overloaded};
use tokio::sync::Notify;

use super::admission::Answer;

/// How many requests wait for the control thread.
const REQUESTS_MAX: usize = 8192;

/// The most bytes of heads and bodies that wait for it, of all engines together: some 8 KiB each where as
/// many wait as may, far more than most have.
pub(super) const REQUEST_BYTES_MAX: usize = 64 << 20;

/// A notice, and the engine that gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EngineNotice {
    pub(super) engine: u16,
    pub(super) notice: Notice,
}

/// An engine's end. What it says waits until it rings: once for all that a round has brought.
#[derive(Clone)]
pub(crate) struct EngineUplink {
    engine: u16,
    requests: SyncSender<Box<Forwarded>>,
    /// How many bytes the requests have that wait.
    request_bytes: Arc<AtomicUsize>,
    /// No notice may be lost. Their number is bounded by what they speak of: two for each connection
    /// and one `Held` for each engine.
    notices: Sender<EngineNotice>,
    bell: Bell,
}

/// The replication thread's end.
#[derive(Clone)]
pub(crate) struct Answers {
    /// Bounded by what it answers, which the control thread itself has asked.
    answers: Sender<Answer>,
    bell: Bell,
}

/// The control thread's end.
pub(crate) struct Downlink {
    /// Who was let in, and who was not. Take all of it before a notice: what an engine says of
    /// a stream comes after the answer that let it in.
    pub(super) answers: Receiver<Answer>,
    /// What is to be answered: [`Self::next_request`].
    requests: Receiver<Box<Forwarded>>,
    request_bytes: Arc<AtomicUsize>,
    /// What is to be known. Take all of it before a request: whoever closes a stream and asks for
    /// another is within the limits.
    pub(super) notices: Receiver<EngineNotice>,
    /// Rung when there is something in one of them.
    pub(super) bell: Arc<Notify>,
}

/// Wakes the control thread, where it sleeps: ringing while it is awake costs it another look.
#[derive(Clone)]
struct Bell {
    bell: Arc<Notify>,
    /// Whether there is something to ring for.
    is_news: bool,
}

impl Bell {
    fn ring(&mut self) {
        if std::mem::take(&mut self.is_news) {
            self.bell.notify_one();
        }
    }
}

/// The ends: every engine gets the first by [`EngineUplink::of`], the replication thread the second.
pub(crate) fn pair() -> (EngineUplink, Answers, Downlink) {
    let (requests, requests_in) = sync_channel(REQUESTS_MAX);
    let (notices, notices_in) = channel();
    let (answers, answers_in) = channel();
    let bell = Bell {
        bell: Arc::default(),
        is_news: false,
    };
    let request_bytes = Arc::new(AtomicUsize::new(0));
    let downlink = Downlink {
        answers: answers_in,
        requests: requests_in,
        request_bytes: Arc::clone(&request_bytes),
        notices: notices_in,
        bell: Arc::clone(&bell.bell),
    };
    let answers = Answers {
        answers,
        bell: bell.clone(),
    };
    let uplink = EngineUplink {
        engine: 0,
        requests,
        request_bytes,
        notices,
        bell,
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
        let bytes = bytes_of(&request);
        // The engines may go beyond it by one request each, and by no more.
        if self.request_bytes.load(Ordering::Relaxed) + bytes > REQUEST_BYTES_MAX {
            return Err(Overloaded);
        }
        self.request_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.requests.try_send(Box::new(request)).is_err() {
            self.request_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Overloaded);
        }
        self.bell.is_news = true;
        Ok(())
    }

    fn notify(&mut self, notice: Notice) {
        if let Notice::Opened { .. } = notice {
            // Whoever is let in is counted and logged when the grant is handed over.
            return;
        }
        // An error says that the control thread has ended, and the node is about to.
        let _ = self.notices.send(EngineNotice {
            engine: self.engine,
            notice,
        });
        self.bell.is_news = true;
    }

    fn flush(&mut self) {
        self.bell.ring();
    }
}

impl Answers {
    /// Answers an order; [`Self::flush`] once after the last.
    pub(crate) fn say(&mut self, answer: Answer) {
        // An error says that the control thread has ended, and the node is about to.
        let _ = self.answers.send(answer);
        self.bell.is_news = true;
    }

    /// Lets the control thread know.
    pub(crate) fn flush(&mut self) {
        self.bell.ring();
    }
}

impl Downlink {
    /// The next request, where one waits.
    pub(super) fn next_request(&self) -> Result<Forwarded, TryRecvError> {
        let request = self.requests.try_recv()?;
        self.request_bytes
            .fetch_sub(bytes_of(&request), Ordering::Relaxed);
        Ok(*request)
    }
}

fn bytes_of(forwarded: &Forwarded) -> usize {
    let request = &forwarded.request;
    request.head.len_bytes() + request.body.len()
}

#[cfg(test)]
impl Downlink {
    /// Whether the control thread would be woken.
    fn is_rung(&self) -> bool {
        let mut notified = std::pin::pin!(self.bell.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        notified.as_mut().poll(&mut context).is_ready()
    }

    /// Takes the answers for which the control thread would be woken, and says how many there are: no
    /// answer waits without a wake-up, and no wake-up comes without an answer.
    pub(crate) fn woken_for(&self) -> usize {
        let answers = self.answers.try_iter().count();
        assert_eq!(self.is_rung(), answers > 0, "{answers} answers");
        answers
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

    /// A request with a body of so many bytes.
    fn forwarded(body_bytes: usize) -> Forwarded {
        let head = Head::parse(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n");
        Forwarded {
            connection: connection(0),
            peer: None,
            request: Request {
                head: head.ok().flatten().expect("a request"),
                body: Bytes::from(vec![0; body_bytes]),
            },
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
    fn all_that_a_round_says_rings_once() {
        let (uplink, mut answers, downlink) = pair();
        let mut engines = [uplink.of(0), uplink.of(1)];
        engines.iter_mut().for_each(Uplink::flush);
        assert!(!downlink.is_rung(), "nothing was said");
        for slot in 0..10 {
            engines[0].notify(closed(slot));
        }
        assert!(!downlink.is_rung(), "the round is not over");
        engines[0].flush();
        engines[1].flush();
        assert!(downlink.is_rung() && !downlink.is_rung());
        let asker = connection(1);
        answers.say(Answer::Renewed { asker });
        answers.flush();
        assert!(downlink.is_rung());
        answers.flush();
        assert!(!downlink.is_rung());
    }

    #[test]
    fn what_nobody_wants_to_know_is_not_said() {
        let (mut uplink, _answers, downlink) = pair();
        uplink.notify(Notice::Opened {
            connection: connection(1),
            verdict: engine::Verdict::Live,
        });
        uplink.flush();
        assert!(!downlink.is_rung() && downlink.notices.try_recv().is_err());
    }

    #[test]
    fn the_bytes_of_those_who_wait_are_bounded() {
        let (mut uplink, _answers, downlink) = pair();
        let request = || forwarded(wire::http::BODY_BYTES_MAX);
        let taken = (0..REQUESTS_MAX)
            .take_while(|_| uplink.forward(request()).is_ok())
            .count();
        assert!(taken < REQUESTS_MAX && taken * bytes_of(&request()) <= REQUEST_BYTES_MAX);
        assert!(uplink.of(1).forward(request()).is_err(), "of all engines");
        assert!(downlink.next_request().is_ok());
        assert!(uplink.forward(request()).is_ok() && uplink.forward(request()).is_err());
        while downlink.next_request().is_ok() {}
        assert_eq!(downlink.request_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn notices_keep_their_order_and_leave_room_for_requests() {
        let (mut uplink, _answers, downlink) = pair();
        let count = REQUESTS_MAX as u32 * 2;
        (0..count).for_each(|slot| uplink.notify(closed(slot)));
        let request = || forwarded(0);
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

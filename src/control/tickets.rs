//! Tickets: who waits for an engine to say what came of a change to an open stream. Pure: time is an
//! argument.
//!
//! A ticket is opened before the change is sent, and closed by the engine's one `Answered`, or by
//! time: then nobody knows whether it was done.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::TicketOutcome;
use wire::ConnectionId;
use wire::http::{Fields, Refusal, RefusalCode, response};

/// The most that wait at a time.
const TICKETS_MAX: usize = 4096;

/// How long an engine may take. It answers between two groups of sends; what takes longer is an
/// engine that has more to do than it can.
const TICKET_MS: u64 = 5_000;

/// The tickets that are open, oldest first: numbers only grow.
#[derive(Default)]
pub(super) struct Tickets {
    last: u64,
    open: BTreeMap<u64, Holder>,
}

/// Who waits for it, and how they are answered.
pub(super) struct Holder {
    /// The connection that asked.
    pub(super) connection: ConnectionId,
    fields: Fields,
    /// The JSON that says that it was done.
    done: Vec<u8>,
    due_ms: u64,
}

impl Tickets {
    /// Opens one. `done` is the JSON of the answer where the change is made.
    ///
    /// # Errors
    ///
    /// The refusal, where too many are open.
    pub(super) fn open(
        &mut self,
        connection: ConnectionId,
        fields: Fields,
        done: Vec<u8>,
        now_ms: u64,
    ) -> Result<u64, Refusal> {
        if self.open.len() >= TICKETS_MAX {
            let message = "too many changes of streams are under way";
            return Err(Refusal::new(RefusalCode::Overloaded, message));
        }
        self.last += 1;
        let holder = Holder {
            connection,
            fields,
            done,
            due_ms: now_ms + TICKET_MS,
        };
        self.open.insert(self.last, holder);
        Ok(self.last)
    }

    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Closes it: the engine has answered, or it never will. `None` where time has closed it before.
    pub(super) fn close(&mut self, ticket: u64) -> Option<Holder> {
        self.open.remove(&ticket)
    }

    /// Closes one that has waited for too long, if there is one.
    pub(super) fn overdue(&mut self, now_ms: u64) -> Option<Holder> {
        let oldest = self.open.first_entry()?;
        (oldest.get().due_ms <= now_ms).then(|| oldest.remove())
    }
}

impl Holder {
    /// The answer to what the engine said.
    pub(super) fn answer(&self, outcome: TicketOutcome) -> (Bytes, Option<RefusalCode>) {
        let refusal = match outcome {
            TicketOutcome::Done => {
                let mut fields = self.fields.clone();
                fields.push("content-type", "application/json");
                return (response(200, fields.as_str(), &self.done), None);
            }
            TicketOutcome::NotFound => Refusal::new(
                RefusalCode::NotFound,
                "there is no such stream any more: open another",
            ),
            TicketOutcome::Foreign => Refusal::new(
                RefusalCode::Forbidden,
                "the stream is somebody else's, or was opened with another kind of credential",
            ),
            TicketOutcome::NotAMember => Refusal::new(
                RefusalCode::NotAMember,
                "the fresh session does not vouch for the stream's organisation in this role: open another",
            ),
            TicketOutcome::TooMany => Refusal::new(
                RefusalCode::InvalidParameter,
                "the stream would name too many channels or types: replace them with PUT",
            ),
        };
        self.refuse(&refusal)
    }

    /// The answer where the engine said nothing in time.
    pub(super) fn unknown(&self) -> (Bytes, Option<RefusalCode>) {
        let message = "whether it was done is not known: ask again";
        self.refuse(&Refusal::new(RefusalCode::OutcomeUnknown, message))
    }

    /// A refusal instead of an answer.
    pub(super) fn refuse(&self, refusal: &Refusal) -> (Bytes, Option<RefusalCode>) {
        (refusal.response(self.fields.as_str()), Some(refusal.code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(slot: u32) -> ConnectionId {
        ConnectionId {
            boot: 0,
            engine: 0,
            slot,
            generation: 0,
        }
    }

    fn open(tickets: &mut Tickets, slot: u32, now_ms: u64) -> Result<u64, Refusal> {
        let done = b"{\"expiresAt\":7}".to_vec();
        tickets.open(connection(slot), Fields::new(), done, now_ms)
    }

    fn status(answer: &(Bytes, Option<RefusalCode>)) -> String {
        let text = String::from_utf8_lossy(&answer.0);
        text.lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn an_answer_finds_who_waits_for_it_and_only_once() {
        let mut tickets = Tickets::default();
        let one = open(&mut tickets, 1, 0).unwrap();
        let two = open(&mut tickets, 2, 0).unwrap();
        let holder = tickets.close(two).unwrap();
        assert_eq!(holder.connection, connection(2));
        let done = holder.answer(TicketOutcome::Done);
        assert_eq!(status(&done), "HTTP/1.1 200 OK");
        assert!(done.0.ends_with(b"\r\n\r\n{\"expiresAt\":7}"));
        let foreign = holder.answer(TicketOutcome::Foreign);
        assert_eq!(status(&foreign), "HTTP/1.1 403 Forbidden");
        let gone = holder.answer(TicketOutcome::NotFound);
        assert_eq!(status(&gone), "HTTP/1.1 404 Not Found");
        let unclaimed = holder.answer(TicketOutcome::NotAMember);
        assert_eq!(status(&unclaimed), "HTTP/1.1 403 Forbidden");
        let many = holder.answer(TicketOutcome::TooMany);
        assert_eq!(status(&many), "HTTP/1.1 400 Bad Request");
        assert!(tickets.close(two).is_none());
        assert!(tickets.close(one).is_some());
    }

    #[test]
    fn what_nobody_answers_is_closed_by_time_in_its_order() {
        let mut tickets = Tickets::default();
        open(&mut tickets, 1, 0).unwrap();
        let late = open(&mut tickets, 2, 10).unwrap();
        assert!(tickets.overdue(TICKET_MS - 1).is_none());
        let overdue = tickets.overdue(TICKET_MS).unwrap();
        assert_eq!(overdue.connection, connection(1));
        assert_eq!(status(&overdue.unknown()), "HTTP/1.1 504 Gateway Timeout");
        assert!(tickets.overdue(TICKET_MS).is_none());
        assert!(tickets.close(late).is_some());
    }

    #[test]
    fn there_are_only_so_many() {
        let mut tickets = Tickets::default();
        for slot in 0..TICKETS_MAX as u32 {
            assert!(open(&mut tickets, slot, 0).is_ok());
        }
        let refusal = open(&mut tickets, 0, 0).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Overloaded);
    }
}

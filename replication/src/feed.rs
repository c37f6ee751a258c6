//! The feed: messages of pgoutput in, batches out.
//!
//! It outlives the connections: it knows up to where everything was handed out, so that what the
//! server sends again is recognised by its position and dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use wire::{Batch, Commit, EventId, Frame, Keys, Lineage, Lsn};

use crate::application::{Application, PREFIX};
use crate::events::{Change, EventWriter, Place};
use crate::limits::PROGRESS_MS;
use crate::notice::Notice;
use crate::pgoutput::{Message, Old, Tuple};
use crate::protocol::Malformed;
use crate::relations::Relations;
use crate::routing::{Destination, Road, Table};
use crate::tally::Tally;
use crate::transaction::Transaction;
use crate::values::Shape;
use crate::{Action, Rules};

/// Turns changes into batches.
#[derive(Debug)]
pub(crate) struct Feed {
    router: Router,
    relations: Relations,
    transaction: Option<Transaction>,
    lineage: Lineage,
    /// Everything up to here was handed out.
    emitted: EventId,
    /// The end of the last transaction that was handed out whole: where reading goes on.
    resume: Lsn,
    /// A position that has not been said yet, up to which there is nothing for us.
    progress: Option<Lsn>,
    progress_at_ms: u64,
}

/// A change of a row.
#[derive(Clone, Copy, Debug)]
struct Row<'a> {
    action: Action,
    new: Option<Tuple<'a>>,
    old: Option<Old<'a>>,
}

/// What comes of a change: everything that does not change from one to the next.
struct Router {
    rules: Rules,
    keys: Keys,
    events: EventWriter,
    tally: Tally,
    /// At most a few for each table.
    notices: VecDeque<Notice>,
}

impl Feed {
    /// A feed that begins at a position.
    pub(crate) fn new(rules: Rules, keys: Keys, lineage: Lineage, floor: Lsn) -> Self {
        Self {
            router: Router {
                events: EventWriter::new(rules.event_bytes_max),
                rules,
                keys,
                tally: Tally::default(),
                notices: VecDeque::new(),
            },
            relations: Relations::default(),
            transaction: None,
            emitted: lineage.position(floor, 0),
            lineage,
            resume: floor,
            progress: None,
            progress_at_ms: 0,
        }
    }

    /// A new connection begins to stream at [`Self::resume`], of a cluster whose history may have
    /// grown.
    pub(crate) fn on_reconnect(&mut self, lineage: Lineage) {
        self.lineage = lineage;
        self.relations = Relations::default();
        self.transaction = None;
        self.progress = None;
    }

    /// A new connection begins to stream elsewhere: what lies between is missing.
    pub(crate) fn on_gap(&mut self, lineage: Lineage, floor: Lsn) {
        self.on_reconnect(lineage);
        self.emitted = self.lineage.position(floor, 0);
        self.resume = floor;
    }

    /// Reads one message, and returns what has to be handed over after it.
    pub(crate) fn handle_message(&mut self, bytes: &[u8]) -> Result<Option<Batch>, Malformed> {
        match Message::parse(bytes)? {
            Message::Begin { commit, commit_us } => self.begin(commit, commit_us).map(|()| None),
            Message::Commit { commit, end, .. } => self.commit(commit, end),
            Message::Origin => Ok(None),
            Message::Relation(relation) => {
                let table = self.relations.describe(&relation, &self.router.rules)?;
                self.router.on_table(table);
                Ok(None)
            }
            Message::Type {
                oid,
                namespace,
                name,
            } => {
                self.relations.describe_type(
                    oid,
                    Shape::of_name(namespace, name, self.router.rules.style),
                )?;
                Ok(None)
            }
            Message::Insert { relation, new } => self.row(
                relation,
                Row {
                    action: Action::Insert,
                    new: Some(new),
                    old: None,
                },
            ),
            Message::Update { relation, old, new } => self.row(
                relation,
                Row {
                    action: Action::Update,
                    new: Some(new),
                    old,
                },
            ),
            Message::Delete { relation, old } => self.row(
                relation,
                Row {
                    action: Action::Delete,
                    new: None,
                    old: Some(old),
                },
            ),
            Message::Truncate { relations } => self.truncate(&relations),
            Message::Application {
                transactional,
                prefix,
                content,
            } => self.application(transactional, prefix, content),
        }
    }

    /// The server has sent everything up to a position. Says whether it moves us on: not in the
    /// middle of a transaction.
    pub(crate) fn handle_keepalive(&mut self, end: Lsn) {
        if self.transaction.is_none() && end > self.resume {
            self.progress = Some(end);
            self.resume = end;
        }
    }

    /// The progress that is due, if any.
    pub(crate) fn poll_progress(&mut self, now_ms: u64) -> Option<Batch> {
        if now_ms < self.progress_deadline_ms()? {
            return None;
        }
        let position = self.lineage.position(self.progress.take()?, 0);
        self.progress_at_ms = now_ms;
        if position <= self.emitted {
            return None;
        }
        self.emitted = position;
        Some(Batch::Progress(position))
    }

    /// When progress is due.
    pub(crate) fn progress_deadline_ms(&self) -> Option<u64> {
        self.progress.map(|_| self.progress_at_ms + PROGRESS_MS)
    }

    /// The next thing worth a line in the log.
    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.router.notices.pop_front()
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    pub(crate) fn emitted(&self) -> EventId {
        self.emitted
    }

    pub(crate) fn resume(&self) -> Lsn {
        self.resume
    }

    /// When the transaction that is being read was committed, in milliseconds since 1970.
    pub(crate) fn commit_ms(&self) -> Option<i64> {
        self.transaction
            .as_ref()
            .map(|transaction| transaction.commit_ms)
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.router.tally
    }

    fn begin(&mut self, commit: Lsn, commit_us: i64) -> Result<(), Malformed> {
        if self.transaction.is_some() {
            return Err(Malformed::OutOfPlace("a begin"));
        }
        let transaction = Transaction::begin(commit, commit_us);
        if transaction.is_before(&self.lineage, self.emitted) {
            self.router.tally.replayed += 1;
        }
        self.transaction = Some(transaction);
        Ok(())
    }

    fn commit(&mut self, commit: Lsn, end: Lsn) -> Result<Option<Batch>, Malformed> {
        let transaction = self
            .transaction
            .take()
            .ok_or(Malformed::OutOfPlace("a commit"))?;
        if transaction.commit != commit || end < commit {
            return Err(Malformed::OutOfPlace("another transaction's commit"));
        }
        let through = self.lineage.position(end, 0);
        self.resume = self.resume.max(end);
        if through <= self.emitted {
            return Ok(None);
        }
        let flushed = transaction.flushed;
        let frames = transaction.finish();
        // Half of it may have been handed out on the last connection.
        if frames.is_empty()
            && !flushed
            && (self.emitted.lsn, self.emitted.index > 0) != (commit, true)
        {
            self.progress = Some(end);
            return Ok(None);
        }
        self.progress = None;
        Ok(Some(self.emit(frames, through, Some(end))))
    }

    fn row(&mut self, relation: u32, row: Row<'_>) -> Result<Option<Batch>, Malformed> {
        let place = self.place()?;
        let tuples = [row.new, row.old.map(|old| old.tuple)];
        let table = self
            .relations
            .table(relation, tuples.into_iter().flatten())?;
        match place {
            Some(place) => {
                let frames = self.router.frames(place, table, row);
                Ok(self.gather(frames.into_iter().flatten()))
            }
            None => Ok(None),
        }
    }

    fn truncate(&mut self, relations: &[u32]) -> Result<Option<Batch>, Malformed> {
        let place = self.place()?;
        for relation in relations {
            let table = self.relations.table(*relation, [])?;
            if place.is_some() && !matches!(table.road, Road::Withheld) {
                self.router.on_unroutable(table);
            }
        }
        Ok(None)
    }

    fn application(
        &mut self,
        transactional: bool,
        prefix: &str,
        content: &[u8],
    ) -> Result<Option<Batch>, Malformed> {
        let place = if transactional { self.place()? } else { None };
        if prefix != PREFIX || (transactional && place.is_none()) {
            return Ok(None);
        }
        let said = match (Application::parse(transactional, content), place) {
            (Ok(said), Some(place)) => (said, place),
            (Ok(_), None) => unreachable!("a message outside of a transaction is refused"),
            (Err(reason), _) => {
                if self.router.tally.on_refused(reason) {
                    self.router.notices.push_back(Notice::MessageRefused {
                        reason: reason.as_str(),
                    });
                }
                return Ok(None);
            }
        };
        let (said, place) = said;
        let audience = said.audience(&self.router.keys);
        let frame = self.router.events.application(place, &said, audience);
        Ok(self.gather([frame]))
    }

    /// The place of the next change; `None` where it was handed out before.
    fn place(&mut self) -> Result<Option<Place>, Malformed> {
        let transaction = self
            .transaction
            .as_mut()
            .ok_or(Malformed::OutOfPlace("a change"))?;
        let ordinal = transaction.next_ordinal()?;
        let id = self.lineage.position(transaction.commit, ordinal);
        let place = Place {
            id,
            commit_ms: transaction.commit_ms,
        };
        Ok((id > self.emitted).then_some(place))
    }

    fn gather(&mut self, frames: impl IntoIterator<Item = Frame>) -> Option<Batch> {
        let transaction = self
            .transaction
            .as_mut()
            .expect("a change has a place in one");
        let frames = transaction.gather(frames)?;
        let through = frames.last()?.id();
        Some(self.emit(frames, through, None))
    }

    fn emit(&mut self, frames: Vec<Frame>, through: EventId, end: Option<Lsn>) -> Batch {
        assert!(
            through > self.emitted,
            "positions are handed out in ascending order"
        );
        self.emitted = through;
        self.router.tally.events += frames.len() as u64;
        Batch::Commit(Arc::new(Commit {
            frames,
            through,
            end,
        }))
    }
}

impl Router {
    /// The frames of a change of a row: mostly one, two where it moves from one to another.
    fn frames(&mut self, place: Place, table: &Table, row: Row<'_>) -> [Option<Frame>; 2] {
        let plan = match &table.road {
            Road::Open(plan) => plan,
            Road::Withheld => return [None, None],
            Road::Unroutable => {
                self.on_unroutable(table);
                return [None, None];
            }
        };
        let Row { action, new, old } = row;
        let target = new.and_then(|new| table.destination_of_new(plan, new, old));
        let source = old.and_then(|old| table.destination_of_old(plan, old));
        if (new.is_some() && target.is_none()) || (new.is_none() && source.is_none()) {
            self.on_unroutable(table);
        }
        // It leaves its old place as a delete, since what it has become is not for their eyes, and
        // enters the new one as an insert, since what it was is not for theirs.
        let moved = new.is_some() && source.is_some() && source != target;
        let left = Change {
            action: Action::Delete,
            new: None,
            old,
            shows_old: true,
        };
        let there = Change {
            action: if moved { Action::Insert } else { action },
            new,
            old,
            // A key is shown even where it does not say whose it was: pages must forget it.
            shows_old: !moved && (source.is_some() || old.is_some_and(|old| !old.whole)),
        };
        let mut write = |destination: Destination<'_>, change| {
            let audience = plan.audience(&destination, &self.keys);
            let events = &mut self.events;
            events.row(place, table, plan, &destination, audience, change)
        };
        let leaves = source.filter(|_| moved || new.is_none());
        [
            leaves.map(|from| write(from, left)),
            target.map(|to| write(to, there)),
        ]
    }

    fn on_unroutable(&mut self, table: &Table) {
        if self.tally.on_unroutable(&table.name) {
            self.notices.push_back(Notice::Unroutable {
                table: table.name.clone(),
            });
        }
    }

    fn on_table(&mut self, table: &Table) {
        if self.tally.on_table(table) {
            let columns = table.withheld.clone();
            self.notices.push_back(Notice::Withheld {
                table: table.name.clone(),
                columns,
            });
        }
    }
}

impl std::fmt::Debug for Router {
    /// Without the keys, which are a secret of the boot.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

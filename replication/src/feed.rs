//! The feed: messages of pgoutput in, batches out.
//!
//! It outlives the connections: it knows up to where everything was handed out, so that what the
//! server sends again is recognised by its position and dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use wire::{Batch, Commit, EventId, Frame, Key, Keys, Lineage, Lsn};

use crate::Rules;
use crate::batches::Batches;
use crate::events::Place;
use crate::limits::PROGRESS_MS;
use crate::membership::{Effect, Moment, Rights};
use crate::notice::Notice;
use crate::pgoutput::Message;
use crate::planted;
use crate::protocol::Malformed;
use crate::relations::Relations;
use crate::router::{Router, Row};
use crate::tally::Tally;
use crate::transaction::{Transaction, origin};
use crate::values::Shape;

/// Turns changes into batches.
#[derive(Debug)]
pub(crate) struct Feed {
    router: Router,
    rights: Rights,
    relations: Relations,
    transaction: Option<Transaction>,
    /// The transaction in which the last connection broke.
    interrupted: Option<Transaction>,
    /// What has to be handed over: at most three, of one message.
    handed: VecDeque<Handed>,
    lineage: Lineage,
    /// Everything up to here was handed out.
    emitted: EventId,
    /// Up to here every change was looked at for what it means for rights.
    judged: EventId,
    /// Up to here everything was read that is not in `transaction`: where reading goes on.
    resume: Lsn,
    /// Up to here the server has said, on this connection, that all was sent.
    said: Lsn,
    /// A position that has not been said yet, up to which there is nothing for us.
    progress: Option<Lsn>,
    progress_at_ms: u64,
}

/// Something to be handed over.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) batch: Batch,
    /// Up to where everything was handed over with it.
    pub(crate) position: EventId,
    /// When it was committed, in milliseconds since 1970.
    pub(crate) commit_ms: i64,
}

impl Feed {
    /// A feed that begins at a position.
    pub(crate) fn new(rules: Rules, keys: Keys, lineage: Lineage, floor: Lsn) -> Self {
        let begin = lineage.position(floor, 0);
        let rights = Rights::new(rules.identity.clone(), keys.clone(), begin);
        Self {
            router: Router::new(rules, keys),
            rights,
            relations: Relations::default(),
            transaction: None,
            interrupted: None,
            handed: VecDeque::new(),
            emitted: begin,
            judged: begin,
            lineage,
            resume: floor,
            said: Lsn(0),
            progress: None,
            progress_at_ms: 0,
        }
    }

    /// Honours the ids of application messages for so long; without this, not at all.
    pub(crate) fn remember_ids(&mut self, window_ms: u64) {
        self.router.seen.set_window(window_ms);
    }

    /// The event that an application message with this id has become within the window, handed over or
    /// not.
    pub(crate) fn event_of(&self, message: Key, now_unix_ms: i64) -> Option<EventId> {
        self.router.seen.event(message, now_unix_ms)
    }

    /// A new connection begins to stream at [`Self::resume`], of a cluster whose history may have
    /// grown.
    pub(crate) fn on_reconnect(&mut self, lineage: Lineage) {
        if lineage != self.lineage {
            self.router.seen.keep(|event| lineage.admits(event));
        }
        self.lineage = lineage;
        self.relations = Relations::default();
        self.said = Lsn(0);
        if let Some(mut transaction) = self.transaction.take() {
            transaction.forget();
            self.interrupted = Some(transaction);
        }
        // What was not said yet would not be said again by a server that has nothing new.
        let position = self.lineage.position(self.resume, 0);
        self.progress = (position > self.emitted).then_some(self.resume);
    }

    /// A new connection begins to stream elsewhere: what lies between is missing. Returns what that means
    /// for the streams that are open.
    pub(crate) fn on_gap(&mut self, lineage: Lineage, floor: Lsn) -> Vec<Effect> {
        let is_foreign = lineage != self.lineage;
        self.on_reconnect(lineage);
        self.interrupted = None;
        self.progress = None;
        self.router.seen.clear();
        // What was taken from somebody stays taken, also where nobody was told yet.
        self.handed
            .retain(|handed| matches!(handed.batch, Batch::Revoke(_)));
        self.emitted = self.lineage.position(floor, 0);
        self.judged = self.emitted;
        for handed in &mut self.handed {
            handed.position = self.emitted;
        }
        self.resume = floor;
        self.rights.on_gap(self.emitted, is_foreign)
    }

    /// Reads one message. What has to be handed over after it is in [`Self::poll_handed`].
    pub(crate) fn handle_message(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        match Message::parse(bytes)? {
            Message::Begin {
                commit,
                commit_us,
                xid,
            } => self.begin(commit, commit_us, xid),
            Message::Commit { commit, end, .. } => self.commit(commit, end),
            Message::Origin => Ok(()),
            Message::Relation(relation) => {
                let table = self.relations.describe(&relation, &self.router.rules)?;
                self.router.on_table(table);
                Ok(())
            }
            Message::Type {
                oid,
                namespace,
                name,
            } => {
                let shape = Shape::of_name(namespace, name, self.router.rules.style);
                self.relations.describe_type(oid, shape)
            }
            Message::Insert { relation, new } => self.row(relation, Row::inserted(new)),
            Message::Update { relation, old, new } => self.row(relation, Row::updated(old, new)),
            Message::Delete { relation, old } => self.row(relation, Row::deleted(old)),
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
        if self.transaction.is_some() {
            return;
        }
        self.said = self.said.max(end);
        if end > self.resume {
            self.progress = Some(end);
            self.resume = end;
            self.rights.on_position(end);
        }
    }

    /// Has what is due said by [`Self::poll_notice`].
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) {
        self.router.handle_timeout(now_ms);
        self.rights.handle_timeout(now_ms);
    }

    /// What has to be handed over next.
    pub(crate) fn poll_handed(&mut self) -> Option<Handed> {
        if planted::REVOKE_AFTER_SEND && self.transaction.is_some() {
            return None;
        }
        self.handed.pop_front()
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

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn deadline_ms(&self) -> u64 {
        self.router.deadline_ms()
    }

    /// The next thing worth a line in the log.
    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.router.poll_notice()
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

    /// The timeline that is read.
    pub(crate) fn timeline(&self) -> u32 {
        self.lineage.timeline()
    }

    /// When the transaction that is being read was committed, in milliseconds since 1970.
    pub(crate) fn commit_ms(&self) -> Option<i64> {
        self.transaction
            .as_ref()
            .map(|transaction| transaction.commit_ms)
    }

    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }

    pub(crate) fn rights_mut(&mut self) -> &mut Rights {
        &mut self.rights
    }

    /// The moment of a verdict, where everything that came out of here was handed over.
    pub(crate) fn moment(&self, now_ms: u64, now_unix_ms: u64) -> Moment {
        let next = self.handed.front().map(|handed| handed.position);
        // What a connection broke off is begun anew on the next.
        let broken = self.interrupted.as_ref();
        let broken = broken.filter(|transaction| transaction.commit >= self.resume);
        let begun = self.transaction.as_ref().or(broken);
        let begun = begun.map(|transaction| self.lineage.position(transaction.commit, 0));
        Moment {
            now_ms,
            now_unix_ms,
            pending: next.into_iter().chain(begun).min(),
            known: self.emitted,
        }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.router.tally
    }

    fn begin(&mut self, commit: Lsn, commit_us: i64, xid: u32) -> Result<(), Malformed> {
        if self.transaction.is_some() {
            return Err(Malformed::OutOfPlace("a begin"));
        }
        let rules = &self.router.rules;
        let is_this = |broken: &mut Transaction| broken.commit == commit;
        let transaction = self.interrupted.take_if(is_this).unwrap_or_else(|| {
            let batches = Batches::new(rules.batch_over, rules.event_bytes_max);
            Transaction::begin(commit, commit_us, xid, batches)
        });
        // They come in the order of their commits.
        self.rights.on_position(commit);
        if transaction.is_before(&self.lineage, self.emitted) {
            // On the server's word everybody was told that there is nothing before.
            if commit < self.said {
                return Err(Malformed::Behind);
            }
            self.router.tally.replayed += 1;
        } else {
            // A server that said it had sent everything beyond it was wrong, and what it brings would
            // lie behind what was handed over. Where it breaks, it is read again from its beginning.
            self.progress = self.progress.filter(|end| *end <= commit);
            self.resume = self.resume.min(commit);
        }
        // What had nothing to tell was before it, too.
        let begin = self.emitted.max(self.lineage.position(commit, 0));
        self.rights.on_begin(transaction.commit_ms, begin);
        self.transaction = Some(transaction);
        if planted::CONFIRM_BEFORE_HAND_OVER {
            self.resume = self.resume.max(Lsn(commit.0 + 1));
        }
        Ok(())
    }

    fn commit(&mut self, commit: Lsn, end: Lsn) -> Result<(), Malformed> {
        let mut transaction = self
            .transaction
            .take()
            .ok_or(Malformed::OutOfPlace("a commit"))?;
        if transaction.commit != commit || end < commit {
            return Err(Malformed::OutOfPlace("another transaction's commit"));
        }
        let through = self.lineage.position(end, 0);
        self.resume = self.resume.max(end);
        self.said = self.said.max(end);
        self.rights.on_position(end);
        if through <= self.emitted {
            return Ok(());
        }
        let is_begun = transaction.flushed || transaction.has_effects;
        let frames = transaction.flush(true);
        // Half of it may have been handed out on the last connection.
        if frames.is_empty()
            && !is_begun
            && (self.emitted.lsn, self.emitted.index > 0) != (commit, true)
        {
            self.progress = Some(end);
            return Ok(());
        }
        self.progress = None;
        self.emit(frames, through, Some(end), transaction.commit_ms);
        if planted::REVOKE_AFTER_SEND {
            let is_revocation = |handed: &Handed| matches!(handed.batch, Batch::Revoke(_));
            self.handed.make_contiguous().sort_by_key(is_revocation);
        }
        Ok(())
    }

    fn row(&mut self, relation: u32, row: Row<'_>) -> Result<(), Malformed> {
        let place = self.place()?;
        let tuples = [row.new, row.old.map(|old| old.tuple)];
        let table = self
            .relations
            .table(relation, tuples.into_iter().flatten())?;
        if let Some(place) = place {
            let effects = match &table.concerns {
                Some(concerns) if place.id > self.judged => {
                    let origin = origin(self.transaction.as_ref(), place);
                    self.rights.handle_row(concerns, row, origin)
                }
                _ => Vec::new(),
            };
            let concerns = table.concerns.as_ref();
            let may_revoke = concerns.is_some_and(|it| it.may_revoke(row.action));
            let frames = self.router.rows(place, table, row);
            self.carry_out(effects, place, may_revoke);
            self.gather(frames.into_iter().flatten());
        }
        Ok(())
    }

    /// A message names every table that was emptied. Each has a place of its own, so that each of its
    /// events can be the last that a client has seen.
    fn truncate(&mut self, relations: &[u32]) -> Result<(), Malformed> {
        for relation in relations {
            let place = self.place()?;
            let table = self.relations.table(*relation, [])?;
            let Some(place) = place else { continue };
            let effects = match &table.concerns {
                Some(concerns) if place.id > self.judged => {
                    let origin = origin(self.transaction.as_ref(), place);
                    self.rights.handle_truncate(concerns, origin)
                }
                _ => Vec::new(),
            };
            let may_revoke = table.concerns.is_some();
            let frame = self.router.truncation(place, table);
            self.carry_out(effects, place, may_revoke);
            self.gather(frame);
        }
        Ok(())
    }

    fn application(
        &mut self,
        transactional: bool,
        prefix: &str,
        content: &[u8],
    ) -> Result<(), Malformed> {
        let place = if transactional { self.place()? } else { None };
        if transactional && place.is_none() {
            // It was handed out before.
            return Ok(());
        }
        if let Some(frame) = self.router.application(place, prefix, content) {
            self.gather([frame]);
        }
        Ok(())
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

    fn gather(&mut self, frames: impl IntoIterator<Item = Frame>) {
        let transaction = self.begun();
        let commit_ms = transaction.commit_ms;
        if let Some(frames) = transaction.gather(frames) {
            self.emit_part(frames, commit_ms);
        }
    }

    /// Hands over what a change means for the streams that are open. What came before it goes first, whether
    /// or not somebody loses something here: what is handed over together hangs on the log alone, and not on
    /// what this node knows.
    fn carry_out(&mut self, effects: Vec<Effect>, place: Place, may_revoke: bool) {
        self.judged = self.judged.max(place.id);
        let transaction = self.begun();
        if may_revoke && !transaction.is_empty() {
            let frames = transaction.flush(false);
            self.emit_part(frames, place.commit_ms);
        }
        let transaction = self.begun();
        if effects.is_empty() {
            return;
        }
        transaction.has_effects = true;
        // Its own event, if it has one, comes behind it. What only gives a right goes ahead of what was
        // gathered, which is not handed over by it: the stream ends, and comes back to it.
        if transaction.is_empty() {
            let before = EventId {
                index: place.id.index - 1,
                ..place.id
            };
            self.emitted = self.emitted.max(before);
        }
        let batches = effects.into_iter().map(|effect| match effect {
            Effect::Revoke(revocation) => Batch::Revoke(revocation),
            Effect::Extend(extension) => Batch::Extend(extension),
        });
        let (position, commit_ms) = (self.emitted, place.commit_ms);
        self.handed.extend(batches.map(|batch| Handed {
            batch,
            position,
            commit_ms,
        }));
    }

    /// The transaction that a change stands in.
    fn begun(&mut self) -> &mut Transaction {
        let begun = self.transaction.as_mut();
        begun.expect("a change has a place in one")
    }

    /// Hands over a part of a transaction.
    fn emit_part(&mut self, frames: Vec<Frame>, commit_ms: i64) {
        if let Some(last) = frames.last() {
            let through = last.id();
            self.emit(frames, through, None, commit_ms);
        }
    }

    fn emit(&mut self, frames: Vec<Frame>, through: EventId, end: Option<Lsn>, commit_ms: i64) {
        assert!(
            through > self.emitted,
            "positions are handed out in ascending order"
        );
        self.emitted = through;
        self.router.tally.events += frames.len() as u64;
        let batch = Batch::Commit(Arc::new(Commit {
            frames,
            through,
            end,
        }));
        self.handed.push_back(Handed {
            batch,
            position: through,
            commit_ms,
        });
    }
}

#[cfg(test)]
mod tests;

//! The reasons of what a stream is told that it would rather not be: a `reset`, a `bye`, an end without one; and the
//! place at which whoever begins anew begins.

use wire::{EventId, GapReason};

use super::{Circumstances, Id, Oracle, Stage, position};
use crate::model::Position;
use crate::node::{Admitted, Shelf};
use crate::parser::Event;
use crate::sometimes::{Sometimes, State};
use crate::time::Time;

/// An engine counts deadlines in steps of this.
const TICK_MS: u64 = 100;

impl Oracle {
    /// Whoever begins now, or anew, begins at the newest place that its engine has: not before what that had
    /// applied when it let the stream in, and not behind what it has applied by now.
    pub(super) fn check_newest(
        &self,
        place: Position,
        around: Circumstances<'_>,
    ) -> Result<(), String> {
        let admitted = around.admitted.ok_or("nobody let it in")?;
        let (then, now) = (admitted.applied, around.shelf.applied());
        // A server that takes over with a slot of its own may be read from before the place where a stream was
        // that is reset, so that what follows the reset is partly what it had. And who waits with an id of another
        // node for its place, and was told nothing yet, is reset to where this one is. Nothing else goes back.
        let is_waiting = self.events == 0 && self.sent.is_some();
        let has_changed =
            around.has_missed(|reason| reason == GapReason::HistoryChanged || is_waiting);
        let last = self.stream.last_id().filter(|last| place < *last);
        if let Some(last) = last.filter(|_| !has_changed) {
            return Err(format!("has {last}, and is reset to {place}"));
        }
        // After a gap, places of before mean nothing any more.
        let has_missed = around.has_missed(|_| true);
        if place < position(then) && !has_missed {
            return Err(format!(
                "begins at {place}, and {then:?} was applied before"
            ));
        }
        if now.is_none_or(|now| place > position(now)) && !has_missed {
            return Err(format!("begins at {place}, and {now:?} is applied now"));
        }
        Ok(())
    }

    pub(super) fn on_reset(
        &mut self,
        event: &Event,
        around: Circumstances<'_>,
        sometimes: &mut Sometimes,
    ) -> Result<(), String> {
        let reason = event.member("reason").unwrap_or_default();
        // In the middle of a stream only a gap is one. Who was told to wait for its place may find what follows
        // that gone when it is reached.
        let is_at_begin = self.stage == Stage::Resetting || self.events == 0;
        let sent = self.sent.as_ref().filter(|_| is_at_begin);
        let is_justified = match (reason, sent) {
            ("unknown_position", Some(sent)) => {
                sometimes.reach(State::ResetUnknown);
                let epoch = event.id.as_deref().map(|text| Id::parse(text).epoch);
                epoch != Some(sent.epoch) || self.is_unknown(sent, around)
            }
            ("history", Some(sent)) => {
                sometimes.reach(State::ResetHistory);
                self.is_past(sent, around, sometimes)
            }
            ("slot_lost", _) => {
                sometimes.reach(State::ResetSlotLost);
                around.has_missed(|reason| reason == GapReason::SlotLost)
            }
            ("history_changed", _) => {
                sometimes.reach(State::ResetHistoryChanged);
                around.has_missed(|reason| reason == GapReason::HistoryChanged)
            }
            _ => false,
        };
        if !is_justified {
            let Circumstances {
                admitted, shelf, ..
            } = around;
            return Err(format!(
                "a reset for {reason:?} after {sent:?}; it was let in as {admitted:?}; missed: {:?}",
                shelf.missed
            ));
        }
        self.stage = Stage::Open;
        self.resets += 1;
        Ok(())
    }

    /// Whether an id is none of this cluster's.
    fn is_unknown(&self, sent: &Id, around: Circumstances<'_>) -> bool {
        let (Some(place), Some(admitted)) = (sent.position, around.admitted) else {
            return true;
        };
        // The node may not have heard yet of the server that has taken over.
        place.lsn > self.end_then.lsn
            || place.timeline > admitted.applied.timeline
            || around.model.is_abandoned(place)
    }

    /// Whether what follows an id may have gone.
    fn is_past(&self, sent: &Id, around: Circumstances<'_>, sometimes: &mut Sometimes) -> bool {
        let (Some(place), Some(admitted)) = (sent.position, around.admitted) else {
            return false;
        };
        let is_behind = |id: Option<EventId>| id.is_some_and(|id| place < position(id));
        if is_behind(Some(admitted.floor)) {
            sometimes.reach(State::ResumeBelowFloor);
            return true;
        }
        // Who waited until its place was reached is judged then.
        let is_held = place > position(admitted.applied);
        let evicted_now = around.shelf.newest_evicted(admitted.topics);
        is_behind(admitted.evicted)
            || is_held && is_behind(evicted_now)
            || is_behind(admitted.since) && self.has_changed(place, admitted, around)
    }

    /// Whether something was said about the viewer that may have let it in behind a place.
    fn has_changed(&self, place: Position, admitted: Admitted, around: Circumstances<'_>) -> bool {
        let since = admitted.since.map_or(place, position);
        let (model, viewer) = (around.model, self.viewer());
        // The end of the time for which somebody is kept out is in no log; and after a gap, the memberships
        // are read anew, and nothing from before is known to have been lasting.
        model.changed_within(viewer, place, since).is_some()
            || model.was_kept_out(viewer)
            // While nobody knows the memberships, a change of any of them may be one of this viewer's; and whom a
            // revocation kept out that is deleted before it was read, nobody can tell.
            || model.is_of_anybody(since)
            || !around.shelf.missed.is_empty()
            // They are read anew, too, where another server takes over.
            || model.has_forked()
    }

    /// Whether there is a reason for the last word.
    pub(super) fn check_bye(&self, reason: &str, around: Circumstances<'_>) -> Result<(), String> {
        let admitted = around.admitted.ok_or("nobody let it in")?;
        let (model, viewer) = (around.model, self.viewer());
        let is_so = match reason {
            "membership_revoked"
            | "session_revoked"
            | "role_changed"
            | "organization_deleted"
            | "reauthorize" => self
                .stream
                .has_lost_right(model, position(admitted.applied)),
            // Which sessions ended while changes were missed, nobody can tell any more.
            // And where the feed was silent for too long, nobody knows who may still see anything.
            "feed_stale" => around.has_missed(|_| true) || around.has_closed_users,
            "session_expired" => {
                let ends = model.session_ends(&viewer.session);
                // It is counted on another clock, in whole milliseconds as well.
                ends.is_some_and(|(earliest_ms, _)| earliest_ms <= around.unix_ms + 1)
            }
            "lagging" => around.now.since(admitted.at).ms() + TICK_MS >= around.resume_wait_ms,
            "draining" => around.is_draining,
            _ => false,
        };
        match is_so {
            true => Ok(()),
            false => Err(format!(
                "{viewer:?} is told bye for {reason:?}, which is not so; it was let in as {admitted:?}, \
                 {}, its session ends: {:?}, unix {}, missed: {:?}, had begun at {:?}",
                around.now.ms(),
                model.session_ends(&viewer.session),
                around.unix_ms,
                around.shelf.missed,
                self.stream.last_id(),
            )),
        }
    }

    /// The connection has ended in order: a stream that was open was told why.
    pub fn check_end(&self) -> Result<(), String> {
        match self.stage {
            Stage::Over => Ok(()),
            stage => Err(format!(
                "closed without a word while {stage:?}: {:?}",
                self.stream
            )),
        }
    }

    /// It was torn down although its socket took everything: what it lacks has left the log, since a transaction
    /// was larger than that, or came before its turn did.
    pub fn check_cut_off(&self, admitted: Option<Admitted>, shelf: &Shelf) -> Result<(), String> {
        let newest = admitted.and_then(|admitted| shelf.newest_evicted(admitted.topics));
        // With a gap everything leaves it, also what a stream is in the middle of.
        let at = admitted.map_or(Time(0), |admitted| admitted.at);
        if shelf.missed_since(at).next().is_some() {
            return Ok(());
        }
        let last = self.stream.last_id();
        if newest.is_some_and(|newest| last.is_none_or(|last| last < position(newest))) {
            return Ok(());
        }
        Err(format!(
            "cut off after {last:?}, and {newest:?} is the newest that has left the log: {:?}",
            self.stream
        ))
    }
}

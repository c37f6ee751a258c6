//! What the judge of a connection checks: each thing in a place of its own, with its words.

use std::collections::BTreeSet;

use super::{Asked, Fault, Stream};
use crate::model::line::{Expected, Line};
use crate::model::position::Position;
use crate::model::rights::Cut;
use crate::model::{Model, Viewer, is_for, render};
use crate::postgres::What;

impl Stream {
    /// The events of a line that the changes of an event are.
    pub(super) fn changes(
        &self,
        line: &Line,
        model: &Model,
        at: Position,
        ids: &[&str],
    ) -> Result<Vec<u32>, Fault> {
        if ids.is_empty() {
            return Ok(vec![self.find(line, at)?]);
        }
        if model.batch_over == 0 || ids.len() < 2 {
            return Err(self.fault(&format!("is told {} changes as one event, {at}", ids.len())));
        }
        let mut changes = Vec::new();
        for id in ids {
            let (_, position) = self.read(id)?;
            changes.push(self.find(line, position)?);
        }
        let last = changes.last().map(|last| line.event(*last).position);
        let kinds: BTreeSet<&str> = changes.iter().map(|at| &*line.event(*at).kind).collect();
        if last != Some(at) || !changes.is_sorted() || kinds.len() > 1 {
            return Err(self.fault(&format!("is told {ids:?} as one event, {at}")));
        }
        Ok(changes)
    }

    /// The event at a position that is for this viewer.
    pub(super) fn find(&self, line: &Line, at: Position) -> Result<u32, Fault> {
        let before = Position {
            index: at.index.saturating_sub(1),
            ..at
        };
        let told = self.told.as_ref().expect("it is connected");
        let mut events = line.from(line.behind(before), told.user, told.organisation);
        let is_there = |event: &Expected| event.position == at;
        let found = events.find(|it| !is_there(line.event(*it)) || self.is_wanted(line.event(*it)));
        let found = found.filter(|it| is_there(line.event(*it)));
        found.ok_or_else(|| {
            let what = match line.is_event(at) {
                true => "which is not for it",
                false => "which was never committed, or is nobody's",
            };
            self.fault(&format!("is told {at}, {what}"))
        })
    }

    /// Whether an event is addressed to the viewer, and its subscription admits it.
    pub(super) fn is_wanted(&self, event: &Expected) -> bool {
        let told = self.told.as_ref().expect("it is connected");
        is_for(event, told.user, told.organisation, told.roles) && self.viewer.admits(event)
    }

    /// Whether an event must have come, whatever the place at which the subscription changed.
    pub(super) fn is_required(&self, event: &Expected) -> bool {
        // What came under the newest subscription says that the change lies before it.
        let is_settled = self.changed_in.is_some_and(|lsn| event.position.lsn > lsn);
        let is_always = is_settled || self.before.iter().all(|before| before.admits(event));
        self.is_wanted(event) && !event.is_repeated && is_always
    }

    /// From here on the subscription is the newest alone.
    pub(super) fn settle_subscription(&mut self) {
        self.before.clear();
        self.changed_in = None;
    }

    /// The first event that has not come, of those of which something is so.
    pub(super) fn missing<'a>(
        &self,
        line: &'a Line,
        is_due: impl Fn(&Expected) -> bool,
    ) -> Option<&'a Expected> {
        let told = self.told.as_ref().expect("it is connected");
        let events = line.from(line.behind(told.complete), told.user, told.organisation);
        let mut due = events.take_while(|at| is_due(line.event(*at)));
        let missing = due.find(|at| !told.seen.contains(at) && self.is_required(line.event(*at)));
        missing.map(|at| line.event(at))
    }

    /// Whether everything has come of which something is so.
    pub(super) fn check_has_all(
        &self,
        line: &Line,
        is_due: impl Fn(&Expected) -> bool,
        what: &str,
    ) -> Result<(), Fault> {
        let told = self.told.as_ref().expect("it is connected");
        match self.missing(line, is_due) {
            None => Ok(()),
            Some(event) => Err(self.fault(&format!(
                "misses {} ({} of {:?}) before {what}; it had everything up to {}",
                event.position, event.kind, event.audience, told.complete
            ))),
        }
    }

    /// Whether what comes before these changes in their transaction has come, and none of them before.
    pub(super) fn check_order(
        &self,
        line: &Line,
        model: &Model,
        changes: &[u32],
    ) -> Result<(), Fault> {
        let told = self.told.as_ref().expect("it is connected");
        let (first, last) = (changes[0], changes[changes.len() - 1]);
        let again = changes.iter().find(|at| told.seen.contains(at));
        if let Some(again) = again {
            let position = line.event(*again).position;
            return Err(self.fault(&format!("is told {position} twice")));
        }
        // What lies before the transaction was looked at under the subscription that it had.
        let begin = Position {
            index: 0,
            ..line.event(first).position
        };
        let from = match told.complete.is_before(begin) {
            true => begin,
            false => told.complete,
        };
        let behind = line.behind(from);
        if changes.len() == 1 && first < behind {
            let position = line.event(first).position;
            return Err(self.fault(&format!("is told {position}, which it had")));
        }
        // With batch events, changes of different types may pass each other.
        let kind = &line.event(last).kind;
        let is_ordered = |event: &Expected| model.batch_over == 0 || event.kind == *kind;
        let mut events = line.from(behind, told.user, told.organisation);
        let passed = events.by_ref().take_while(|at| *at < last).find(|at| {
            let event = line.event(*at);
            let has_come = told.seen.contains(at) || changes.contains(at);
            !has_come && self.is_required(event) && is_ordered(event)
        });
        match passed.map(|at| line.event(at)) {
            None => Ok(()),
            Some(event) => Err(self.fault(&format!(
                "misses {} ({}) before {} of the same transaction",
                event.position,
                event.kind,
                line.event(last).position
            ))),
        }
    }

    pub(super) fn check_text(
        &self,
        line: &Line,
        changes: &[u32],
        ids: &[&str],
        id: &str,
        data: &str,
    ) -> Result<(), Fault> {
        let is_as_committed = match ids.is_empty() {
            true => render::is_of(line.event(changes[0]), id, data),
            false => {
                let events = changes.iter().map(|at| line.event(*at));
                let parts: Vec<(&Expected, &str)> = events.zip(ids.iter().copied()).collect();
                render::is_batch_of(&parts, id, data)
            }
        };
        if is_as_committed {
            return Ok(());
        }
        let change = line.event(changes[0]).committed();
        Err(self.fault(&format!(
            "is told {data:?}, and what was committed is {change:?}"
        )))
    }

    /// Notes a message that has an id, and whether it came twice within the window.
    pub(super) fn note_said(&mut self, line: &Line, changes: &[u32]) -> Result<(), Fault> {
        for at in changes {
            let event = line.event(*at);
            let What::Message {
                meaning: Some(meaning),
                ..
            } = event.committed()
            else {
                continue;
            };
            let Some(id) = meaning.id.clone() else {
                continue;
            };
            let at_ms = event.transaction.unix_us / 1_000;
            let key = (meaning.organisation.clone(), meaning.user.clone(), id);
            let told = self.told.as_mut().expect("it is connected");
            let before = told.said.insert(key, at_ms);
            if before.is_some_and(|before_ms| at_ms < before_ms + line.window_ms) {
                let position = event.position;
                return Err(self.fault(&format!("is told a message twice, now as {position}")));
            }
        }
        Ok(())
    }

    /// Whether the right has lasted up to a position.
    pub(super) fn check_right(&self, line: &Line, at: Position) -> Result<(), Fault> {
        match self.cut(line) {
            Some(cut) if !at.is_before(cut.at) => {
                Err(self.fault(&format!("is told {at}, and lost its right at {cut}")))
            }
            _ if self.told.as_ref().is_some_and(|told| told.is_void) => {
                Err(self.fault(&format!("is told {at}, and lost its right before it began")))
            }
            _ => Ok(()),
        }
    }

    /// Where the right ended, since the stream began.
    pub(super) fn cut(&self, line: &Line) -> Option<Cut> {
        let told = self.told.as_ref().expect("it is connected");
        let session = &self.viewer.session;
        line.rights
            .cut_after(told.user, told.organisation, session, told.since)
    }

    /// Where the right begins of somebody who is at a position of a line.
    pub(super) fn begin(&self, line: &Line, at: Position) -> Position {
        let begins = self.begins.filter(|begins| at.is_before(*begins));
        begins.filter(|it| line.contains(*it)).unwrap_or(at)
    }

    /// The line of history on which its right begins at a position or behind it: who hears of a right that another
    /// server has no word of, from a node that does not know that server yet, is on the line that was left.
    pub(super) fn line_from<'a>(&self, model: &'a Model, at: Position) -> Result<&'a Line, Fault> {
        let begins = self.begins.filter(|begins| at.is_before(*begins));
        let line = begins.and_then(|begins| model.line_of(begins));
        self.line_of(model, at, line.map(|line| line.timeline))
    }

    /// The line of history on which a position goes on from what the stream has.
    pub(super) fn next_line<'a>(&self, model: &'a Model, at: Position) -> Result<&'a Line, Fault> {
        let told = self.told.as_ref().expect("it is connected");
        if told.owes_reset {
            return Err(self.fault(&format!("is told {at}, and waits for its reset")));
        }
        let line = self.line_of(model, at, Some(told.timeline))?;
        if !line.contains(told.last) || !line.contains(told.since) {
            return Err(self.fault(&format!(
                "had {}, which history has left, and is told {at} without a reset",
                told.last
            )));
        }
        Ok(line)
    }

    /// A line of history that has a position: the one that is followed, or else the newest.
    pub(super) fn line_of<'a>(
        &self,
        model: &'a Model,
        at: Position,
        followed: Option<u32>,
    ) -> Result<&'a Line, Fault> {
        let mut lines = model.lines.iter().rev().filter(|line| line.contains(at));
        let followed = followed.and_then(|timeline| {
            let mut lines = model.lines.iter();
            lines.find(|line| line.timeline == timeline && line.contains(at))
        });
        let Some(line) = followed.or_else(|| lines.next()) else {
            return Err(self.fault(&format!("is told {at}, which is on no line of history")));
        };
        // A node that has not heard of a promotion asks how far the log goes, and is answered for another
        // timeline: an id that a client has made up is none of ours as soon as it hears of it.
        let (current, is_own) = (model.current(), self.asked == Asked::After(at));
        let may_be_taken = is_own && line.timeline != current.timeline && at.lsn <= current.end;
        if at.lsn > line.end && !may_be_taken {
            let end = line.end;
            return Err(self.fault(&format!("is told {at}, and the log ends at {end:x}")));
        }
        Ok(line)
    }

    /// An id of a stream that is connected and not over.
    pub(super) fn read_next(&self, id: &str) -> Result<Position, Fault> {
        let (epoch, at) = self.read(id)?;
        let Some(told) = &self.told else {
            return Err(self.fault(&format!("is told {at} before it is connected")));
        };
        if self.has_ended {
            return Err(self.fault(&format!("is told {at} after its end")));
        }
        if epoch != told.epoch {
            return Err(self.fault(&format!("is told {id}, of another cluster")));
        }
        Ok(at)
    }

    pub(super) fn read(&self, id: &str) -> Result<(u32, Position), Fault> {
        Position::parse(id).ok_or_else(|| self.fault(&format!("is told {id:?}, which is no id")))
    }

    pub(super) fn fault(&self, what: &str) -> Fault {
        let Viewer {
            user,
            organisation,
            session,
            channels,
            types,
        } = &self.viewer;
        Fault(format!(
            "{user} of {organisation} (session {session}, channels {channels:?}, types {types:?}) {what}"
        ))
    }
}

/// The ids of the changes of a batch event, in order; none where it is no batch. Within a string a quotation
/// mark is escaped, so that what is looked for stands between tokens alone.
pub(super) fn batched(data: &str) -> Vec<&str> {
    let Some((_, changes)) = data.split_once(",\"changes\":[") else {
        return Vec::new();
    };
    let ids = changes.split("{\"id\":\"").skip(1);
    let ids = ids.filter_map(|rest| {
        let (id, rest) = rest.split_once('"')?;
        rest.starts_with(",\"table\":").then_some(id)
    });
    ids.collect()
}

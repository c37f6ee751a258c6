//! The judge of one connection: it is told what the client was told, in order, and says what is wrong with it.
//!
//! What a stream was sent is a contiguous part of what its viewer may see, from the place that `connected` or
//! `reset` names; with batch events, it is so transaction by transaction, and within one type by type. What is
//! left open: an event that only repeats another may be missing, and of the events around a change of the
//! subscription those may be missing that only one of the two filters admits.

mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::line::Expected;
use super::names::Name;
use super::position::Position;
use super::rights::Roles;
use super::{Model, Viewer};
use crate::sometimes::{Sometimes, State};

/// What a client was told that it must not have been, or was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From where a client asked to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// From now.
    Live,
    /// Behind this position.
    After(Position),
    /// Behind something that is no position.
    Unknown,
}

/// The verdict in `connected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It begins.
    Live,
    /// It goes on, and nothing is missing.
    Resumed,
    /// Something may be missing: `reset` follows.
    Reset,
}

/// A connection, as its client sees it.
#[derive(Clone, Debug)]
pub struct Stream {
    viewer: Viewer,
    asked: Asked,
    /// What it was before its last changes of subscription, as long as what only one of them admits may be
    /// missing; and the transaction in which the first event came under the newest.
    before: Vec<Viewer>,
    changed_in: Option<u64>,
    /// From where on it was let in, where that lies ahead of what had been handed over.
    begins: Option<Position>,
    /// What it is told, from `connected` on.
    told: Option<Told>,
    has_ended: bool,
}

/// What a stream has been told.
#[derive(Clone, Debug)]
struct Told {
    epoch: u32,
    /// The line of history that it follows.
    timeline: u32,
    user: Name,
    organisation: Name,
    roles: Roles,
    /// Whether its right had ended where it began, so that nothing may come any more.
    is_void: bool,
    /// From where on its right must last.
    since: Position,
    /// Everything up to here it has.
    complete: Position,
    /// The events behind that which it has: all of the transaction that is under way.
    seen: BTreeSet<u32>,
    /// The last id of any kind.
    last: Position,
    owes_reset: bool,
    /// Where it began; whether that was with a reset; and whether a batch was among its events.
    first: Position,
    is_reset: bool,
    has_batch: bool,
    /// When each message with an id was told, by the time of its commit in milliseconds.
    said: BTreeMap<(Option<String>, Option<String>, String), u64>,
}

impl Stream {
    /// A connection of somebody who asks to go on from somewhere.
    pub fn new(viewer: Viewer, asked: Asked) -> Self {
        Self {
            viewer,
            asked,
            before: Vec::new(),
            changed_in: None,
            begins: None,
            told: None,
            has_ended: false,
        }
    }

    /// Who looks, with the subscription as it is now.
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// The last id that it was told.
    pub fn last_id(&self) -> Option<Position> {
        self.told.as_ref().map(|told| told.last)
    }

    /// What it has not been told of the line of history that is in force: the first of it, or the place where it
    /// is, if history has left that.
    pub fn owes(&self, model: &Model) -> Option<Position> {
        let told = self.told.as_ref()?;
        let line = model.current();
        if !line.contains(told.last) {
            return Some(told.last);
        }
        self.missing(line, |_| true).map(|event| event.position)
    }

    /// The node knew of the right from here on, and may not have come so far: that somebody becomes a member
    /// is nothing to hand over. Until there nothing may come.
    pub fn begins(&mut self, at: Position) {
        self.begins = Some(at);
    }

    /// `connected` came, with this id and this verdict.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn connected(&mut self, model: &Model, id: &str, verdict: Verdict) -> Result<(), Fault> {
        let (epoch, at) = self.read(id)?;
        if self.told.is_some() {
            return Err(self.fault("is told twice that it is connected"));
        }
        let fits = match (self.asked, verdict) {
            (Asked::Live, Verdict::Live) => true,
            (Asked::After(asked), Verdict::Resumed) => asked == at,
            // Also who asks for what comes from now on may wait, and changes may be missed meanwhile.
            (_, Verdict::Reset) => true,
            _ => false,
        };
        if !fits {
            let asked = self.asked;
            return Err(self.fault(&format!(
                "asked for {asked:?} and is told {verdict:?} at {at}"
            )));
        }
        let line = self.line_from(model, at)?;
        let names = model.names_of(&self.viewer);
        let begin = self.begin(line, at);
        let roles = model.roles_at(&self.viewer, begin);
        // Who goes on from a place that the node has not reached was let in before it: the right may have
        // ended in between, of which the stream hears when the node gets there. And whoever waits where changes
        // are missed is told so before anybody has read who is a member behind them.
        let may_be_void = verdict != Verdict::Live;
        let (Some((user, organisation)), true) = (names, roles.is_some() || may_be_void) else {
            let lacks = model.lacks(&self.viewer, begin);
            return Err(self.fault(&format!(
                "is let in at {at} from {begin} on, where it has no right: {lacks}"
            )));
        };
        self.told = Some(Told {
            epoch,
            timeline: line.timeline,
            user,
            organisation,
            roles: roles.unwrap_or_default(),
            is_void: roles.is_none(),
            since: begin,
            complete: begin,
            seen: BTreeSet::new(),
            last: at,
            owes_reset: verdict == Verdict::Reset,
            first: at,
            is_reset: verdict == Verdict::Reset,
            has_batch: false,
            said: BTreeMap::new(),
        });
        Ok(())
    }

    /// The grant was given when the node had handed over everything up to here.
    ///
    /// # Errors
    ///
    /// Where the right had ended by then.
    pub fn granted(&self, model: &Model, at: Position) -> Result<(), Fault> {
        let line = self.line_from(model, at)?;
        let at = self.begin(line, at);
        if model.roles_at(&self.viewer, at).is_none() {
            let lacks = model.lacks(&self.viewer, at);
            return Err(self.fault(&format!(
                "is granted a stream at {at}, where it has no right: {lacks}"
            )));
        }
        // Who does not go on from a place begins where the node is when it connects, which a gap may have
        // put back behind the grant: what ends its right there is read once more.
        let goes_on = matches!(self.asked, Asked::After(_));
        let told = self.told.as_ref();
        let told = told.filter(|told| goes_on && !told.is_reset && line.contains(told.since));
        let Some(told) = told else { return Ok(()) };
        match self.cut(line) {
            Some(cut) if !at.is_before(cut.at) => Err(self.fault(&format!(
                "is granted at {at} to go on from {}, and lost its right in between, at {cut}",
                told.since
            ))),
            _ => Ok(()),
        }
    }

    /// `reset` came, with this id.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn reset(&mut self, model: &Model, id: &str) -> Result<(), Fault> {
        let at = self.read_next(id)?;
        let line = self.line_from(model, at)?;
        let timeline = line.timeline;
        let cut = self.cut(line);
        let begin = self.begin(line, at);
        let roles = model.roles_at(&self.viewer, begin);
        let told = self.told.as_mut().expect("it is connected");
        // Who has lost its right may yet be told so much, and nothing more: its right is not begun anew.
        if let Some(roles) = roles
            && cut.is_none_or(|cut| at.is_before(cut.at))
        {
            (told.since, told.roles, told.is_void) = (begin, roles, false);
        }
        (told.complete, told.last, told.timeline) = (begin, at, timeline);
        told.seen.clear();
        told.said.clear();
        told.owes_reset = false;
        self.settle_subscription();
        Ok(())
    }

    /// `heartbeat` came: the client has everything up to this id.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn heartbeat(&mut self, model: &Model, id: &str) -> Result<(), Fault> {
        let at = self.read_next(id)?;
        let line = self.next_line(model, at)?;
        self.check_right(line, at)?;
        let told = self.told.as_ref().expect("it is connected");
        if at.is_before(told.last) {
            let last = told.last;
            return Err(self.fault(&format!("has {last}, and a heartbeat says {at}")));
        }
        self.check_has_all(
            line,
            |event| !at.is_before(event.position),
            &format!("heartbeat {at}"),
        )?;
        let timeline = line.timeline;
        let begin = self.begin(line, at);
        let told = self.told.as_mut().expect("it is connected");
        (told.complete, told.last, told.timeline) = (begin, at, timeline);
        told.seen.clear();
        self.settle_subscription();
        Ok(())
    }

    /// The subscription is another from here on.
    ///
    /// # Errors
    ///
    /// Where that comes out of turn.
    pub fn subscription(&mut self, channels: &[String], types: &[String]) -> Result<(), Fault> {
        if self.told.as_ref().is_none_or(|told| told.owes_reset) || self.has_ended {
            return Err(self.fault("is told of its subscription out of turn"));
        }
        let next = Viewer {
            channels: channels.to_vec(),
            types: types.to_vec(),
            ..self.viewer.clone()
        };
        self.before.push(std::mem::replace(&mut self.viewer, next));
        self.changed_in = None;
        Ok(())
    }

    /// An event came: its id, and the text of its data.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn event(&mut self, model: &Model, id: &str, data: &str) -> Result<(), Fault> {
        let at = self.read_next(id)?;
        let line = self.next_line(model, at)?;
        let told = self.told.as_ref().expect("it is connected");
        if !told.last.is_before(at) {
            let last = told.last;
            return Err(self.fault(&format!("has {last}, and is told {at}")));
        }
        self.check_right(line, at)?;
        if at.is_before(self.begin(line, at)) {
            return Err(self.fault(&format!("is told {at}, before its right began")));
        }
        let ids = checks::batched(data);
        let changes = self.changes(line, model, at, &ids)?;
        let begin = Position { index: 0, ..at };
        let is_earlier = |event: &Expected| event.position.is_before(begin);
        self.check_has_all(line, is_earlier, &format!("event {at}"))?;
        if self.changed_in.is_some_and(|lsn| lsn != at.lsn) {
            self.settle_subscription();
        }
        self.check_order(line, model, &changes)?;
        self.check_text(line, &changes, &ids, id, data)?;
        self.note_said(line, &changes)?;
        let timeline = line.timeline;
        let told = self.told.as_mut().expect("it is connected");
        if told.complete.is_before(begin) {
            told.complete = begin;
            told.seen.clear();
        }
        told.seen.extend(changes);
        told.has_batch |= !ids.is_empty();
        (told.last, told.timeline) = (at, timeline);
        if !self.before.is_empty() {
            self.changed_in.get_or_insert(at.lsn);
        }
        Ok(())
    }

    /// Whether a change has ended its right since it began; or, where it was told nothing yet, since a place.
    pub fn has_lost_right(&self, model: &Model, admitted: Position) -> bool {
        // Who waits for its place has a stream from where it was let in.
        let since = self.told.as_ref().map_or(admitted, |told| told.since);
        let since = since.min(admitted);
        let is_void = self.told.as_ref().is_some_and(|told| told.is_void);
        let Some((user, organisation)) = model.names_of(&self.viewer) else {
            return false;
        };
        // It may have been told by a node that has not heard yet of the server that has taken over.
        let mut lines = model.lines.iter().filter(|line| line.contains(since));
        let session = &self.viewer.session;
        // What let it in may have been committed on a line that was left, where nothing took it back.
        let is = model.roles_at(&self.viewer, model.end());
        let was = self.told.as_ref().map(|told| told.roles);
        let is_another = was.is_some() && is != was && model.lines.len() > 1;
        is_void
            || is_another
            || lines.any(|line| {
                let rights = &line.rights;
                rights
                    .cut_after(user, organisation, session, since)
                    .is_some()
            })
    }

    /// The interesting states that this stream was in by now.
    pub fn reached(&self, model: &Model) -> Sometimes {
        let mut reached = Sometimes::default();
        let Some(told) = &self.told else {
            return reached;
        };
        if told.has_batch {
            reached.reach(State::BatchEvent);
        }
        if let Asked::After(asked) = self.asked
            && told.is_reset
        {
            let cut = model.revoked_after(&self.viewer, asked);
            if model.is_abandoned(asked) {
                reached.reach(State::ResumeAbandoned);
            } else if cut.is_some_and(|cut| !told.first.is_before(cut)) {
                reached.reach(State::MemberBackWhileAway);
            }
        }
        let cut = model.revoked_after(&self.viewer, told.since);
        if told.last.index > 0 && cut.is_some_and(|cut| cut.lsn == told.last.lsn) {
            reached.reach(State::RevocationWithinTransaction);
        }
        reached
    }

    /// The connection is over, with or without a word.
    pub fn ended(&mut self) {
        self.has_ended = true;
    }

    /// All is calm, and everything has had the time to arrive.
    ///
    /// # Errors
    ///
    /// What has not arrived, or should have ended.
    pub fn complete(&self, model: &Model) -> Result<(), Fault> {
        if self.has_ended {
            return Ok(());
        }
        let Some(told) = &self.told else {
            return Err(self.fault("waits, and was never told that it is connected"));
        };
        if told.owes_reset {
            return Err(self.fault("waits for its reset"));
        }
        let line = model.current();
        if !line.contains(told.last) {
            return Err(self.fault(&format!(
                "is at {}, which history has left, and was not reset",
                told.last
            )));
        }
        if let Some(cut) = self.cut(line) {
            return Err(self.fault(&format!("is open, and lost its right at {cut}")));
        }
        if told.is_void {
            return Err(self.fault("is open, and lost its right before it began"));
        }
        self.check_has_all(line, |_| true, "the end")
    }
}

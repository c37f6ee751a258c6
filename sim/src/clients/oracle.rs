//! What a stream may say to its client, judged event by event against the model: whose it is, in which
//! order, that nothing is missing and nothing comes twice, and that a reset has its reason.

use crate::model::{Model, Position, Viewer};
use crate::parser::Event;
use crate::sometimes::{Sometimes, State};

/// An id, as a client keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// As it was received, or made up.
    pub text: String,
    /// The cluster that it names.
    pub epoch: u32,
    /// Where it is; `None` where it is no position at all.
    pub position: Option<Position>,
}

/// What is known of the world when an event is read.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The model.
    pub model: &'a Model,
    /// The epoch of every id.
    pub epoch: Option<u32>,
    /// Where the reading of the node began that sent it, as it is now.
    pub floor: Option<Position>,
    /// Whether anything was evicted from an engine's log of that node.
    pub has_evicted: bool,
    /// The position of the membership, as the node knew it.
    pub since: Option<Position>,
    /// Whether slots were lost, or another server was promoted, in this world.
    pub has_lost: bool,
}

/// How far a stream has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was said yet.
    Opening,
    /// `connected` said that a reset follows.
    Resetting,
    /// It goes on.
    Open,
    /// `bye` or `refused` was said.
    Over,
}

/// The judge of one stream.
#[derive(Debug)]
pub struct Oracle {
    /// Who reads, and what it asked for.
    pub viewer: Viewer,
    /// The id that was sent.
    sent: Option<Id>,
    /// The end of the log when it was.
    end_then: Position,
    /// What the node had applied.
    applied_then: Option<Position>,
    stage: Stage,
    /// Everything up to here was received, or need not be.
    cursor: Position,
    /// What was admitted before the subscription changed, where nothing came since.
    before_change: Option<Vec<String>>,
    /// The stream's name, once it is known.
    pub connection: Option<String>,
    /// The last words.
    pub bye: Option<String>,
    /// How many events were received.
    pub events: u64,
    /// Whether it was told to begin anew.
    pub resets: u64,
}

impl Oracle {
    /// The judge of a stream that is asked for now.
    ///
    /// The node has applied what it has applied, and the log ends where it ends, at this moment.
    pub fn new(
        viewer: Viewer,
        sent: Option<Id>,
        (applied_then, end_then): (Option<Position>, Position),
    ) -> Self {
        Self {
            viewer,
            sent,
            applied_then,
            end_then,
            stage: Stage::Opening,
            cursor: Position::default(),
            before_change: None,
            connection: None,
            bye: None,
            events: 0,
            resets: 0,
        }
    }

    /// Whether `connected` was said, and no last word.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether something is still owed to its client.
    pub fn owes(&self, model: &Model) -> Option<Position> {
        let next = model.next_after(&self.viewer, self.cursor);
        next.map(|expected| expected.position)
    }

    /// Judges an event. The id that the client keeps from now on, where it has a new one.
    pub fn judge(
        &mut self,
        event: &Event,
        around: Circumstances<'_>,
        sometimes: &mut Sometimes,
    ) -> Result<Option<Id>, String> {
        let id = event.id.as_deref().map(|text| Id::read(text, around.epoch));
        let id = id.transpose()?;
        let place = id.as_ref().and_then(|id| id.position);
        let stage = self.stage;
        if stage == Stage::Over {
            return Err(format!("something follows the last word: {event:?}"));
        }
        let needs = || place.ok_or_else(|| format!("an event without an id: {event:?}"));
        match (event.kind.as_str(), stage) {
            ("refused", Stage::Opening) => {
                self.stage = Stage::Over;
                self.bye = Some(String::from("refused"));
                return Ok(None);
            }
            ("connected", Stage::Opening) => self.on_connected(event, needs()?, around, sometimes)?,
            ("bye", Stage::Opening | Stage::Open | Stage::Resetting) => {
                self.stage = Stage::Over;
                self.bye = event.member("reason").map(str::to_owned);
                return Ok(None);
            }
            ("reset", Stage::Open | Stage::Resetting) => {
                self.on_reset(event, needs()?, around, sometimes)?;
            }
            ("auth", Stage::Open) => return Ok(None),
            ("subscription", Stage::Open) => {
                self.on_subscription(event)?;
                return Ok(None);
            }
            ("heartbeat", Stage::Open) => self.on_heartbeat(needs()?, around)?,
            ("", Stage::Open) => self.on_data(event, needs()?, around)?,
            _ => return Err(format!("out of place while {stage:?}: {event:?}")),
        }
        Ok(id)
    }

    fn on_connected(
        &mut self,
        event: &Event,
        place: Position,
        around: Circumstances<'_>,
        sometimes: &mut Sometimes,
    ) -> Result<(), String> {
        self.connection = event.member("connectionId").map(str::to_owned);
        let sent = self.sent.as_ref();
        match (event.member("resume"), sent) {
            (Some("live"), None) => {
                self.stage = Stage::Open;
            }
            (Some("resumed"), Some(sent)) => {
                if sent.position != Some(place) || Some(sent.epoch) != around.epoch.or(Some(sent.epoch)) {
                    return Err(format!("resumed at {place:?} after {sent:?}"));
                }
                if around.model.is_abandoned(place) {
                    return Err(format!("resumed on a history that was left: {sent:?}"));
                }
                if place == around.model.end() {
                    sometimes.reach(State::ResumeAtEnd);
                }
                if around.floor == Some(place) {
                    sometimes.reach(State::ResumeAtFloor);
                }
                if self.applied_then.is_some_and(|applied| applied < place) {
                    sometimes.reach(State::ResumeAhead);
                    sometimes.reach(State::HoldReached);
                }
                if place.index > 0 {
                    sometimes.reach(State::ResumeWithinTransaction);
                }
                self.stage = Stage::Open;
            }
            (Some("reset"), _) => self.stage = Stage::Resetting,
            (verdict, sent) => return Err(format!("{verdict:?} is no answer to {sent:?}")),
        }
        self.cursor = place;
        Ok(())
    }

    fn on_reset(
        &mut self,
        event: &Event,
        place: Position,
        around: Circumstances<'_>,
        sometimes: &mut Sometimes,
    ) -> Result<(), String> {
        let reason = event.member("reason").unwrap_or_default();
        // In the middle of a stream only a gap is one.
        let sent = self.sent.as_ref().filter(|_| self.stage == Stage::Resetting);
        let is_justified = match (reason, sent) {
            ("unknown_position", Some(sent)) => {
                sometimes.reach(State::ResetUnknown);
                self.is_unknown(sent, around)
            }
            ("history", Some(sent)) => {
                sometimes.reach(State::ResetHistory);
                self.is_past(sent, around, sometimes)
            }
            ("slot_lost", _) => {
                sometimes.reach(State::ResetSlotLost);
                around.has_lost
            }
            ("history_changed", _) => {
                sometimes.reach(State::ResetHistoryChanged);
                around.has_lost
            }
            _ => false,
        };
        if !is_justified {
            return Err(format!("a reset for {reason:?} after {sent:?}: {around:?}"));
        }
        self.stage = Stage::Open;
        self.cursor = place;
        self.before_change = None;
        self.resets += 1;
        Ok(())
    }

    /// Whether an id is none of this cluster's.
    fn is_unknown(&self, sent: &Id, around: Circumstances<'_>) -> bool {
        let Some(place) = sent.position else {
            return true;
        };
        around.epoch.is_some_and(|epoch| sent.epoch != epoch)
            || place.lsn > self.end_then.lsn
            || place.timeline != self.end_then.timeline && around.has_lost
            || around.model.is_abandoned(place)
    }

    /// Whether what follows an id may have gone.
    fn is_past(&self, sent: &Id, around: Circumstances<'_>, sometimes: &mut Sometimes) -> bool {
        let Some(place) = sent.position else {
            return false;
        };
        let is_below = around.floor.is_some_and(|floor| place < floor);
        if is_below {
            sometimes.reach(State::ResumeBelowFloor);
        }
        is_below
            || around.has_evicted
            || around.has_lost
            || around.since.is_some_and(|since| place < since)
    }

    fn on_subscription(&mut self, event: &Event) -> Result<(), String> {
        let channels = event
            .data
            .strip_prefix("{\"channels\":[")
            .and_then(|rest| rest.split_once(']'))
            .ok_or_else(|| format!("no subscription: {event:?}"))?;
        let names = channels.0.split(',').filter(|name| !name.is_empty());
        let names: Vec<String> = names.map(|name| name.trim_matches('"').to_owned()).collect();
        let old = std::mem::replace(&mut self.viewer.channels, names);
        let before = self.before_change.take();
        self.before_change = Some(match before {
            Some(before) => both(&before, &old),
            None => old,
        });
        Ok(())
    }

    /// What has to come next after the cursor, at the latest.
    fn first_owed(&self, model: &Model) -> Option<Position> {
        let Some(before) = &self.before_change else {
            return self.owes(model);
        };
        // Before the change only what was admitted then, behind it only what is admitted now: nobody
        // is told where it lies, and what both admit comes in any case.
        let common = both(before, &self.viewer.channels);
        if common.is_empty() && !(before.is_empty() && self.viewer.channels.is_empty()) {
            return None;
        }
        let viewer = Viewer {
            channels: common,
            ..self.viewer.clone()
        };
        let next = model.next_after(&viewer, self.cursor);
        next.map(|expected| expected.position)
    }

    fn on_heartbeat(&mut self, place: Position, around: Circumstances<'_>) -> Result<(), String> {
        if let Some(owed) = self.first_owed(around.model)
            && owed <= place
        {
            return Err(format!("complete up to {place:?}, and {owed:?} is missing"));
        }
        if place < self.cursor {
            return Err(format!("a heartbeat at {place:?} after {:?}", self.cursor));
        }
        self.cursor = place;
        Ok(())
    }

    fn on_data(
        &mut self,
        event: &Event,
        place: Position,
        around: Circumstances<'_>,
    ) -> Result<(), String> {
        if place <= self.cursor {
            return Err(format!("{place:?} twice or out of order after {:?}", self.cursor));
        }
        if around.model.is_abandoned(self.cursor) {
            return Err(format!("{place:?} follows {:?}, which is no more", self.cursor));
        }
        if let Some(owed) = self.first_owed(around.model)
            && owed < place
        {
            return Err(format!("{owed:?} is missing before {place:?}"));
        }
        let expected = around.model.next_after(&self.viewer, just_before(place));
        let expected = expected.filter(|expected| expected.position == place);
        let Some(expected) = expected else {
            return Err(format!("{place:?} is not for {:?}: {event:?}", self.viewer));
        };
        if !around.model.is_as_committed(expected, &event.data) {
            return Err(format!("{expected:?} was said as {event:?}"));
        }
        if !around.model.has_right(&self.viewer, place) {
            return Err(format!("{place:?} was said to {:?}, who may not know", self.viewer));
        }
        self.before_change = None;
        self.cursor = place;
        self.events += 1;
        Ok(())
    }
}

impl Id {
    /// An id that was received: it has to be one.
    fn read(text: &str, epoch: Option<u32>) -> Result<Self, String> {
        let id = Self::parse(text);
        match id.position {
            Some(_) if epoch.is_none_or(|epoch| id.epoch == epoch) => Ok(id),
            _ => Err(format!("no id of this cluster: {text:?}")),
        }
    }

    /// An id from anywhere.
    pub fn parse(text: &str) -> Self {
        let mut fields = text.split('.').map(|field| u64::from_str_radix(field, 16));
        let mut next = || fields.next().and_then(Result::ok);
        let (epoch, timeline, lsn, index) = (next(), next(), next(), next());
        let position = match (timeline, lsn, index) {
            (Some(timeline), Some(lsn), Some(index)) => Some(Position {
                timeline: timeline as u32,
                lsn,
                index: index as u32,
            }),
            _ => None,
        };
        Self {
            text: text.to_owned(),
            epoch: epoch.unwrap_or_default() as u32,
            position,
        }
    }
}

/// The last place before a position.
fn just_before(place: Position) -> Position {
    match place.index {
        0 => Position {
            lsn: place.lsn.saturating_sub(1),
            index: u32::MAX,
            ..place
        },
        index => Position {
            index: index - 1,
            ..place
        },
    }
}

/// What two lists of channels both admit, where none is all. Where nothing is, the list is empty too,
/// and neither of them was.
fn both(one: &[String], other: &[String]) -> Vec<String> {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other.to_vec(),
        (_, true) => one.to_vec(),
        _ => one.iter().filter(|name| other.contains(name)).cloned().collect(),
    }
}

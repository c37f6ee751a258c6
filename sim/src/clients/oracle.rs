//! What a stream may say to its client, judged event by event against the model: whose it is, in which
//! order, that nothing is missing and nothing comes twice, and that a reset has its reason.

mod reasons;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use wire::{EventId, GapReason};

use crate::model::{Asked, Fault, Model, Position, Stream, Verdict, Viewer};
use crate::node::{Admitted, Shelf};
use crate::parser::Event;
use crate::sometimes::{Sometimes, State};
use crate::time::Time;

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
    /// The time, and the same by the node's clock in milliseconds since 1970.
    pub now: Time,
    /// The latter.
    pub unix_ms: u64,
    /// What the engine's log that sent it must have, as it is now.
    pub shelf: &'a Shelf,
    /// How the engine stood when it let the stream in.
    pub admitted: Option<Admitted>,
    /// Whether the node ends, or ended, in order.
    pub is_draining: bool,
    /// Whether every stream with a user was told to end, since the feed was too old.
    pub has_closed_users: bool,
    /// `resume_wait`, in milliseconds.
    pub resume_wait_ms: u64,
}

impl Circumstances<'_> {
    /// Whether all streams were told after this one had come that changes were missed.
    fn has_missed(&self, is_it: impl Fn(GapReason) -> bool) -> bool {
        self.admitted.is_some_and(|admitted| {
            let mut missed = self.shelf.missed_since(admitted.at);
            missed.any(|missed| is_it(missed.reason))
        })
    }
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
    /// What it is told, judged word by word.
    stream: Stream,
    /// The id that was sent.
    sent: Option<Id>,
    /// The end of the log when it was.
    end_then: Position,
    /// What the node had applied.
    applied_then: Option<Position>,
    stage: Stage,
    /// The channels that it has asked for since, in each change of its subscription; whether one of these was
    /// answered; and whether the stream was told of one.
    asked: Vec<Vec<String>>,
    is_changed: bool,
    is_told: bool,
    /// When it was told anything the last time.
    pub heard: Time,
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
        let asked = match &sent {
            None => Asked::Live,
            Some(sent) => sent.position.map_or(Asked::Unknown, Asked::After),
        };
        Self {
            stream: Stream::new(viewer, asked),
            sent,
            applied_then,
            end_then,
            stage: Stage::Opening,
            asked: Vec::new(),
            is_changed: false,
            is_told: false,
            heard: Time(0),
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

    /// Who reads, with the subscription as it is now.
    pub fn viewer(&self) -> &Viewer {
        self.stream.viewer()
    }

    /// Who asked for it, and what the node had applied then.
    pub fn asked_as(&self) -> (&Viewer, Option<Position>) {
        (self.stream.viewer(), self.applied_then)
    }

    /// Whether something is still owed to its client.
    pub fn owes(&self, model: &Model) -> Option<Position> {
        self.stream.owes(model)
    }

    /// What was reached by it.
    pub fn reached(&self, model: &Model) -> Sometimes {
        self.stream.reached(model)
    }

    /// Everything that was committed has had the time to arrive.
    pub fn complete(&self, model: &Model) -> Result<(), String> {
        if self.is_changed && !self.is_told && self.stage == Stage::Open {
            let asked = &self.asked;
            return Err(format!(
                "a subscription to one of {asked:?} was changed, and it was not told"
            ));
        }
        self.stream.complete(model).map_err(|Fault(words)| words)
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
        self.heard = around.now;
        if stage == Stage::Over {
            return Err(format!("something follows the last word: {event:?}"));
        }
        let text = event.id.as_deref().unwrap_or_default();
        let needs = || place.ok_or_else(|| format!("an event without an id: {event:?}"));
        match (event.kind.as_str(), stage) {
            ("refused", Stage::Opening) => {
                self.stage = Stage::Over;
                self.stream.ended();
                self.bye = Some(String::from("refused"));
                return Ok(None);
            }
            ("connected", Stage::Opening) => {
                let place = needs()?;
                let admitted = around.admitted.ok_or("nobody let it in")?;
                self.on_connected(event, place, admitted, around, sometimes)?;
                let late_ms = around.now.since(admitted.at).ms();
                let applied = position(admitted.applied);
                let then_ms = around.unix_ms.saturating_sub(late_ms);
                if around.model.keeps_out(self.viewer(), applied, then_ms) {
                    let viewer = self.viewer();
                    return Err(format!(
                        "{viewer:?} is let in at {applied}, at {then_ms}, and is kept out: {admitted:?}"
                    ));
                }
                // The node's own word is not taken for where the right began: it lies where something was
                // last said about it, and if nothing was, it did not begin there. Who waits for the end of the
                // past is let in before it, and connected behind it.
                let lowest = place.min(applied);
                let gave = admitted
                    .since
                    .map(position)
                    .and_then(|since| around.model.changed_within(self.viewer(), lowest, since));
                if let Some(gave) = gave {
                    self.stream.begins(gave);
                }
                let verdict = match event.member("resume") {
                    Some("resumed") => Verdict::Resumed,
                    Some("reset") => Verdict::Reset,
                    _ => Verdict::Live,
                };
                said(self.stream.connected(around.model, text, verdict))?;
                said(
                    self.stream
                        .granted(around.model, position(admitted.applied)),
                )?;
            }
            ("bye", Stage::Opening | Stage::Open | Stage::Resetting) => {
                self.stage = Stage::Over;
                let reason = event.member("reason").unwrap_or_default();
                self.check_bye(reason, around)?;
                self.stream.ended();
                self.bye = Some(reason.to_owned());
                return Ok(None);
            }
            ("reset", Stage::Open | Stage::Resetting) => {
                let place = needs()?;
                self.check_newest(place, around)?;
                self.on_reset(event, around, sometimes)?;
                said(self.stream.reset(around.model, text))?;
            }
            ("auth", Stage::Open) => return Ok(None),
            ("subscription", Stage::Open) => {
                self.on_subscription(event)?;
                return Ok(None);
            }
            ("heartbeat", Stage::Open) => said(self.stream.heartbeat(around.model, text))?,
            ("", Stage::Open) => {
                said(self.stream.event(around.model, text, &event.data))?;
                self.events += 1;
            }
            _ => return Err(format!("out of place while {stage:?}: {event:?}")),
        }
        Ok(id)
    }

    fn on_connected(
        &mut self,
        event: &Event,
        place: Position,
        admitted: Admitted,
        around: Circumstances<'_>,
        sometimes: &mut Sometimes,
    ) -> Result<(), String> {
        self.connection = event.member("connectionId").map(str::to_owned);
        let told = (event.member("userId"), event.member("organizationId"));
        let viewer = self.viewer();
        if told != (Some(&*viewer.user), Some(&*viewer.organisation)) {
            return Err(format!("{viewer:?} is told that it is {told:?}"));
        }
        let sent = self.sent.as_ref();
        match (event.member("resume"), sent) {
            (Some("live"), None) => {
                self.check_newest(place, around)?;
                self.stage = Stage::Open;
            }
            (Some("resumed"), Some(sent)) => {
                if sent.position != Some(place)
                    || Some(sent.epoch) != around.epoch.or(Some(sent.epoch))
                {
                    return Err(format!("resumed at {place:?} after {sent:?}"));
                }
                if place == around.model.end() {
                    sometimes.reach(State::ResumeAtEnd);
                }
                if position(admitted.floor) == place {
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
            (Some("reset"), _) => {
                self.check_newest(place, around)?;
                self.stage = Stage::Resetting;
            }
            (verdict, sent) => return Err(format!("{verdict:?} is no answer to {sent:?}")),
        }
        Ok(())
    }

    /// A change of the subscription is asked for.
    pub fn on_asked(&mut self, channels: &[String]) {
        self.asked.push(channels.to_vec());
    }

    /// One was answered, and is done.
    pub fn on_changed(&mut self) {
        self.is_changed = true;
    }

    fn on_subscription(&mut self, event: &Event) -> Result<(), String> {
        let list = |member: &str| -> Option<Vec<String>> {
            let begin = format!("\"{member}\":[");
            let (_, rest) = event.data.split_once(begin.as_str())?;
            let (names, _) = rest.split_once(']')?;
            let names = names.split(',').filter(|name| !name.is_empty());
            Some(
                names
                    .map(|name| name.trim_matches('"').to_owned())
                    .collect(),
            )
        };
        let lists = list("channels").zip(list("types"));
        let (channels, types) = lists.ok_or_else(|| format!("no subscription: {event:?}"))?;
        let is_it = |asked: &Vec<String>| {
            let (asked, told): (BTreeSet<_>, BTreeSet<_>) =
                (asked.iter().collect(), channels.iter().collect());
            asked == told
        };
        if !(self.asked.iter().any(is_it) && types.is_empty()) {
            return Err(format!(
                "{event:?}, and asked for were channels {:?}",
                self.asked
            ));
        }
        self.is_told = true;
        said(self.stream.subscription(&channels, &types))
    }
}

/// What is wrong with something, in words.
fn said(judged: Result<(), Fault>) -> Result<(), String> {
    judged.map_err(|Fault(words)| words)
}

/// A position, as the model has it.
pub fn position(id: EventId) -> Position {
    Position {
        timeline: id.timeline,
        lsn: id.lsn.0,
        index: id.index,
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
        let (epoch, position) = Position::parse(text).unzip();
        Self {
            text: text.to_owned(),
            epoch: epoch.unwrap_or_default(),
            position,
        }
    }
}

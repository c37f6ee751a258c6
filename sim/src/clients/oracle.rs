//! What a stream may say to its client, judged event by event against the model: whose it is, in which
//! order, that nothing is missing and nothing comes twice, and that a reset has its reason.

use crate::model::{Asked, Fault, Model, Position, Stream, Verdict, Viewer};
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
    /// What the node had applied when it granted the stream.
    pub granted: Option<Position>,
    /// The position of the membership, as the node knew it.
    pub since: Option<Position>,
    /// Whether slots were lost, or another server was promoted, in this world.
    pub has_lost: bool,
    /// Whether the node has missed changes.
    pub has_gap: bool,
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
                self.on_connected(event, place, around, sometimes)?;
                if let Some(since) = around.since.filter(|since| place < *since) {
                    self.stream.begins(since);
                }
                let verdict = match event.member("resume") {
                    Some("resumed") => Verdict::Resumed,
                    Some("reset") => Verdict::Reset,
                    _ => Verdict::Live,
                };
                said(self.stream.connected(around.model, text, verdict))?;
                if let Some(granted) = around.granted {
                    said(self.stream.granted(around.model, granted))?;
                }
            }
            ("bye", Stage::Opening | Stage::Open | Stage::Resetting) => {
                self.stage = Stage::Over;
                self.stream.ended();
                self.bye = event.member("reason").map(str::to_owned);
                return Ok(None);
            }
            ("reset", Stage::Open | Stage::Resetting) => {
                needs()?;
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
                if sent.position != Some(place)
                    || Some(sent.epoch) != around.epoch.or(Some(sent.epoch))
                {
                    return Err(format!("resumed at {place:?} after {sent:?}"));
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
        Ok(())
    }

    fn on_reset(
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
                around.has_lost || around.has_gap
            }
            ("history_changed", _) => {
                sometimes.reach(State::ResetHistoryChanged);
                around.has_lost
            }
            _ => false,
        };
        if !is_justified {
            let Circumstances { floor, since, .. } = around;
            return Err(format!(
                "a reset for {reason:?} after {sent:?}; floor {floor:?}, member since {since:?}"
            ));
        }
        self.stage = Stage::Open;
        self.resets += 1;
        Ok(())
    }

    /// Whether an id is none of this cluster's.
    fn is_unknown(&self, sent: &Id, around: Circumstances<'_>) -> bool {
        let Some(place) = sent.position else {
            return true;
        };
        // A node that has not heard of a promotion knows nothing of what came behind it.
        let is_of = |known: Option<Position>| known.is_none_or(|it| it.timeline == place.timeline);
        place.lsn > self.end_then.lsn
            || around.has_lost && !(is_of(Some(self.end_then)) && is_of(around.granted))
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
        said(self.stream.subscription(&channels, &types))
    }
}

/// What is wrong with something, in words.
fn said(judged: Result<(), Fault>) -> Result<(), String> {
    judged.map_err(|Fault(words)| words)
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

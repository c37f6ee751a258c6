//! Orders and how they are carried out: what is begun at once, and when each is answered.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::order::{Answer, Opened, Order, Reconnected, Until};
use crate::pool::Pool;
use crate::stream::{Phase, Wish};

/// The order that is being carried out.
pub(crate) enum Work {
    /// None.
    Nothing,
    /// Streams are opened for the first time. Next: `Nothing`, when each has been answered.
    Opening(Opening),
    /// Streams are let go. Next: `Returning`, or `Nothing`.
    Dropping {
        streams: Range<u32>,
        then: AfterDrop,
    },
    /// Streams come back. Next: `Nothing`, when all have caught up or time is out.
    Returning(Returning),
}

/// What follows when streams are dropped.
pub(crate) enum AfterDrop {
    /// They stay away.
    Nothing,
    /// They come back.
    Return {
        resume: bool,
        until: Until,
        timeout: Duration,
    },
    /// They are forgotten.
    Forget,
}

pub(crate) struct Opening {
    streams: Range<u32>,
    per_second: u32,
    started: u64,
    begun: u64,
    answered: u64,
    result: Opened,
}

pub(crate) struct Returning {
    streams: Range<u32>,
    started: u64,
    deadline: u64,
    result: Reconnected,
}

impl Work {
    /// Whether the next connection may begin, as far as this work goes.
    pub(crate) fn may_begin(&self, now: u64) -> bool {
        match self {
            Self::Opening(opening) if opening.per_second > 0 => {
                let elapsed = Duration::from_nanos(now - opening.started).as_secs_f64();
                (opening.begun as f64) <= elapsed * f64::from(opening.per_second)
            }
            _ => true,
        }
    }

    /// A connection begins.
    pub(crate) fn on_begin(&mut self) {
        if let Self::Opening(opening) = self {
            opening.begun += 1;
        }
    }

    /// A stream is open, whose connection began then.
    pub(crate) fn on_open(&mut self, number: u32, since: u64, now: u64) {
        match self {
            Self::Opening(opening) if opening.streams.contains(&number) => {
                opening.answered += 1;
                opening.result.opened += 1;
                opening.result.connect.record_nanoseconds(now - since);
            }
            Self::Returning(returning) if returning.streams.contains(&number) => {
                let result = &mut returning.result;
                result.opened += 1;
                result.connect.record_nanoseconds(now - since);
                let after = Duration::from_nanos(now - returning.started);
                result.seconds_until_open = after.as_secs_f64();
            }
            _ => {}
        }
    }

    /// The server ended an open stream.
    pub(crate) fn on_ended(&mut self, number: u32) {
        if let Self::Returning(returning) = self
            && returning.streams.contains(&number)
        {
            // It was counted when it came back, and will be again.
            returning.result.opened = returning.result.opened.saturating_sub(1);
        }
    }

    /// A stream was refused.
    pub(crate) fn on_refused(&mut self, number: u32, status: u16) {
        if let Some((refused, _)) = self.on_unopened(number) {
            *refused.entry(status).or_default() += 1;
        }
    }

    /// A connection had no answer.
    pub(crate) fn on_failed(&mut self, number: u32, reason: String) {
        if let Some((_, failed)) = self.on_unopened(number) {
            *failed.entry(reason).or_default() += 1;
        }
    }

    /// A stream has caught up.
    pub(crate) fn on_caught_up(&mut self, number: u32, now: u64) {
        if let Self::Returning(returning) = self
            && returning.streams.contains(&number)
            && returning.result.caught_up < returning.result.streams
        {
            let (result, after) = (&mut returning.result, now - returning.started);
            result.caught_up += 1;
            result.caught_up_after.record_nanoseconds(after);
            result.seconds_until_caught_up = Duration::from_nanos(after).as_secs_f64();
        }
    }

    /// Where to count that a stream of this work was not opened.
    fn on_unopened(&mut self, number: u32) -> Option<Unopened<'_>> {
        match self {
            Self::Opening(opening) if opening.streams.contains(&number) => {
                opening.answered += 1;
                Some((&mut opening.result.refused, &mut opening.result.failed))
            }
            Self::Returning(returning) if returning.streams.contains(&number) => {
                Some((&mut returning.result.refused, &mut returning.result.failed))
            }
            _ => None,
        }
    }
}

/// Refusals by status, and failures by reason.
type Unopened<'a> = (&'a mut BTreeMap<u16, u64>, &'a mut BTreeMap<String, u64>);

impl Pool {
    /// Begins an order; the answer where it is carried out already.
    pub(crate) fn begin(&mut self, order: Order, now: u64) -> Option<Answer> {
        let begun = match order {
            Order::Record => {
                self.record(now);
                return Some(Answer::Done);
            }
            Order::Report => return Some(Answer::Report(Box::new(self.report(now)))),
            Order::Open {
                first,
                streams,
                per_second,
                stalled,
            } => self.begin_open(first, streams, per_second, stalled, now),
            Order::Stall { first, streams } => self.stall(first, streams),
            Order::Drop { first, streams } => self.begin_drop(first, streams, AfterDrop::Nothing),
            Order::Reconnect {
                first,
                streams,
                resume,
                until,
                timeout_seconds,
            } => {
                let timeout = Duration::from_secs(timeout_seconds.into());
                let then = AfterDrop::Return {
                    resume,
                    until,
                    timeout,
                };
                // Who never was here comes as one who has lost its place.
                match self.make_room(first, streams) {
                    true => self.begin_drop(first, streams, then),
                    false => Err(format!(
                        "stream {first} is before the first of this process"
                    )),
                }
            }
            Order::Close => {
                let all = self.numbers();
                self.begin_drop(all.start, all.end - all.start, AfterDrop::Forget)
            }
        };
        match begun {
            Err(reason) => Some(Answer::Failed(reason)),
            // What is not work is done.
            Ok(()) if matches!(self.work, Work::Nothing) => Some(Answer::Done),
            Ok(()) => None,
        }
    }

    /// Goes on with the order; the answer when it has been carried out.
    pub(crate) fn go_on(&mut self, now: u64) -> Option<Answer> {
        self.on_time(now);
        let is_done = match &self.work {
            Work::Nothing => return None,
            Work::Opening(opening) => opening.answered == opening.streams.len() as u64,
            Work::Dropping { streams, .. } => {
                let mut streams = streams.clone();
                !streams.any(|number| self.stream(number).is_held())
            }
            Work::Returning(Returning {
                result, deadline, ..
            }) => result.caught_up == result.streams || now >= *deadline,
        };
        if !is_done {
            return None;
        }
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Nothing => unreachable!("nothing is never done"),
            Work::Opening(mut opening) => {
                let elapsed = Duration::from_nanos(now - opening.started);
                opening.result.seconds = elapsed.as_secs_f64();
                Some(Answer::Opened(opening.result))
            }
            Work::Dropping { streams, then } => self.on_dropped(streams, then, now),
            Work::Returning(returning) => {
                self.on_returned(returning.streams);
                Some(Answer::Reconnected(returning.result))
            }
        }
    }

    fn begin_open(
        &mut self,
        first: u32,
        streams: u32,
        per_second: u32,
        stalled: bool,
        now: u64,
    ) -> Result<(), String> {
        let end = first
            .checked_add(streams)
            .ok_or("there are no such streams")?;
        if !self.target.layout.is_possible() {
            return Err("the layout has organisations without streams".to_owned());
        }
        let has_all = self.target.layout.streams();
        if has_all.is_some_and(|all| end > all) {
            return Err(format!("the layout ends before stream {end}"));
        }
        if !self.make_room(first, streams) {
            return Err(format!(
                "stream {first} is before the first of this process"
            ));
        }
        let mut numbers = first..end;
        if numbers.any(|number| self.stream(number).phase != Phase::Closed) {
            return Err("some of the streams are open".to_owned());
        }
        for number in first..end {
            let stream = self.stream(number);
            stream.forget();
            stream.wish = if stalled { Wish::Stall } else { Wish::Read };
            self.want(number);
        }
        self.work = Work::Opening(Opening {
            streams: first..end,
            per_second,
            started: now,
            begun: 0,
            answered: 0,
            result: Opened::default(),
        });
        Ok(())
    }

    fn stall(&mut self, first: u32, streams: u32) -> Result<(), String> {
        for number in self.known(first, streams)? {
            self.stream(number).tell(Wish::Stall);
        }
        Ok(())
    }

    fn begin_drop(&mut self, first: u32, streams: u32, then: AfterDrop) -> Result<(), String> {
        let streams = self.known(first, streams)?;
        self.pending.retain(|number| !streams.contains(number));
        for number in streams.clone() {
            let stream = self.stream(number);
            if stream.phase == Phase::Pending {
                stream.phase = Phase::Closed;
            }
            stream.stays = false;
            stream.tell(Wish::Drop);
        }
        self.work = Work::Dropping { streams, then };
        Ok(())
    }

    fn on_dropped(&mut self, streams: Range<u32>, then: AfterDrop, now: u64) -> Option<Answer> {
        match then {
            AfterDrop::Nothing => Some(Answer::Done),
            AfterDrop::Forget => {
                self.forget_streams();
                Some(Answer::Done)
            }
            AfterDrop::Return {
                resume,
                until,
                timeout,
            } => {
                for number in streams.clone() {
                    let stream = self.stream(number);
                    if !resume {
                        stream.forget();
                    }
                    stream.wish = Wish::Read;
                    stream.stays = true;
                    stream.until = until.get(&stream.organisation()).copied();
                    self.want(number);
                }
                self.work = Work::Returning(Returning {
                    started: now,
                    deadline: now + timeout.as_nanos() as u64,
                    result: Reconnected {
                        streams: streams.len() as u64,
                        ..Reconnected::default()
                    },
                    streams,
                });
                None
            }
        }
    }

    /// Who has not come back by now does not go on trying.
    fn on_returned(&mut self, streams: Range<u32>) {
        self.pending.retain(|number| !streams.contains(number));
        let reopens = self.target.reopens;
        for number in streams {
            let stream = self.stream(number);
            stream.until = None;
            stream.stays = reopens && matches!(stream.phase, Phase::Open { .. });
            if stream.phase == Phase::Pending {
                stream.phase = Phase::Closed;
            }
        }
    }

    /// The numbers of streams that this process has had.
    fn known(&self, first: u32, streams: u32) -> Result<Range<u32>, String> {
        let all = self.numbers();
        let end = first.checked_add(streams).filter(|end| *end <= all.end);
        match end {
            Some(end) if first >= all.start => Ok(first..end),
            _ => Err(format!("this process has the streams {all:?}")),
        }
    }
}

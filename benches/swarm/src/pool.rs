//! All streams of a process: what happens to them, and what is counted. Orders are carried out in
//! `work`, sockets are in `connection`.

use std::collections::VecDeque;
use std::io;
use std::task::Context;
use std::time::Duration;

use crate::body::Fault;
use crate::place::Places;
use crate::report::{Group, Report};
use crate::stream::{Phase, Stream, Wish};
use crate::target::Target;
use crate::work::Work;

/// How long a stream that was refused, or ended at once, waits before it is opened again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How long a request may be without an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked who has none.
const LOOK_EACH: Duration = Duration::from_secs(1);

/// The streams of a process.
pub(crate) struct Pool {
    pub(crate) target: Target,
    pub(crate) report: Report,
    /// When it began to record.
    pub(crate) recorded_since: u64,
    pub(crate) work: Work,
    /// The streams that are to be opened, in this order.
    pub(crate) pending: VecDeque<u32>,
    places: Places,
    /// The number of the first stream.
    first: u32,
    streams: Vec<Stream>,
    /// How many connections are without an answer.
    unanswered: u32,
    /// The streams that become pending at a time, in the order of these times.
    retries: VecDeque<(u64, u32)>,
    /// When it was last looked who has no answer.
    looked_at: u64,
    /// Of each organisation, the number after the newest event that any stream got.
    newest: Vec<u64>,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It was to be dropped.
    Dropped,
    /// The server answered with this status.
    Refused(u16),
    /// The server ended it, or it broke.
    Gone(io::Result<()>),
    /// What arrived made no sense.
    Fault(Fault),
}

impl Pool {
    /// A pool without streams.
    pub(crate) fn new(target: Target, now: u64) -> Self {
        let mut pool = Self {
            places: Places::of(&target.resume),
            target,
            report: Report::default(),
            recorded_since: now,
            work: Work::Nothing,
            pending: VecDeque::new(),
            first: 0,
            streams: Vec::new(),
            unanswered: 0,
            retries: VecDeque::new(),
            looked_at: now,
            newest: Vec::new(),
        };
        pool.record(now);
        pool
    }

    /// Forgets what was counted.
    pub(crate) fn record(&mut self, now: u64) {
        let mut groups = Vec::new();
        groups.resize_with(self.target.layout.groups(), Group::default);
        self.report = Report {
            groups,
            ..Report::default()
        };
        self.recorded_since = now;
    }

    /// Makes room for streams up to a number; false where they are before the first.
    pub(crate) fn make_room(&mut self, first: u32, streams: u32) -> bool {
        if self.streams.is_empty() {
            self.first = first;
        }
        if first < self.first {
            return false;
        }
        let layout = self.target.layout;
        while self.first as usize + self.streams.len() < first as usize + streams as usize {
            let number = self.first + self.streams.len() as u32;
            let organisation = layout.organisation(number);
            let group = layout.group(organisation);
            self.streams.push(Stream::new(organisation, group));
        }
        true
    }

    /// The numbers of all streams that it has had.
    pub(crate) fn numbers(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.streams.len() as u32
    }

    /// A stream by its number.
    #[inline]
    pub(crate) fn stream(&mut self, number: u32) -> &mut Stream {
        &mut self.streams[(number - self.first) as usize]
    }

    /// Says that a stream is to be opened.
    pub(crate) fn want(&mut self, number: u32) {
        let stream = self.stream(number);
        assert_eq!(stream.phase, Phase::Closed, "a stream has one connection");
        stream.phase = Phase::Pending;
        self.pending.push_back(number);
    }

    /// The next stream that may connect now, and its request.
    pub(crate) fn next_pending(&mut self, now: u64) -> Option<(u32, String)> {
        if self.unanswered >= self.target.unanswered_max || !self.work.may_begin(now) {
            return None;
        }
        let number = self.pending.pop_front()?;
        self.work.on_begin();
        self.unanswered += 1;
        let stream = self.stream(number);
        stream.phase = Phase::Unanswered { since: now };
        let place = stream.place();
        Some((number, self.target.request(number, place.as_deref())))
    }

    /// Whether the task of a stream is to let it go; the task will be woken when that changes.
    #[inline]
    pub(crate) fn is_dropped(&mut self, number: u32, context: &Context<'_>) -> bool {
        let stream = self.stream(number);
        stream.is_polled_by(context);
        matches!(stream.wish, Wish::Drop | Wish::GiveUp)
    }

    /// Takes what arrived on a stream; an end where the connection is to be let go.
    #[inline]
    pub(crate) fn take(&mut self, number: u32, bytes: &[u8], now: u64) -> Option<End> {
        let place = (number - self.first) as usize;
        let stream = &mut self.streams[place];
        let head = match stream.take(bytes, now, &self.places, &mut self.report) {
            Ok(head) => head,
            Err(fault) => return Some(End::Fault(fault)),
        };
        if let Some(head) = head {
            if head.status != 200 {
                return Some(End::Refused(head.status));
            }
            self.on_open(number, now);
        }
        let stream = &mut self.streams[place];
        if let Some(next) = stream.tally.next() {
            let organisation = stream.organisation() as usize;
            if self.newest.len() <= organisation {
                self.newest.resize(organisation + 1, 0);
            }
            let newest = &mut self.newest[organisation];
            *newest = (*newest).max(next);
        }
        if let Some(until) = stream.until
            && stream.tally.has(until)
        {
            stream.until = None;
            self.work.on_caught_up(number, now);
        }
        let is_over = self.streams[place].is_over();
        is_over.then_some(End::Gone(Ok(())))
    }

    /// A stream is open; of one that never reads, no more is known than that its request is on its way.
    pub(crate) fn on_open(&mut self, number: u32, now: u64) {
        let reopens = self.target.reopens;
        let stream = self.stream(number);
        let Phase::Unanswered { since } = stream.phase else {
            unreachable!("an answer to no request");
        };
        stream.phase = Phase::Open { since: now };
        let was_ended = std::mem::take(&mut stream.was_ended);
        stream.stays |= reopens;
        // It may have had everything before it was dropped, or there is nothing to have.
        let has_all = stream.until.is_none_or(|until| stream.tally.has(until));
        if has_all {
            stream.until = None;
        }
        self.unanswered -= 1;
        self.report.opened += 1;
        self.report.reopened += u64::from(was_ended);
        self.report.connect.record_nanoseconds(now - since);
        self.work.on_open(number, since, now);
        if has_all {
            self.work.on_caught_up(number, now);
        }
    }

    /// The connection of a stream is closed.
    pub(crate) fn on_end(&mut self, number: u32, end: End, now: u64) {
        let stream = self.stream(number);
        let phase = stream.phase;
        stream.on_connection_end();
        if stream.wish == Wish::GiveUp {
            stream.wish = Wish::Read;
        }
        let is_ordered = stream.wish == Wish::Drop;
        let mut lived = Duration::ZERO;
        match phase {
            Phase::Open { since } => {
                lived = Duration::from_nanos(now - since);
                if !is_ordered {
                    self.on_ended(number, &end);
                }
            }
            Phase::Unanswered { .. } => {
                self.unanswered -= 1;
                if !is_ordered {
                    self.on_unopened(number, end);
                }
            }
            Phase::Closed | Phase::Pending => unreachable!("it had no connection"),
        }
        if is_ordered || !self.stream(number).stays {
            return;
        }
        if lived < RETRY_AFTER {
            let retry_at = now + RETRY_AFTER.as_nanos() as u64;
            self.retries.push_back((retry_at, number));
        } else {
            self.want(number);
        }
    }

    /// The server has ended an open stream.
    fn on_ended(&mut self, number: u32, end: &End) {
        self.stream(number).was_ended = true;
        self.report.ended += 1;
        if let End::Fault(fault) = end {
            let name = fault.name().to_owned();
            *self.report.failed.entry(name).or_default() += 1;
        }
        self.work.on_ended(number);
    }

    /// A stream was not opened.
    fn on_unopened(&mut self, number: u32, end: End) {
        if let End::Refused(status) = end {
            *self.report.refused.entry(status).or_default() += 1;
            self.work.on_refused(number, status);
        } else {
            let reason = end.reason();
            *self.report.failed.entry(reason.clone()).or_default() += 1;
            self.work.on_failed(number, reason);
        }
    }

    /// What is due at this time, whatever arrives.
    pub(crate) fn on_time(&mut self, now: u64) {
        while let Some(&(due, number)) = self.retries.front()
            && due <= now
        {
            self.retries.pop_front();
            let stream = self.stream(number);
            if stream.phase == Phase::Closed && stream.stays && stream.wish != Wish::Drop {
                self.want(number);
            }
        }
        if self.unanswered > 0 && now > self.looked_at + LOOK_EACH.as_nanos() as u64 {
            self.looked_at = now;
            let patience = ANSWER_WITHIN.as_nanos() as u64;
            for stream in &mut self.streams {
                if let Phase::Unanswered { since } = stream.phase
                    && now > since + patience
                {
                    stream.tell(Wish::GiveUp);
                }
            }
        }
    }

    /// What was counted until now.
    pub(crate) fn report(&self, now: u64) -> Report {
        let mut report = self.report.clone();
        report.seconds = Duration::from_nanos(now - self.recorded_since).as_secs_f64();
        for stream in &self.streams {
            if !matches!(stream.phase, Phase::Open { .. }) {
                continue;
            }
            report.streams_open += 1;
            if stream.wish == Wish::Stall {
                report.streams_stalled += 1;
                continue;
            }
            let newest = self.newest.get(stream.organisation() as usize);
            let newest = newest.copied().unwrap_or(0);
            report.behind += match stream.tally.next() {
                Some(next) => newest - next,
                // It has had nothing at all, and is behind by one event at least where others have had one.
                None => u64::from(newest > 0),
            };
        }
        report
    }

    /// Forgets all streams, none of which is open.
    pub(crate) fn forget_streams(&mut self) {
        assert_eq!(
            self.unanswered, 0,
            "streams are forgotten when they are closed"
        );
        self.streams.clear();
        self.pending.clear();
        self.retries.clear();
        self.newest.clear();
    }
}

impl End {
    /// What a report calls it, where no answer came.
    fn reason(self) -> String {
        match self {
            Self::Dropped => "no answer in time".to_owned(),
            Self::Refused(status) => format!("refused with {status}"),
            Self::Gone(Ok(())) => "ended without an answer".to_owned(),
            Self::Gone(Err(error)) => error.kind().to_string(),
            Self::Fault(fault) => fault.name().to_owned(),
        }
    }
}

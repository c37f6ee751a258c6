//! One stream: whether it is open, what it is to do, and what has arrived on it.

use std::task::{Context, Waker};

use crate::body::{Body, Fault};
use crate::head::Head;
use crate::marker::Markers;
use crate::place::Places;
use crate::report::Report;
use crate::tally::{Arrival, Tally};

/// A stream of a swarm, also while it is not open.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) phase: Phase,
    pub(crate) wish: Wish,
    /// Whether it is opened again whenever it ends or is refused.
    pub(crate) stays: bool,
    /// Whether the server has ended it, and it has not been opened again.
    pub(crate) was_ended: bool,
    /// The event with which it has caught up, while that is waited for.
    pub(crate) until: Option<u64>,
    pub(crate) tally: Tally,
    organisation: u32,
    group: usize,
    body: Body,
    /// Where it was, as the server says it; empty: nowhere.
    place: Vec<u8>,
    /// Makes its task look at its wish.
    waker: Option<Waker>,
}

/// How far a stream is. Times are those of [`crate::monotonic_nanoseconds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has no connection. Next: `Pending`.
    Closed,
    /// It waits until it may connect. Next: `Unanswered`, or `Closed`.
    Pending,
    /// It has a task that connects, or waits for the response's head. Next: `Open`, or `Closed`.
    Unanswered { since: u64 },
    /// The response is a stream. Next: `Closed`.
    Open { since: u64 },
}

/// What a stream is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Read what arrives.
    Read,
    /// Stay open and read nothing.
    Stall,
    /// Let the connection go.
    Drop,
    /// Let the connection go, on which no answer came in time.
    GiveUp,
}

impl Stream {
    /// A stream that has never been open.
    pub(crate) fn new(organisation: u32, group: usize) -> Self {
        Self {
            phase: Phase::Closed,
            wish: Wish::Read,
            stays: false,
            was_ended: false,
            until: None,
            tally: Tally::default(),
            organisation,
            group,
            body: Body::new(),
            place: Vec::new(),
            waker: None,
        }
    }

    /// The organisation whose events it is to get.
    pub(crate) fn organisation(&self) -> u32 {
        self.organisation
    }

    /// Whether it has a task.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Unanswered { .. } | Phase::Open { .. })
    }

    /// Where it was, for its next request.
    pub(crate) fn place(&self) -> Option<String> {
        let place = String::from_utf8_lossy(&self.place);
        (!place.is_empty()).then(|| place.into_owned())
    }

    /// Makes it begin anew: it has seen nothing and comes from nowhere.
    pub(crate) fn forget(&mut self) {
        self.tally = Tally::default();
        self.place.clear();
    }

    /// Its connection has gone, and with it what was cut off.
    pub(crate) fn on_connection_end(&mut self) {
        self.phase = Phase::Closed;
        self.body = Body::new();
        self.waker = None;
    }

    /// Tells it to do something else, at once.
    pub(crate) fn tell(&mut self, wish: Wish) {
        self.wish = wish;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Remembers how to reach its task.
    #[inline]
    pub(crate) fn is_polled_by(&mut self, context: &Context<'_>) {
        let is_known = (self.waker.as_ref()).is_some_and(|known| known.will_wake(context.waker()));
        if !is_known {
            self.waker = Some(context.waker().clone());
        }
    }

    /// Takes what arrived at this time, counts it, and returns the head if it has become complete.
    #[inline]
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        now: u64,
        places: &Places,
        report: &mut Report,
    ) -> Result<Option<Head>, Fault> {
        report.bytes += bytes.len() as u64;
        report.reads += 1;
        let (organisation, group) = (self.organisation, self.group);
        let (tally, place) = (&mut self.tally, &mut self.place);
        self.body.take(bytes, &mut |blocks| {
            count(blocks, organisation, group, now, tally, report);
            if let Some(last) = places.last(blocks) {
                place.clear();
                place.extend_from_slice(last);
            }
        })
    }

    /// Whether the server has said that nothing follows.
    pub(crate) fn is_over(&self) -> bool {
        self.body.is_over()
    }
}

/// Counts the events of whole blocks.
#[inline]
fn count(
    blocks: &[u8],
    organisation: u32,
    group: usize,
    now: u64,
    tally: &mut Tally,
    report: &mut Report,
) {
    let counted = &mut report.groups[group];
    let mut events = 0;
    for marker in Markers::new(blocks) {
        if marker.organisation != organisation {
            report.foreign += 1;
            continue;
        }
        match tally.take(marker.sequence) {
            Arrival::New { missed } => report.gaps += missed,
            Arrival::Again => {
                report.duplicates += 1;
                continue;
            }
        }
        events += 1;
        let latency = now.saturating_sub(marker.time);
        counted.latency.record_nanoseconds(latency);
    }
    counted.events += events;
    report.events += events;
}

#[cfg(test)]
mod tests {
    use super::Stream;
    use crate::marker::Marker;
    use crate::place::Places;
    use crate::report::{Group, Report};

    const HEAD: &str = "HTTP/1.1 200 OK\r\n\r\n";

    fn event(organisation: u32, sequence: u64) -> String {
        let marker = Marker {
            time: 1_000_000 * sequence,
            organisation,
            sequence,
        };
        format!("id: {sequence}\ndata: \"{marker}\"\n\n")
    }

    /// What a stream of organisation 1 counts, and where it then is.
    fn counted(stream: &str) -> (Report, Option<String>) {
        let mut report = Report {
            groups: vec![Group::default(), Group::default()],
            ..Report::default()
        };
        let mut reader = Stream::new(1, 1);
        for piece in [HEAD, stream] {
            let now = 100_000_000;
            let taken = reader.take(piece.as_bytes(), now, &Places::EventId, &mut report);
            taken.expect("it is a stream");
        }
        (report, reader.place())
    }

    #[test]
    fn every_event_is_counted_with_its_latency() {
        let (report, place) = counted(&[event(1, 10), event(1, 11)].concat());
        assert_eq!((report.events, report.gaps, report.duplicates), (2, 0, 0));
        assert_eq!((report.groups[0].events, report.groups[1].events), (0, 2));
        let latency = &report.groups[1].latency;
        assert!(
            (89.9..=90.1).contains(&latency.max_milliseconds()),
            "{latency:?}"
        );
        assert_eq!(place.as_deref(), Some("11"));
    }

    #[test]
    fn what_is_missing_or_comes_again_is_counted() {
        let (report, _) = counted(&[event(1, 1), event(1, 4), event(1, 4)].concat());
        assert_eq!((report.events, report.gaps, report.duplicates), (2, 2, 1));
    }

    #[test]
    fn the_event_of_another_organisation_is_only_foreign() {
        let (report, _) = counted(&[event(1, 1), event(2, 9), event(1, 2)].concat());
        assert_eq!((report.events, report.foreign, report.gaps), (2, 1, 0));
    }

    #[test]
    fn an_event_that_is_cut_off_counts_when_it_is_whole() {
        let event = event(1, 1);
        let (report, place) = counted(&event[..event.len() - 1]);
        assert_eq!((report.events, place), (0, None));
    }
}

//! The metrics page: what was counted, as Prometheus reads it (text exposition format 0.0.4). Pure:
//! whoever serves the page takes the snapshot.

mod feed;
mod identity;
mod log_span;
mod page;

use engine::{Counters, DELAY_BOUNDS_US, Delays, ResetReason};
use wire::CloseReason;
use wire::http::RefusalCode;

use crate::capacity::Capacity;
use crate::replication_thread::FeedStatus;
pub(crate) use identity::{IdentityCounts, Verified, VerifiedBy};
pub(crate) use log_span::LogSpan;
use page::Page;

/// Everything the page says, at one moment.
pub(crate) struct Snapshot<'a> {
    pub(crate) engines: &'a [Counters],
    pub(crate) feed: &'a FeedStatus,
    pub(crate) identity: &'a IdentityCounts,
    /// Refusals of the control thread, by [`RefusalCode::index`].
    pub(crate) refusals: &'a [u64; RefusalCode::ALL.len()],
    pub(crate) is_ready: bool,
    pub(crate) driver: &'a str,
    pub(crate) capacity: &'a Capacity,
    /// How long ago the oldest event that is still in the log was taken, in milliseconds.
    pub(crate) log_span_ms: u64,
    /// Lines about connections that were skipped, and lines that nobody read.
    pub(crate) log_lines_skipped: u64,
    pub(crate) log_lines_lost: u64,
}

/// Writes the page.
pub(crate) fn render(snapshot: &Snapshot<'_>) -> String {
    let mut page = Page::default();
    node(&mut page, snapshot);
    streams(&mut page, snapshot);
    events(&mut page, snapshot);
    snapshot.identity.write(&mut page);
    feed::replication(&mut page, snapshot.feed);
    page.text
}

fn node(page: &mut Page, snapshot: &Snapshot<'_>) {
    page.family(
        "tailrace_ready",
        "gauge",
        "Whether the node takes new streams.",
    );
    page.sample(&[("driver", snapshot.driver)], u64::from(snapshot.is_ready));
    if let Some(binding) = snapshot.capacity.binding() {
        page.family(
            "tailrace_capacity_streams",
            "gauge",
            "Streams that the node can hold, by the limit that binds first.",
        );
        page.sample(&[("limit", binding.name)], binding.streams);
    }
    page.family("tailrace_refusals_total", "counter", "Requests refused.");
    for code in RefusalCode::ALL {
        let by_engines = snapshot
            .engines
            .iter()
            .map(|engine| engine.refusals[code.index()]);
        let refusals = snapshot.refusals[code.index()] + by_engines.sum::<u64>();
        page.sample(&[("code", code.as_str())], refusals);
    }
    page.family(
        "tailrace_log_lines_skipped_total",
        "counter",
        "Log lines that were not written.",
    );
    page.sample(&[("why", "sampled")], snapshot.log_lines_skipped);
    page.sample(&[("why", "not_read")], snapshot.log_lines_lost);
}

fn streams(page: &mut Page, snapshot: &Snapshot<'_>) {
    let engines = snapshot.engines;
    let sum = |of: fn(&Counters) -> u64| engines.iter().map(of).sum::<u64>();
    page.family(
        "tailrace_connections",
        "gauge",
        "Sockets held, in whatever state.",
    );
    page.sample(&[], sum(|engine| engine.connections));
    page.family(
        "tailrace_streams",
        "gauge",
        "Streams open, and waits for a page of history.",
    );
    page.sample(&[], sum(|engine| engine.streams));
    page.family(
        "tailrace_streams_behind",
        "gauge",
        "Streams that are catching up.",
    );
    page.sample(&[], sum(|engine| engine.behind));
    page.family(
        "tailrace_streams_opened_total",
        "counter",
        "Streams opened.",
    );
    page.sample(&[], sum(|engine| engine.opened));
    page.family(
        "tailrace_history_pages_total",
        "counter",
        "Pages of history answered.",
    );
    page.sample(&[], sum(|engine| engine.pages));
    page.family(
        "tailrace_streams_closed_total",
        "counter",
        "Streams closed.",
    );
    for reason in CloseReason::ALL {
        let count: u64 = engines
            .iter()
            .map(|engine| engine.closed[reason.index()])
            .sum();
        page.sample(&[("reason", reason.as_str())], count);
    }
    page.family(
        "tailrace_resets_total",
        "counter",
        "Streams told that something may be missing.",
    );
    for reason in ResetReason::ALL {
        let count: u64 = engines
            .iter()
            .map(|engine| engine.resets[reason.index()])
            .sum();
        page.sample(&[("reason", reason.as_str())], count);
    }
}

fn events(page: &mut Page, snapshot: &Snapshot<'_>) {
    let engines = snapshot.engines;
    let sum = |of: fn(&Counters) -> u64| engines.iter().map(of).sum::<u64>();
    let max = |of: fn(&Counters) -> u64| engines.iter().map(of).max().unwrap_or_default();
    // Every engine takes every event: the one that is furthest has taken all there are.
    page.family(
        "tailrace_events_total",
        "counter",
        "Events taken from PostgreSQL.",
    );
    page.sample(&[], max(|engine| engine.events));
    page.family(
        "tailrace_deliveries_total",
        "counter",
        "Events sent whole, one for each stream.",
    );
    page.sample(&[], sum(|engine| engine.deliveries));
    page.family(
        "tailrace_send_failures_total",
        "counter",
        "Sends that found the peer gone.",
    );
    page.sample(&[], sum(|engine| engine.send_failures));
    page.family(
        "tailrace_short_sends_total",
        "counter",
        "Sends of which the socket took a part.",
    );
    page.sample(&[], sum(|engine| engine.short_sends));
    page.family(
        "tailrace_responses_given_up_total",
        "counter",
        "Long responses of which nothing was taken for seconds, closed to make room for others.",
    );
    page.sample(&[], sum(|engine| engine.responses_given_up));
    page.family(
        "tailrace_log_bytes",
        "gauge",
        "Bytes in the log of the fullest engine.",
    );
    page.sample(&[], max(|engine| engine.log_bytes));
    page.family(
        "tailrace_log_events",
        "gauge",
        "Events in the log of the fullest engine.",
    );
    page.sample(&[], max(|engine| engine.log_frames));
    page.family(
        "tailrace_log_span_seconds",
        "gauge",
        "Age of the oldest event in the log.",
    );
    page.sample(&[], seconds(snapshot.log_span_ms));
    page.family(
        "tailrace_log_evicted_total",
        "counter",
        "Events evicted from the log.",
    );
    page.sample(&[], max(|engine| engine.evicted));
    page.family(
        "tailrace_delivery_seconds",
        "histogram",
        "From an event taken to its last send, by whether its streams fit one group of 256.",
    );
    delays(page, "small", engines.iter().map(|it| &it.delays_small));
    delays(page, "large", engines.iter().map(|it| &it.delays_large));
}

/// The engines count each bucket for itself, in microseconds; Prometheus wants them cumulative and in
/// seconds.
fn delays<'a>(page: &mut Page, class: &str, engines: impl Iterator<Item = &'a Delays> + Clone) {
    let mut cumulative = 0;
    let bounds = DELAY_BOUNDS_US.map(seconds_of_us);
    let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
    for (bucket, bound) in bounds.enumerate() {
        cumulative += engines.clone().map(|it| it.counts[bucket]).sum::<u64>();
        page.suffixed("_bucket", &[("class", class), ("le", bound)], cumulative);
    }
    let sum_us = engines.map(|it| it.sum_us).sum();
    page.suffixed("_sum", &[("class", class)], seconds_of_us(sum_us));
    page.suffixed("_count", &[("class", class)], cumulative);
}

/// Milliseconds as seconds, without a detour over floating point.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

/// The same of microseconds.
fn seconds_of_us(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::{Machine, Plan};

    #[test]
    fn the_page_has_one_line_a_sample_and_cumulative_buckets() {
        let mut one = Counters {
            streams: 3,
            events: 10,
            ..Counters::default()
        };
        one.delays_small.counts[0] = 5;
        one.delays_small.counts[7] = 1;
        one.delays_small.sum_us = 1_234;
        one.delays_large.counts[DELAY_BOUNDS_US.len()] = 3;
        one.closed[CloseReason::TooSlow.index()] = 2;
        let two = Counters {
            streams: 4,
            events: 9,
            ..one.clone()
        };
        let mut refusals = [0; RefusalCode::ALL.len()];
        refusals[RefusalCode::NotAMember.index()] = 7;
        let feed = FeedStatus {
            unroutable: vec![("public.\"odd\"".to_owned(), 2)],
            withheld: vec![("User".to_owned(), vec!["passwordHash".to_owned()])],
            ..FeedStatus::default()
        };
        let text = render(&Snapshot {
            engines: &[one, two],
            feed: &feed,
            identity: &IdentityCounts::default(),
            refusals: &refusals,
            is_ready: true,
            driver: "io_uring",
            capacity: &Capacity::of(
                &Machine {
                    descriptors: Some(20_000),
                    ..Machine::default()
                },
                &Plan::default(),
            ),
            log_span_ms: 61_005,
            log_lines_skipped: 8,
            log_lines_lost: 9,
        });
        for line in [
            "tailrace_ready{driver=\"io_uring\"} 1",
            "tailrace_capacity_streams{limit=\"RLIMIT_NOFILE\"} 19000",
            "tailrace_streams 7",
            "tailrace_events_total 10",
            "tailrace_streams_closed_total{reason=\"too_slow\"} 4",
            "tailrace_refusals_total{code=\"not_a_member\"} 7",
            "tailrace_delivery_seconds_bucket{class=\"small\",le=\"0.000100\"} 10",
            "tailrace_delivery_seconds_bucket{class=\"small\",le=\"0.004000\"} 10",
            "tailrace_delivery_seconds_bucket{class=\"small\",le=\"0.005000\"} 12",
            "tailrace_delivery_seconds_bucket{class=\"small\",le=\"+Inf\"} 12",
            "tailrace_delivery_seconds_sum{class=\"small\"} 0.002468",
            "tailrace_delivery_seconds_count{class=\"small\"} 12",
            "tailrace_delivery_seconds_bucket{class=\"large\",le=\"10.000000\"} 0",
            "tailrace_delivery_seconds_bucket{class=\"large\",le=\"+Inf\"} 6",
            "tailrace_delivery_seconds_count{class=\"large\"} 6",
            "tailrace_log_span_seconds 61.005",
            "tailrace_unroutable_total{table=\"public.\\\"odd\\\"\"} 2",
            "tailrace_withheld_columns{table=\"User\",columns=\"passwordHash\"} 1",
            "tailrace_log_lines_skipped_total{why=\"not_read\"} 9",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line}\nis not in\n{text}"
            );
        }
        let is_sample = |line: &&str| !line.starts_with('#');
        assert!(
            text.lines()
                .filter(is_sample)
                .all(|line| line.split(' ').count() == 2)
        );
    }
}

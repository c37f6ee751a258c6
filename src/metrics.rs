//! The metrics page: what was counted, as Prometheus reads it (text exposition format 0.0.4). Pure:
//! whoever serves the page takes the snapshot.

use std::collections::VecDeque;
use std::fmt::{Display, Write as _};

use engine::{Counters, ResetReason};
use wire::CloseReason;
use wire::http::RefusalCode;

use crate::replication_thread::FeedStatus;

/// Everything the page says, at one moment.
pub(crate) struct Snapshot<'a> {
    pub(crate) engines: &'a [Counters],
    pub(crate) feed: &'a FeedStatus,
    /// Refusals of the control thread, by [`RefusalCode::index`].
    pub(crate) refusals: &'a [u64; RefusalCode::ALL.len()],
    pub(crate) is_ready: bool,
    pub(crate) driver: &'a str,
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
    replication(&mut page, snapshot.feed);
    page.text
}

fn node(page: &mut Page, snapshot: &Snapshot<'_>) {
    page.family(
        "tailrace_ready",
        "gauge",
        "Whether the node takes new streams.",
    );
    page.sample(&[("driver", snapshot.driver)], u64::from(snapshot.is_ready));
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
    page.family("tailrace_streams", "gauge", "Streams open.");
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
        "From a batch taken to its last send.",
    );
    delivery_histogram(page, engines);
}

/// The engines count by powers of two of milliseconds, each bucket for itself; Prometheus wants them
/// cumulative and in seconds.
fn delivery_histogram(page: &mut Page, engines: &[Counters]) {
    let mut cumulative = 0;
    let buckets = engines.first().map_or(0, |engine| engine.sweep_ms.len());
    for bucket in 0..buckets {
        cumulative += engines
            .iter()
            .map(|engine| engine.sweep_ms[bucket])
            .sum::<u64>();
        let bound = match bucket + 1 == buckets {
            true => "+Inf".to_owned(),
            false => seconds(1 << bucket),
        };
        page.suffixed("_bucket", &[("le", &bound)], cumulative);
    }
    page.suffixed(
        "_sum",
        &[],
        seconds(engines.iter().map(|engine| engine.sweep_ms_sum).sum()),
    );
    page.suffixed("_count", &[], cumulative);
}

fn replication(page: &mut Page, feed: &FeedStatus) {
    page.family(
        "tailrace_wal_lag_bytes",
        "gauge",
        "WAL the server has and the node has not read.",
    );
    page.sample(&[], feed.lag_bytes);
    page.family(
        "tailrace_wal_lag_seconds",
        "gauge",
        "How old the newest WAL that was read is.",
    );
    page.sample(&[], feed.lag_seconds);
    page.family(
        "tailrace_gaps_total",
        "counter",
        "Times changes may have been missed.",
    );
    page.sample(&[], feed.gaps);
    page.family(
        "tailrace_replayed_total",
        "counter",
        "Transactions received again and dropped.",
    );
    page.sample(&[], feed.replayed);
    page.family(
        "tailrace_reconnects_total",
        "counter",
        "Replication connections made again.",
    );
    page.sample(&[], feed.reconnects);
    tables(page, feed);
    slot(page, feed);
}

fn tables(page: &mut Page, feed: &FeedStatus) {
    page.family(
        "tailrace_published",
        "gauge",
        "Whether the publication is there.",
    );
    page.sample(&[], u64::from(feed.published));
    page.family(
        "tailrace_unpublished_tables",
        "gauge",
        "Tables that have left the publication, or that a route names and it lacks.",
    );
    page.sample(&[], feed.unpublished.len());
    page.family(
        "tailrace_unroutable_total",
        "counter",
        "Changes that name no organisation.",
    );
    for (table, count) in &feed.unroutable {
        page.sample(&[("table", table)], count);
    }
    page.family(
        "tailrace_unscoped_updates_total",
        "counter",
        "Updates whose old row does not say which organisation it belonged to.",
    );
    for (table, count) in &feed.unscoped {
        page.sample(&[("table", table)], count);
    }
    page.family(
        "tailrace_refused_messages_total",
        "counter",
        "Application messages that were dropped.",
    );
    for (reason, count) in &feed.refused_messages {
        page.sample(&[("reason", reason)], count);
    }
    page.family(
        "tailrace_withheld_columns",
        "gauge",
        "Columns that are withheld, by table.",
    );
    for (table, columns) in &feed.withheld {
        page.sample(
            &[("table", table), ("columns", &columns.join(","))],
            columns.len(),
        );
    }
}

fn slot(page: &mut Page, feed: &FeedStatus) {
    page.family(
        "tailrace_anchors_lost_total",
        "counter",
        "Times the slot that holds the history was lost.",
    );
    page.sample(&[], feed.anchors_lost);
    let Some(slot) = &feed.slot else { return };
    page.family(
        "tailrace_slot_state",
        "gauge",
        "The server's word for how safe the slot is.",
    );
    let state = slot.wal_status.as_deref().unwrap_or("missing");
    page.sample(&[("slot", &slot.name), ("state", state)], 1);
    page.family(
        "tailrace_slot_retained_bytes",
        "gauge",
        "WAL the server keeps because of the slot.",
    );
    page.sample(&[], slot.retained_bytes);
    page.family(
        "tailrace_slot_before_window_bytes",
        "gauge",
        "Of that, what transactions need that are older than the window.",
    );
    page.sample(&[], slot.before_window_bytes);
    if let Some(safe_bytes) = slot.safe_bytes {
        page.family(
            "tailrace_slot_safe_bytes",
            "gauge",
            "WAL that may yet be written before the server gives the slot up.",
        );
        page.sample(&[], safe_bytes);
    }
    if let Some(age_s) = slot.oldest_transaction_s {
        page.family(
            "tailrace_oldest_transaction_seconds",
            "gauge",
            "Age of the oldest open transaction that writes.",
        );
        page.sample(&[], age_s);
    }
}

/// Milliseconds as seconds, without a detour over floating point.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.suffixed("", labels, value);
    }

    fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (at, (name, label)) in labels.iter().enumerate() {
            let label = label
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"{label}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

/// How far back the log reaches in time, told from counts alone: which event was the newest at which
/// time.
#[derive(Default)]
pub(crate) struct LogSpan {
    /// Times and how many events had been taken by then, oldest first.
    samples: VecDeque<(u64, u64)>,
}

/// The most samples. When they are as many, every other one is dropped: the far past is told less
/// exactly.
const SAMPLES_MAX: usize = 1024;

impl LogSpan {
    /// Notes how many events have been taken by now, and how many of them are in the log.
    pub(crate) fn observe(&mut self, now_ms: u64, events: u64, log_events: u64) {
        if self
            .samples
            .back()
            .is_none_or(|(_, newest)| *newest < events)
        {
            self.samples.push_back((now_ms, events));
        }
        let evicted = events.saturating_sub(log_events);
        while self
            .samples
            .front()
            .is_some_and(|(_, newest)| *newest <= evicted)
        {
            self.samples.pop_front();
        }
        if self.samples.len() > SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// How long ago the oldest event of the log was taken, to the next sample.
    pub(crate) fn span_ms(&self, now_ms: u64) -> u64 {
        self.samples
            .front()
            .map_or(0, |(at_ms, _)| now_ms.saturating_sub(*at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_line_a_sample_and_cumulative_buckets() {
        let mut one = Counters {
            streams: 3,
            events: 10,
            sweep_ms_sum: 1_234,
            ..Counters::default()
        };
        one.sweep_ms[0] = 5;
        one.sweep_ms[2] = 1;
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
            refusals: &refusals,
            is_ready: true,
            driver: "io_uring",
            log_span_ms: 61_005,
            log_lines_skipped: 8,
            log_lines_lost: 9,
        });
        for line in [
            "tailrace_ready{driver=\"io_uring\"} 1",
            "tailrace_streams 7",
            "tailrace_events_total 10",
            "tailrace_streams_closed_total{reason=\"too_slow\"} 4",
            "tailrace_refusals_total{code=\"not_a_member\"} 7",
            "tailrace_delivery_seconds_bucket{le=\"0.001\"} 10",
            "tailrace_delivery_seconds_bucket{le=\"0.004\"} 12",
            "tailrace_delivery_seconds_bucket{le=\"+Inf\"} 12",
            "tailrace_delivery_seconds_sum 2.468",
            "tailrace_delivery_seconds_count 12",
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

    #[test]
    fn the_log_reaches_back_to_its_oldest_event() {
        let mut span = LogSpan::default();
        span.observe(1_000, 10, 10);
        span.observe(2_000, 20, 20);
        span.observe(3_000, 20, 20);
        assert_eq!(span.span_ms(5_000), 4_000);
        span.observe(6_000, 30, 15);
        assert_eq!(span.span_ms(6_000), 4_000, "the first ten are evicted");
        span.observe(7_000, 30, 0);
        assert_eq!(span.span_ms(9_000), 0, "the log is empty");
        (0..10_000).for_each(|n| span.observe(n, 31 + n, 31 + n));
        assert!(span.samples.len() <= SAMPLES_MAX);
    }
}

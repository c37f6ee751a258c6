//! Metrics: what the engines counted, in the node's own words for it, so that whoever reads the one
//! reads the other. Only what a measurement asks for is here.

use std::fmt::Write as _;

use driver::Port;
use engine::{Counters, DELAY_BOUNDS_US, Delays};
use wire::CloseReason;

/// The whole answer to a request for the page.
pub(crate) fn response(ports: &[Port]) -> Vec<u8> {
    let counters: Vec<Counters> = ports.iter().map(Port::counters).collect();
    let page = page(&counters);
    let length = page.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\n\r\n{page}"
    )
    .into_bytes()
}

fn page(engines: &[Counters]) -> String {
    let mut page = String::new();
    let sum = |of: fn(&Counters) -> u64| engines.iter().map(of).sum::<u64>();
    let figures = [
        ("tailrace_streams", sum(|it| it.streams)),
        ("tailrace_streams_behind", sum(|it| it.behind)),
        ("tailrace_deliveries_total", sum(|it| it.deliveries)),
        ("tailrace_short_sends_total", sum(|it| it.short_sends)),
    ];
    for (name, value) in figures {
        line(&mut page, name, "", value);
    }
    for reason in CloseReason::ALL {
        let closed = engines.iter().map(|it| it.closed[reason.index()]).sum();
        let labels = format!("{{reason=\"{}\"}}", reason.as_str());
        line(&mut page, "tailrace_streams_closed_total", &labels, closed);
    }
    delays(
        &mut page,
        "small",
        engines.iter().map(|it| &it.delays_small),
    );
    delays(
        &mut page,
        "large",
        engines.iter().map(|it| &it.delays_large),
    );
    page
}

fn delays<'a>(page: &mut String, class: &str, engines: impl Iterator<Item = &'a Delays> + Clone) {
    const NAME: &str = "tailrace_delivery_seconds_bucket";
    let mut cumulative = 0;
    for (bucket, bound_us) in DELAY_BOUNDS_US.iter().enumerate() {
        cumulative += engines.clone().map(|it| it.counts[bucket]).sum::<u64>();
        let bound = *bound_us as f64 / 1e6;
        let labels = format!("{{class=\"{class}\",le=\"{bound:.6}\"}}");
        line(page, NAME, &labels, cumulative);
    }
    cumulative += engines
        .map(|it| it.counts[DELAY_BOUNDS_US.len()])
        .sum::<u64>();
    let labels = format!("{{class=\"{class}\",le=\"+Inf\"}}");
    line(page, NAME, &labels, cumulative);
}

fn line(page: &mut String, name: &str, labels: &str, value: u64) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(page, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engines_counted_is_added_and_buckets_are_cumulative() {
        let mut one = Counters::default();
        one.delays_small.counts[0] = 3;
        one.delays_small.counts[7] = 1;
        one.delays_small.counts[DELAY_BOUNDS_US.len()] = 1;
        one.closed[CloseReason::TooSlow.index()] = 2;
        let page = page(&[one.clone(), one]);
        for line in [
            "tailrace_streams_closed_total{reason=\"too_slow\"} 4",
            "tailrace_delivery_seconds_bucket{class=\"small\",le=\"0.000100\"} 6",
            "tailrace_delivery_seconds_bucket{class=\"small\",le=\"0.005000\"} 8",
            "tailrace_delivery_seconds_bucket{class=\"small\",le=\"+Inf\"} 10",
            "tailrace_delivery_seconds_bucket{class=\"large\",le=\"+Inf\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}

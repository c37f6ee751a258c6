//! What a server says of itself on its metrics page, where it has one: Prometheus' text, read sample by
//! sample.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::contestant::Running;

/// How long a server may take to answer: one that is busy answers between two pieces of its work.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often an engine that works publishes what it has counted; with room to spare.
const PUBLISHED_EVERY: Duration = Duration::from_millis(150);

/// The samples of a page, by name and labels as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

/// How long events took within a server: a histogram of Prometheus' kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Delays {
    /// Upper bounds in milliseconds, and how many were at most so long; the last bound is infinite.
    buckets: Vec<(f64, f64)>,
}

impl Metrics {
    /// What a server says now, of all that it has done by now; none where it has no metrics.
    pub(crate) fn of(running: &Running) -> Result<Option<Self>> {
        let Some((address, line)) = &running.metrics else {
            return Ok(None);
        };
        std::thread::sleep(PUBLISHED_EVERY);
        Self::fetch(*address, line).map(Some)
    }

    /// Asks the server; `line` is a whole line of the request's head that admits whoever asks, or empty.
    pub(crate) fn fetch(address: SocketAddr, line: &str) -> Result<Self> {
        let page = get(address, line).with_context(|| format!("the metrics of {address}"))?;
        Ok(Self::parse(&page))
    }

    fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(samples.filter_map(sample).collect())
    }

    /// A sample, written with its labels.
    pub(crate) fn value(&self, sample: &str) -> Option<f64> {
        self.0.get(sample).copied()
    }

    /// By how much a counter grew since an earlier page.
    pub(crate) fn grown(&self, earlier: &Self, sample: &str) -> Option<f64> {
        Some(self.value(sample)? - earlier.value(sample)?)
    }

    /// How long events of classes of this size took since an earlier page, where there were some.
    pub(crate) fn delays(&self, earlier: &Self, class: &str) -> Option<Delays> {
        let start = format!("tailrace_delivery_seconds_bucket{{class=\"{class}\",le=\"");
        let mut buckets = Vec::new();
        for name in self.0.keys() {
            let Some(bound) = name.strip_prefix(&start) else {
                continue;
            };
            let bound = bound.strip_suffix("\"}")?;
            let bound = match bound {
                "+Inf" => f64::INFINITY,
                seconds => seconds.parse::<f64>().ok()? * 1e3,
            };
            buckets.push((bound, self.grown(earlier, name)?));
        }
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        let delays = Delays { buckets };
        (delays.count() > 0.0).then_some(delays)
    }
}

impl Delays {
    /// How many events there were.
    pub(crate) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// The delay in milliseconds that this many of a hundred do not exceed, in a straight line within
    /// its bucket, as Prometheus has it; beyond the last bound that is all that is known.
    pub(crate) fn percentile(&self, percentile: f64) -> f64 {
        let rank = self.count() * percentile / 100.0;
        let (mut below, mut count_below) = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= rank && count > count_below {
                let share = (rank - count_below) / (count - count_below);
                return if bound.is_finite() {
                    below + share * (bound - below)
                } else {
                    below
                };
            }
            (below, count_below) = (bound, count);
        }
        below
    }

    /// Which part of a hundred was longer than this bound of a bucket, in milliseconds.
    pub(crate) fn percent_above(&self, bound_ms: f64) -> f64 {
        let is_bucket = |(bound, _): &&(f64, f64)| (bound - bound_ms).abs() < 1e-6;
        let within = self.buckets.iter().find(is_bucket);
        100.0 - within.map_or(0.0, |(_, count)| count * 100.0 / self.count())
    }
}

fn get(address: SocketAddr, line: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let line = line.trim_end();
    let ending = if line.is_empty() { "" } else { "\r\n" };
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: {address}\r\n{line}{ending}connection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(page) = body(&answer)? {
            return Ok(page.to_owned());
        }
        match stream.read(&mut chunk)? {
            0 => bail!("the answer ends early"),
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
}

/// The body of an answer, where it is there as a whole.
fn body(answer: &[u8]) -> Result<Option<&str>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(start) = head.parse(answer)? else {
        return Ok(None);
    };
    if head.code != Some(200) {
        bail!("answered with {}", head.code.unwrap_or_default());
    }
    let length = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .context("an answer without a length")?;
    let length: usize = std::str::from_utf8(length.value)?.trim().parse()?;
    let body = answer.get(start..start + length);
    Ok(body.map(std::str::from_utf8).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(counts: [u64; 4]) -> Metrics {
        let bounds = ["0.001000", "0.005000", "0.010000", "+Inf"];
        let mut page = "# HELP tailrace_streams Streams.\ntailrace_streams 7\n".to_owned();
        for (bound, count) in bounds.into_iter().zip(counts) {
            page += &format!(
                "tailrace_delivery_seconds_bucket{{class=\"small\",le=\"{bound}\"}} {count}\n"
            );
        }
        Metrics::parse(&page)
    }

    #[test]
    fn delays_are_those_since_the_earlier_page() {
        let (earlier, later) = (page([100, 100, 100, 100]), page([150, 199, 200, 200]));
        assert_eq!(later.value("tailrace_streams"), Some(7.0));
        assert_eq!(later.delays(&earlier, "large"), None);
        assert_eq!(later.delays(&later, "small"), None, "nothing in between");
        let delays = later.delays(&earlier, "small").unwrap();
        assert_eq!(delays.count(), 100.0);
        assert_eq!(delays.percentile(50.0), 1.0);
        assert_eq!(delays.percentile(99.0), 5.0);
        assert_eq!(delays.percentile(100.0), 10.0);
        assert_eq!(delays.percentile(25.0), 0.5);
        assert_eq!(delays.percent_above(5.0), 1.0);
    }

    #[test]
    fn what_is_beyond_every_bound_is_at_least_the_last() {
        let delays = page([0, 0, 0, 5]).delays(&page([0; 4]), "small").unwrap();
        assert_eq!(delays.percentile(99.0), 10.0);
        assert_eq!(delays.percent_above(5.0), 100.0);
    }

    #[test]
    fn a_page_is_read_when_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n";
        assert_eq!(body(answer).unwrap(), Some("a 1\n"));
        assert_eq!(body(&answer[..answer.len() - 1]).unwrap(), None);
        assert!(body(b"HTTP/1.1 401 Unauthorized\r\n\r\n").is_err());
    }
}

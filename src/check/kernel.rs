//! The machine: whether it has io_uring, and room for as many streams as are hoped for.

use std::fs;

use driver::Choice;
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::config::units::human_bytes;

/// What one machine is built for.
const STREAMS: u64 = 1_000_000;

/// Beside the streams: listeners, rings, logs, the database.
const DESCRIPTORS_OTHER: u64 = 1_000;

/// With fewer descriptors than this a node is not worth starting.
const DESCRIPTORS_FEW: u64 = 4_096;

/// A backlog shorter than this drops connections when everybody comes back at once.
const BACKLOG_FEW: u64 = 1_024;

/// Bytes on their way for each of a million streams, with which a burst still goes well.
const UNSENT_BYTES: u64 = 1_024;

/// Looks at the machine.
pub(super) fn findings(choice: Choice) -> Vec<Finding> {
    let mut findings = vec![ring(choice, driver::try_uring())];
    let limit = getrlimit(Resource::Nofile);
    findings.push(descriptors(limit.current, limit.maximum));
    if let Some(backlog) = number("/proc/sys/net/core/somaxconn") {
        findings.push(somaxconn(backlog));
    }
    if let Some(pages) = tcp_pages() {
        findings.push(tcp_memory(pages, rustix::param::page_size() as u64));
    }
    findings
}

fn ring(choice: Choice, ring: Result<String, String>) -> Finding {
    match (ring, choice) {
        (_, Choice::Epoll) => Finding::ok("io_uring", "not used: engine.driver is epoll"),
        (Ok(ring), _) => Finding::ok("io_uring", ring),
        (Err(reason), Choice::Uring) => Finding::fail("io_uring", reason)
            .because("engine.driver is uring, so a node does not start; auto takes epoll instead."),
        (Err(reason), Choice::Auto) => Finding::warn("io_uring", reason)
            .because("A node takes epoll instead, at somewhat more processor time for a delivery.")
            .because("engine.driver = \"epoll\" says that this is meant."),
    }
}

fn descriptors(current: Option<u64>, maximum: Option<u64>) -> Finding {
    // A node takes what it may have by itself.
    let most = maximum.unwrap_or(u64::MAX);
    let streams = most.saturating_sub(DESCRIPTORS_OTHER);
    let about = "descriptors";
    if most >= STREAMS + DESCRIPTORS_OTHER {
        return Finding::ok(about, "room for a million streams");
    }
    let now = current.map_or_else(|| "unlimited".to_owned(), |number| number.to_string());
    let says = format!("at most {most} (now {now}), which is room for some {streams} streams");
    let how = "For more: ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker.";
    match most < DESCRIPTORS_FEW {
        true => Finding::warn(about, says).because(how),
        false => Finding::note(about, says).because(how),
    }
}

fn somaxconn(backlog: u64) -> Finding {
    let about = "somaxconn";
    match backlog < BACKLOG_FEW {
        false => Finding::ok(
            about,
            format!("{backlog} connections may wait to be accepted"),
        ),
        true => Finding::warn(
            about,
            format!("only {backlog} connections may wait to be accepted"),
        )
        .because(
            "When everybody comes back at once, some are dropped and try again a second later.",
        )
        .because("As root: sysctl -w net.core.somaxconn=4096"),
    }
}

fn tcp_memory(pages: u64, page_bytes: u64) -> Finding {
    let bytes = pages.saturating_mul(page_bytes);
    let says = format!("the kernel gives TCP at most {}", human_bytes(bytes));
    match bytes < STREAMS * UNSENT_BYTES {
        false => Finding::ok("tcp_mem", says),
        true => Finding::note("tcp_mem", says).because(
            "Beyond that the kernel drops packets of every connection: net.ipv4.tcp_mem has the \
             bounds, in pages.",
        ),
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The last of the three numbers is the bound.
fn tcp_pages() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_mem").ok()?;
    text.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_refused_ring_matters_as_much_as_it_was_asked_for() {
        let refused = || Err("seccomp".to_owned());
        assert_eq!(ring(Choice::Auto, refused()).level, Level::Warn);
        assert_eq!(ring(Choice::Uring, refused()).level, Level::Fail);
        assert_eq!(ring(Choice::Epoll, refused()).level, Level::Ok);
        assert_eq!(ring(Choice::Auto, Ok("a ring".into())).level, Level::Ok);
    }

    #[test]
    fn limits_are_counted_in_streams() {
        assert_eq!(descriptors(Some(1_024), None).level, Level::Ok);
        let some = descriptors(Some(1_024), Some(20_000));
        assert_eq!(some.level, Level::Note);
        assert!(some.says.contains("some 19000 streams"), "{}", some.says);
        assert_eq!(descriptors(Some(1_024), Some(1_024)).level, Level::Warn);
        assert_eq!(somaxconn(128).level, Level::Warn);
        assert_eq!(somaxconn(4_096).level, Level::Ok);
        assert_eq!(tcp_memory(1_000, 4_096).level, Level::Note);
        assert_eq!(tcp_memory(575_796, 4_096).level, Level::Ok);
    }
}

//! The machine: whether it has io_uring, and for how many streams it has room. What is counted is in
//! `capacity`, as for a node's start.

use driver::{Choice, Kind};

use super::Finding;
use crate::capacity::{self, Bound, Capacity, Machine, Plan, grouped};
use crate::config::Config;

/// Looks at the machine, for a node of this configuration, where there is one.
pub(super) fn findings(config: Option<&Config>) -> Vec<Finding> {
    let choice = config.map_or(Choice::Auto, |config| config.driver);
    let offer = driver::try_uring();
    let kind = match (&offer, choice) {
        (Ok(_), Choice::Auto | Choice::Uring) => Kind::Uring,
        _ => Kind::Epoll,
    };
    let machine = Machine::read();
    let plan = config.map_or_else(Plan::default, |config| {
        let engines = match config.engine_threads {
            0 => std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            threads => threads.into(),
        };
        Plan::of(config, kind, engines)
    });
    vec![
        ring(choice, offer),
        capacity(&Capacity::of(&machine, &plan)),
        backlog(&machine),
    ]
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

/// How many streams there is room for, what keeps it from more, and what would after that.
fn capacity(capacity: &Capacity) -> Finding {
    let about = "capacity";
    let Some(binding) = capacity.binding() else {
        return Finding::note(about, capacity.to_string());
    };
    let says = |bound: &Bound| {
        format!(
            "{} streams: limited by {} ({})",
            grouped(bound.streams),
            bound.name,
            bound.has
        )
    };
    let finding = match capacity.streams() {
        0..capacity::FEW => Finding::warn(about, says(binding)),
        capacity::FEW..capacity::GOAL => Finding::note(about, says(binding)),
        _ => return Finding::ok(about, says(binding)),
    };
    let next = capacity.others().iter();
    let next = next.take_while(|bound| bound.streams < capacity::GOAL);
    let next = next.map(|bound| format!("{}: {}", bound.name, grouped(bound.streams)));
    let next: Vec<_> = next.collect();
    let finding = match capacity.mend() {
        Some(mend) => finding.because(format!("For more: {mend}.")),
        None => finding,
    };
    match next.is_empty() {
        true => finding,
        false => finding.because(format!("After that, {}.", next.join("; "))),
    }
}

fn backlog(machine: &Machine) -> Finding {
    let about = "somaxconn";
    if let Some(short) = machine.short_backlog() {
        return Finding::warn(about, short)
            .because(
                "When everybody comes back at once, some are dropped and try again a second later.",
            )
            .because(capacity::BACKLOG_MEND);
    }
    match machine.backlog {
        Some(count) => Finding::ok(
            about,
            format!("{} connections may wait to be accepted", grouped(count)),
        ),
        None => Finding::note(
            about,
            "the kernel does not say how many connections may wait",
        ),
    }
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

    /// What is found with so many descriptors, and so many pages for TCP.
    fn found(descriptors: u64, tcp_pages: u64) -> Finding {
        let machine = Machine {
            descriptors: Some(descriptors),
            tcp_pages: Some(tcp_pages),
            ..Machine::default()
        };
        capacity(&Capacity::of(&machine, &Plan::default()))
    }

    #[test]
    fn limits_are_counted_in_streams() {
        assert_eq!(found(2_000_000, 2_000_000).level, Level::Ok);
        let some = found(20_000, 600_000);
        assert_eq!(some.level, Level::Note);
        assert!(some.says.starts_with("19,000 streams"), "{}", some.says);
        let because = some.because.join(" ");
        assert!(because.contains("LimitNOFILE to 601000"), "{because}");
        assert!(because.contains("tcp_mem: 600,000"), "{because}");
        assert_eq!(found(1_024, 600_000).level, Level::Warn);
    }

    #[test]
    fn a_short_queue_is_worth_a_warning() {
        let of = |count| {
            let machine = Machine {
                backlog: Some(count),
                ..Machine::default()
            };
            backlog(&machine).level
        };
        assert_eq!((of(128), of(4_096)), (Level::Warn, Level::Ok));
    }
}

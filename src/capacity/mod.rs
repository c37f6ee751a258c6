//! How many streams a node can hold here: every limit that the machine or the configuration sets,
//! counted in streams, which of them binds first, and how it is raised. Pure: what the machine says is
//! read in `machine`. What a stream costs, and where the figures come from, is in `docs/sizing.md`.
//!
//! Not here, since they bound no number of streams: the rings' locked memory (a ring is made or not, and
//! `driver` says why not), `vm.max_map_count` (tables of streams grow within few mappings), the slots of an
//! engine (32 bits, more than any process has descriptors), and the source ports of a proxy in front.

mod bounds;
mod machine;

use std::fmt;

use crate::config::{Config, MembershipSource};
pub(crate) use bounds::{Bound, GOAL};
pub(crate) use machine::Machine;

/// With fewer streams than this a node is hardly worth starting.
pub(crate) const FEW: u64 = 3_000;

/// How the queue of those who wait to be accepted is made longer.
pub(crate) const BACKLOG_MEND: &str = "as root: sysctl -w net.core.somaxconn=4096";

/// What the configuration says about the number of streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Engine threads.
    pub(crate) engines: u64,
    /// Whether streams are watched by epoll.
    pub(crate) is_epoll: bool,
    /// The bytes of the log (`history.max_bytes`).
    pub(crate) log_bytes: u64,
    /// Rows of memberships that are held (`membership.max`), where they are rows.
    pub(crate) memberships: Option<u64>,
    /// Streams of one user, where that is bounded.
    pub(crate) streams_per_user: Option<u64>,
    /// Streams of the node (`limits.connections`), where that is bounded.
    pub(crate) streams: Option<u64>,
}

/// What a node can hold.
#[derive(Clone, Debug)]
pub(crate) struct Capacity {
    /// Every limit that is known; the one that binds first is the first.
    bounds: Vec<Bound>,
}

impl Plan {
    /// What a configuration says, for so many engines on this driver.
    pub(crate) fn of(config: &Config, kind: driver::Kind, engines: u64) -> Self {
        let bounded = |count: u64| (count > 0).then_some(count);
        let memberships = match &config.identity.membership {
            Some(MembershipSource::Table(table)) => bounded(table.max.into()),
            _ => None,
        };
        Self {
            engines,
            is_epoll: kind == driver::Kind::Epoll,
            log_bytes: config.history.max_bytes as u64,
            memberships,
            streams_per_user: bounded(config.limits.connections_per_user.into()),
            streams: bounded(config.limits.connections.into()),
        }
    }
}

impl Capacity {
    /// What fits under all limits.
    pub(crate) fn of(machine: &Machine, plan: &Plan) -> Self {
        let mut bounds = bounds::all(machine, plan);
        // Where two are the same, the one that is named first is the plainer one.
        bounds.sort_by_key(|bound| bound.streams);
        Self { bounds }
    }

    /// The streams that fit; as many as a number holds where no limit is known.
    pub(crate) fn streams(&self) -> u64 {
        self.binding().map_or(u64::MAX, |bound| bound.streams)
    }

    /// The limit that binds first.
    pub(crate) fn binding(&self) -> Option<&Bound> {
        self.bounds.first()
    }

    /// The others, in the order in which they would bind.
    pub(crate) fn others(&self) -> &[Bound] {
        self.bounds.get(1..).unwrap_or_default()
    }

    /// How the limit that binds first is raised, and to what: as far as the next higher one lets it count,
    /// and at most to what a machine is built for. None where there is as much already.
    pub(crate) fn mend(&self) -> Option<String> {
        let binding = self.binding()?;
        let mut higher = self.others().iter().map(|bound| bound.streams);
        let next = higher.find(|streams| *streams > binding.streams);
        let goal = next.unwrap_or(u64::MAX).min(GOAL);
        (goal > binding.streams).then(|| binding.mend(goal))
    }
}

impl fmt::Display for Capacity {
    /// The line of a node's start.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(binding) = self.binding() else {
            return f.write_str("capacity unknown: this machine names no limit");
        };
        let streams = grouped(binding.streams);
        write!(f, "capacity {streams}: limited by {}", binding.name)?;
        if let Some(mend) = self.mend() {
            write!(f, "; {mend}")?;
        }
        match self.bounds.get(1) {
            Some(next) => write!(f, " (next {}: {})", next.name, grouped(next.streams)),
            None => Ok(()),
        }
    }
}

/// A number as people read it: `19,000`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which nothing is short, and a node of two engines.
    fn roomy() -> (Machine, Plan) {
        let machine = Machine {
            descriptors: Some(4_000_000),
            descriptors_settable: Some(1 << 30),
            files_free: Some(100_000_000),
            memory_free: Some(64 << 30),
            ..Machine::default()
        };
        let plan = Plan {
            engines: 2,
            log_bytes: 256 << 20,
            ..Plan::default()
        };
        (machine, plan)
    }

    fn line(machine: &Machine, plan: &Plan) -> String {
        Capacity::of(machine, plan).to_string()
    }

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 999, 1_000, 19_000, 1_000_000].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "19,000", "1,000,000"]);
    }

    #[test]
    fn the_line_names_the_limit_and_its_mend() {
        let (mut machine, plan) = roomy();
        machine.descriptors = Some(20_000);
        machine.tcp_pages = Some(500_000);
        assert_eq!(
            line(&machine, &plan),
            "capacity 19,000: limited by RLIMIT_NOFILE; raise LimitNOFILE to 501000 (systemd), \
             --ulimit nofile=501000 (Docker) or ulimit -Hn 501000 (next net.ipv4.tcp_mem: 500,000)"
        );
    }

    #[test]
    fn a_limit_of_the_kernel_above_the_process_is_raised_first() {
        let (mut machine, plan) = roomy();
        machine.descriptors = Some(20_000);
        machine.descriptors_settable = Some(65_536);
        let line = line(&machine, &plan);
        assert!(
            line.contains("; sysctl -w fs.nr_open=1001000, then raise LimitNOFILE to 1001000 "),
            "{line}"
        );
    }

    #[test]
    fn where_there_is_enough_nothing_is_to_be_raised() {
        let (mut machine, plan) = roomy();
        machine.tcp_pages = Some(5_000_000);
        assert_eq!(
            line(&machine, &plan),
            "capacity 3,999,000: limited by RLIMIT_NOFILE (next net.ipv4.tcp_mem: 5,000,000)"
        );
    }

    #[test]
    fn of_two_limits_that_bind_alike_the_first_is_raised_beyond_both() {
        let (mut machine, mut plan) = roomy();
        machine.descriptors = Some(20_000);
        plan.streams = Some(19_000);
        machine.tcp_pages = Some(500_000);
        let line = line(&machine, &plan);
        assert!(line.contains("raise LimitNOFILE to 501000 "), "{line}");
    }

    #[test]
    fn the_files_that_others_have_open_are_not_given_away() {
        let (mut machine, plan) = roomy();
        machine.files_free = Some(9_000);
        machine.files_taken = Some(5_000_000);
        machine.tcp_pages = Some(100_000);
        let line = line(&machine, &plan);
        assert!(line.contains("fs.file-max=5202000 "), "{line}");
    }

    #[test]
    fn few_descriptors_are_still_some_streams_and_none_is_none() {
        let (mut machine, plan) = roomy();
        for (descriptors, streams) in [(1_024, 952), (100, 28), (10, 0)] {
            machine.descriptors = Some(descriptors);
            assert_eq!(Capacity::of(&machine, &plan).streams(), streams);
        }
    }

    /// Makes one limit the tightest.
    type Tighten = fn(&mut Machine, &mut Plan);

    #[test]
    fn every_limit_can_be_the_one_that_binds() {
        let cases: [(&str, &str, Tighten); 9] = [
            ("RLIMIT_NOFILE", "LimitNOFILE", |machine, _| {
                machine.descriptors = Some(9_000);
            }),
            ("fs.file-max", "sysctl -w fs.file-max=", |machine, _| {
                machine.files_free = Some(9_000);
            }),
            ("memory", "a machine with more memory", |machine, _| {
                machine.memory_free = Some(320 << 20);
            }),
            ("memory of the control group", "MemoryMax", |machine, _| {
                machine.memory_group_free = Some(320 << 20);
            }),
            (
                "net.ipv4.tcp_mem",
                "sysctl -w net.ipv4.tcp_mem=",
                |machine, _| {
                    machine.tcp_pages = Some(9_000);
                },
            ),
            ("net.netfilter.nf_conntrack_max", "notrack", |machine, _| {
                machine.tracked_max = Some(9_000);
            }),
            (
                "fs.epoll.max_user_watches",
                "sysctl -w fs.epoll.max_user_watches=",
                |machine, plan| {
                    machine.epoll_watches = Some(9_000);
                    plan.is_epoll = true;
                },
            ),
            ("membership.max", "raise membership.max", |_, plan| {
                plan.memberships = Some(3_000);
                plan.streams_per_user = Some(3);
            }),
            (
                "limits.connections",
                "raise limits.connections",
                |_, plan| {
                    plan.streams = Some(9_000);
                },
            ),
        ];
        for (name, mend, tighten) in cases {
            let (mut machine, mut plan) = roomy();
            tighten(&mut machine, &mut plan);
            let capacity = Capacity::of(&machine, &plan);
            assert_eq!(capacity.binding().map(|bound| bound.name), Some(name));
            let line = capacity.to_string();
            assert!(line.contains(mend), "{line}");
            assert!(capacity.streams() <= 16_000, "{line}");
        }
    }

    #[test]
    fn what_does_not_concern_a_node_does_not_bind_it() {
        let (mut machine, mut plan) = roomy();
        let streams = Capacity::of(&machine, &plan).streams();
        // Watches are epoll's, and rows bound nobody who may have any number of streams.
        machine.epoll_watches = Some(1);
        plan.memberships = Some(1);
        assert_eq!(Capacity::of(&machine, &plan).streams(), streams);
    }

    #[test]
    fn memory_is_what_the_log_leaves_of_it() {
        let (mut machine, mut plan) = roomy();
        machine.memory_free = Some(2 << 30);
        let with_log = Capacity::of(&machine, &plan).streams();
        plan.log_bytes = 0;
        let without = Capacity::of(&machine, &plan).streams();
        assert!(without > with_log && without < 2 * with_log);
        plan.log_bytes = 4 << 30;
        assert_eq!(Capacity::of(&machine, &plan).streams(), 0);
    }

    #[test]
    fn memory_that_a_flood_can_take_is_nobodys_else() {
        let (mut machine, mut plan) = roomy();
        plan.log_bytes = 0;
        machine.memory_free = Some(2 << 30);
        // Beside 32 MiB of its own and the 128 MiB of a node: 64 MiB of responses and 16 MiB of requests an engine.
        let stream_bytes = 632 + 3_860 + 256;
        for engines in [2, 3] {
            plan.engines = engines;
            let flood_mib = 128 + engines * 80;
            let free = (2 << 30) - ((32 + flood_mib) << 20);
            assert_eq!(Capacity::of(&machine, &plan).streams(), free / stream_bytes);
        }
        // Where there is no more than that, streams have half of it.
        machine.memory_free = Some((32 + 128 + 3 * 80) << 20);
        let streams = Capacity::of(&machine, &plan).streams();
        assert_eq!(streams, ((128 + 3 * 80) << 20) / 2 / stream_bytes);
    }

    #[test]
    fn a_machine_that_says_nothing_has_no_line_but_that() {
        let capacity = Capacity::of(&Machine::default(), &Plan::default());
        assert_eq!(capacity.streams(), u64::MAX);
        assert!(capacity.to_string().starts_with("capacity unknown"));
    }

    #[test]
    fn this_machine_has_a_capacity() {
        let capacity = Capacity::of(&Machine::read(), &roomy().1);
        assert!(capacity.streams() > 0 && capacity.streams() < u64::MAX);
    }
}

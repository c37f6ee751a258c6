//! Those who strike, side by side: one at the nodes, one at PostgreSQL, one at what lies between, one as a
//! crowd. Each does everything it can, in an order of its own, again and again until the run is over, and
//! leaves everything as it was.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::crowd;
use crate::faults::Fault;
use crate::hostile;
use crate::house::House;
use crate::proxy::{Manner, Proxy};
use crate::random::Random;
use crate::stage::Stage;
use crate::support::process::{Pid, Signal};
use crate::support::sql::Sql;
use crate::support::{Node, becomes_true};
use crate::surroundings::{MemoryGroup, limit_descriptors, signal_all};
use crate::writers::{ORGANISATIONS, write_long};

/// How long a node may take until it answers again after what was done to it.
const BACK_MAX: Duration = Duration::from_secs(60);

/// How much a node may allocate while it has a limit: its log and as much again.
const GROUP_BYTES: u64 = 192 << 20;

/// How many requests wait for a node that has no descriptors.
const WAITING: usize = 60;

/// More connections than PostgreSQL has.
const CONNECTIONS_MAX: usize = 300;

const END_WALSENDERS: &str =
    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active";

/// What all lanes share.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) house: &'a House,
    /// When no further fault begins.
    pub(crate) until: Instant,
    pub(crate) crowd: usize,
    /// The processes of the nodes, or 0 while there is none.
    pub(crate) processes: &'a [AtomicI32],
}

impl Lane<'_> {
    /// Strikes the nodes.
    pub(crate) fn strike_nodes(&self, nodes: &mut [Node], mut random: Random) {
        let kinds = [
            Fault::NodeKilled,
            Fault::NodeDrained,
            Fault::NodePaused,
            Fault::NodeStarved,
            Fault::FewDescriptors,
            Fault::LittleMemory,
            Fault::UnreadLog,
            Fault::ClockSteps,
        ];
        self.strike(&kinds, &mut random, |fault, random| {
            // The first node alone has a clock that can be set, which needs descriptors of its own.
            let number = match fault {
                Fault::ClockSteps => 0,
                Fault::FewDescriptors => 1,
                _ => random.below(nodes.len() as u64) as usize,
            };
            self.strike_node(fault, &mut nodes[number], number, random)
        });
    }

    /// Strikes PostgreSQL.
    pub(crate) fn strike_database(&self, mut random: Random) {
        let kinds = [
            Fault::DatabaseKilled,
            Fault::DatabaseRestarted,
            Fault::DatabasePaused,
            Fault::DatabaseFull,
            Fault::WalsendersEnded,
            Fault::LongTransaction,
        ];
        self.strike(&kinds, &mut random, |fault, random| {
            let (cluster, database) = (&self.house.cluster, &self.house.database);
            match fault {
                Fault::DatabaseKilled => {
                    cluster.kill();
                    self.pause(random.duration(Duration::from_secs(2)));
                    cluster.restart();
                }
                Fault::DatabaseRestarted => {
                    cluster.stop(Signal::INT);
                    self.pause(random.duration(Duration::from_secs(2)));
                    cluster.restart();
                }
                Fault::DatabasePaused => {
                    signal_all(cluster, Signal::STOP);
                    self.pause(Duration::from_secs(1) + random.duration(Duration::from_secs(5)));
                    signal_all(cluster, Signal::CONT);
                }
                Fault::DatabaseFull => {
                    let own = database.try_connect().map_err(|e| e.to_string())?;
                    let url = database.socket_url();
                    let all: Vec<Sql> = (0..CONNECTIONS_MAX)
                        .map_while(|_| Sql::connect(&url).ok())
                        .collect();
                    own.try_run(END_WALSENDERS).map_err(|e| e.to_string())?;
                    self.pause(Duration::from_secs(2));
                    drop(all);
                }
                Fault::WalsendersEnded => {
                    let own = database.try_connect().map_err(|e| e.to_string())?;
                    own.try_run(END_WALSENDERS).map_err(|e| e.to_string())?;
                }
                _ => {
                    let organisation = *random.pick(&ORGANISATIONS);
                    let marker = self.house.markers.of(organisation);
                    let number = self.stage.number();
                    write_long(database, organisation, marker, number)
                        .map_err(|e| e.to_string())?;
                }
            }
            Ok(())
        });
    }

    /// Strikes what lies between.
    pub(crate) fn strike_network(&self, mut random: Random) {
        let kinds = [
            Fault::DatabaseLatency,
            Fault::DatabaseSlices,
            Fault::DatabaseHalfClose,
            Fault::DatabaseBlackhole,
            Fault::DatabaseReset,
            Fault::ClientLatency,
            Fault::ClientSlices,
            Fault::ClientHalfClose,
            Fault::ClientBlackhole,
            Fault::ClientReset,
            Fault::NarrowLink,
            Fault::LostPackets,
            Fault::FirewallReset,
            Fault::LinkDown,
        ];
        self.strike(&kinds, &mut random, |fault, random| {
            let seconds = |most| Duration::from_secs(1) + Duration::from_secs(most);
            let time = random.duration(seconds(4));
            let latency = Manner::Latency(Duration::from_millis(20 + random.below(300)));
            let (doors, wires) = (&self.house.doors, &self.house.wires);
            match fault {
                Fault::DatabaseLatency => self.behave(wires, latency, time),
                Fault::DatabaseSlices => self.behave(wires, Manner::Slices, time),
                Fault::DatabaseHalfClose => wires.iter().for_each(Proxy::half_close_all),
                Fault::DatabaseBlackhole => self.behave(wires, Manner::Blackhole, time),
                Fault::DatabaseReset => wires.iter().for_each(Proxy::reset_all),
                Fault::ClientLatency => self.behave(doors, latency, time),
                Fault::ClientSlices => self.behave(doors, Manner::Slices, time),
                Fault::ClientHalfClose => doors.iter().for_each(Proxy::half_close_all),
                Fault::ClientBlackhole => self.behave(doors, Manner::Blackhole, time),
                Fault::ClientReset => doors.iter().for_each(Proxy::reset_all),
                _ => self.strike_link(fault, time)?,
            }
            Ok(())
        });
    }

    /// Comes as a crowd.
    pub(crate) fn strike_as_a_crowd(&self, mut random: Random) {
        let kinds = [
            Fault::SlowHeads,
            Fault::StalledReaders,
            Fault::ReconnectStorm,
            Fault::PublishFlood,
            Fault::HostileRequests,
        ];
        self.strike(&kinds, &mut random, |fault, random| {
            let address = *random.pick(&self.house.addresses);
            let (stage, users) = (self.stage, &self.house.users);
            match fault {
                Fault::SlowHeads => {
                    let opened = crowd::slow_heads(address, self.crowd, stage);
                    opened.inspect_err(|error| stage.violated(error.clone()))?;
                }
                Fault::StalledReaders => {
                    let time = Duration::from_secs(4);
                    crowd::stalled_readers(address, self.crowd, users, time, stage);
                }
                Fault::ReconnectStorm => {
                    crowd::reconnect_storm(address, self.crowd, users, stage);
                }
                Fault::PublishFlood => {
                    let organisation = *random.pick(&ORGANISATIONS);
                    let marker = self.house.markers.of(organisation);
                    let time = Duration::from_secs(3);
                    let flood = crowd::publish_flood(address, organisation, marker, time, stage);
                    let published = flood.inspect_err(|error| stage.violated(error.clone()))?;
                    stage.say(&format!("{published:?}"));
                }
                _ => {
                    let wrong = hostile::try_all_whatever_happens(address);
                    wrong.into_iter().for_each(|wrong| stage.violated(wrong));
                }
            }
            if !crowd::is_answered(address, BACK_MAX) && !stage.is_broken_off() {
                let node = self.house.addresses.iter().position(|own| *own == address);
                let log = node.map(|number| tail(&self.house.logs[number].text()));
                stage.violated(format!(
                    "{address} does not answer after {fault}:\n{}",
                    log.unwrap_or_default()
                ));
            }
            Ok(())
        });
    }

    /// Does each of these, in a random order, again and again until it is time.
    fn strike(
        &self,
        kinds: &[Fault],
        random: &mut Random,
        mut act: impl FnMut(Fault, &mut Random) -> Result<(), String>,
    ) {
        let _actor = self.stage.actor();
        let mut left: Vec<Fault> = Vec::new();
        loop {
            if left.is_empty() {
                left = kinds.to_vec();
            }
            let place = random.below(left.len() as u64) as usize;
            let fault = left.swap_remove(place);
            let rest = random.duration(Duration::from_millis(2_500));
            if !self.stage.sleep(rest, Stage::is_broken_off) || Instant::now() >= self.until {
                return;
            }
            if self.house.tally.skips().contains_key(&fault) {
                continue;
            }
            self.stage.say(&fault.to_string());
            match act(fault, random) {
                Ok(()) => self.house.tally.injected(fault),
                // Another lane was faster, as where PostgreSQL is away; it comes up again.
                Err(why) => self.stage.say(&format!("{fault}: {why}")),
            }
        }
    }

    fn strike_node(
        &self,
        fault: Fault,
        node: &mut Node,
        number: usize,
        random: &mut Random,
    ) -> Result<(), String> {
        if !node.process().is_running() {
            let log = tail(&self.house.logs[number].text());
            self.stage
                .violated(format!("node {number} ended by itself:\n{log}"));
            return Ok(());
        }
        let process = node.process().id();
        match fault {
            Fault::NodeKilled => {
                self.gone(number);
                node.process().kill();
                self.pause(random.duration(Duration::from_secs(2)));
                self.launch(node, number);
            }
            Fault::NodeDrained => {
                node.process().signal(Signal::TERM);
                node.process().wait(BACK_MAX);
                self.gone(number);
                self.launch(node, number);
            }
            Fault::NodePaused => {
                node.process().signal(Signal::STOP);
                self.pause(Duration::from_secs(1) + random.duration(Duration::from_secs(7)));
                node.process().signal(Signal::CONT);
            }
            Fault::NodeStarved => {
                for _ in 0..40 {
                    node.process().signal(Signal::STOP);
                    self.pause(Duration::from_millis(80));
                    node.process().signal(Signal::CONT);
                    self.pause(Duration::from_millis(20));
                }
            }
            Fault::FewDescriptors => self.take_descriptors(node, number)?,
            Fault::LittleMemory => {
                let group = MemoryGroup::new(number, GROUP_BYTES)
                    .inspect_err(|why| self.house.tally.skipped(fault, why))?;
                group.take_in(process)?;
                self.pause(Duration::from_secs(5));
            }
            Fault::UnreadLog => {
                let log = &self.house.logs[number];
                log.stop_reading();
                self.pause(Duration::from_secs(3) + random.duration(Duration::from_secs(4)));
                log.read_on();
            }
            _ => {
                let clock = self.house.clock.as_ref().expect("else it was skipped");
                for offset in ["+10d", "-10d", "+0"] {
                    clock.set(offset);
                    // The node goes by it within a second.
                    self.pause(Duration::from_millis(2_500));
                }
            }
        }
        Ok(())
    }

    fn gone(&self, number: usize) {
        self.processes[number].store(0, Ordering::Relaxed);
    }

    fn launch(&self, node: &mut Node, number: usize) {
        node.launch_again();
        let id = node.process().id().as_raw_nonzero().get();
        self.processes[number].store(id, Ordering::Relaxed);
    }

    /// Takes what descriptors a node has left, lets some wait for it, and gives them back: those who wait are
    /// answered.
    fn take_descriptors(&self, node: &mut Node, number: usize) -> Result<(), String> {
        let address = self.house.addresses[number];
        // One that starts says what it lacks, and ends; whoever supervises it starts it again.
        if !crowd::is_answered(address, BACK_MAX) {
            return Err("the node is not up".to_owned());
        }
        let process = node.process();
        let most = process.descriptors() as u64 + 4;
        let before = limit_descriptors(process.id(), Some(most));
        let waiting = crowd::waiting_requests(address, WAITING);
        self.pause(Duration::from_secs(2));
        limit_descriptors(node.process().id(), before);
        drop(waiting);
        let log = &self.house.logs[number];
        if !becomes_true(BACK_MAX, || log.text().contains("accepting pauses")) {
            self.stage
                .violated(format!("node {number} never ran out of descriptors"));
        }
        if !crowd::is_answered(address, BACK_MAX) {
            let log = tail(&self.house.logs[number].text());
            self.stage.violated(format!(
                "node {number} has descriptors again, and does not answer:\n{log}"
            ));
        }
        Ok(())
    }

    fn behave(&self, proxies: &[Proxy], manner: Manner, time: Duration) {
        proxies.iter().for_each(|proxy| proxy.behave(manner));
        self.pause(time);
        proxies.iter().for_each(|proxy| proxy.behave(Manner::Plain));
    }

    fn strike_link(&self, fault: Fault, time: Duration) -> Result<(), String> {
        let link = self.house.link.as_ref().expect("else it was skipped");
        let (begun, mend): (_, fn(&crate::link::Link)) = match fault {
            Fault::NarrowLink => (link.narrow(), crate::link::Link::widen),
            Fault::LostPackets => (link.lose_packets(), crate::link::Link::open_firewall),
            Fault::FirewallReset => (link.reset_connections(), crate::link::Link::open_firewall),
            _ => (link.down(), crate::link::Link::up),
        };
        begun.inspect_err(|why| self.house.tally.skipped(fault, why))?;
        self.pause(time);
        mend(link);
        Ok(())
    }

    fn pause(&self, time: Duration) {
        self.stage.sleep(time, Stage::is_broken_off);
    }
}

/// The memory and the descriptors of a process, as proc(5) has them: bytes, and how many.
pub(crate) fn usage(process: i32) -> Option<(u64, usize)> {
    Pid::from_raw(process)?;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    Some((kilobytes * 1_024, descriptors.count()))
}

/// The last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

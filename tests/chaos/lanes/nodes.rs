//! What is done to nodes: killed, asked to end, stopped, starved; descriptors, memory, the reader of the log
//! and the right time taken away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{BACK_MAX, Lane, seen, tail};
use crate::clocks::ends_in;
use crate::crowd;
use crate::faults::Fault;
use crate::groups::MemoryGroup;
use crate::random::Random;
use crate::support::process::Signal;
use crate::support::{Node, becomes_true};
use crate::surroundings::{is_stopped, limit_descriptors};

/// How many requests wait for a node that has no descriptors.
const WAITING: usize = 60;

/// How much a node may allocate before it is at the limit of its memory, and how many large heads come
/// then: with half of them it is beyond.
const MEMORY_LEFT: u64 = 2 << 20;
const LARGE_HEADS: usize = 200;

/// How long a node may take to go by another clock: its library looks once a second, if the node is let.
const SET_MAX: Duration = Duration::from_secs(20);

/// How often a starved node is stopped for 80 ms and let run for 20.
const STARVED_ROUNDS: u32 = 40;

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
        self.strike(&kinds, &mut random, |fault, time, random| {
            let ends = [Fault::NodeKilled, Fault::NodeDrained, Fault::LittleMemory];
            let any = random.below(nodes.len() as u64) as usize;
            let number = match fault {
                // The first node alone has a clock that can be set.
                Fault::ClockSteps => 0,
                _ if self.is_soak && ends.contains(&fault) => (self.lasting + 1) % nodes.len(),
                _ => any,
            };
            let node = &mut nodes[number];
            if !node.process().is_running() {
                let log = tail(&self.house.logs[number].text());
                let ended = format!("node {number} ended by itself:\n{log}");
                self.stage.violated(ended.clone());
                return Err(ended);
            }
            self.strike_node(fault, node, number, time, random)
        });
    }

    fn strike_node(
        &self,
        fault: Fault,
        node: &mut Node,
        number: usize,
        time: Duration,
        random: &mut Random,
    ) -> Result<(), String> {
        match fault {
            Fault::NodeKilled => {
                self.gone(number);
                node.process().kill();
                self.pause(random.duration(Duration::from_secs(2)));
                self.launch(node, number);
                Ok(())
            }
            Fault::NodeDrained => {
                self.drain(node, number);
                Ok(())
            }
            Fault::NodePaused => {
                node.process().signal(Signal::STOP);
                self.pause(time);
                let is_still = is_stopped(node.process().id());
                node.process().signal(Signal::CONT);
                seen("standstill", is_still.into())
            }
            Fault::NodeStarved => self.starve(node),
            Fault::FewDescriptors => self.take_descriptors(node, number),
            Fault::LittleMemory => self.take_memory(node, number),
            Fault::UnreadLog => {
                let log = &self.house.logs[number];
                log.stop_reading();
                log.fill();
                self.pause(time);
                let is_full = log.is_full();
                log.read_on();
                seen("full pipe", is_full.into())
            }
            _ => self.step_clock(number),
        }
    }

    /// Asks a node to end, which it has to do orderly, and starts it again.
    fn drain(&self, node: &mut Node, number: usize) {
        // One that has hardly begun does not heed signals yet, and ends as whoever does not; it heeds them
        // a moment after its first answer.
        self.wait_for(number, "before it is asked to end");
        self.pause(Duration::from_secs(1));
        node.process().signal(Signal::TERM);
        let status = node.process().wait(BACK_MAX);
        self.gone(number);
        if !status.success() {
            let log = tail(&self.house.logs[number].text());
            self.stage.violated(format!(
                "node {number} was asked to end, and ended with {status}:\n{log}"
            ));
        }
        self.launch(node, number);
    }

    /// Leaves a node a fifth of the time.
    fn starve(&self, node: &mut Node) -> Result<(), String> {
        let mut stops = 0;
        for _ in 0..STARVED_ROUNDS {
            node.process().signal(Signal::STOP);
            self.pause(Duration::from_millis(80));
            stops += u64::from(is_stopped(node.process().id()));
            node.process().signal(Signal::CONT);
            self.pause(Duration::from_millis(20));
        }
        seen("standstill", stops)
    }

    fn gone(&self, number: usize) {
        self.processes[number].store(0, Ordering::Relaxed);
    }

    fn launch(&self, node: &mut Node, number: usize) {
        node.launch_again();
        let id = node.process().id().as_raw_nonzero().get();
        self.processes[number].store(id, Ordering::Relaxed);
    }

    /// Takes what descriptors a node has left, lets some wait for it, and gives them back: all who wait are
    /// answered.
    fn take_descriptors(&self, node: &mut Node, number: usize) -> Result<(), String> {
        let address = self.house.addresses[number];
        // One that starts says what it lacks, and ends; whoever supervises it starts it again.
        if !crowd::is_answered(address, BACK_MAX) {
            return Err("the node is not up".to_owned());
        }
        let log = &self.house.logs[number];
        let logged = log.text().len();
        let process = node.process();
        let most = process.descriptors() as u64 + 4;
        let before = limit_descriptors(process.id(), Some(most));
        let waiting = crowd::waiting_requests(address, WAITING);
        let count = waiting.len();
        self.pause(Duration::from_secs(2));
        limit_descriptors(node.process().id(), before);
        let answered = crowd::answered(waiting, BACK_MAX);
        self.wait_for(number, "with its descriptors again");
        // A log is cut where a character may be.
        let said = || {
            log.text()
                .get(logged..)
                .map(|new| new.contains("accepting pauses"))
        };
        if !becomes_true(BACK_MAX, || said() == Some(true)) {
            return Err("it never ran out of descriptors".to_owned());
        }
        self.stage.say(&format!(
            "node {number}: {answered} of {count} who waited were answered"
        ));
        if answered < count && node.process().is_running() {
            let log = tail(&log.text());
            self.stage.violated(format!(
                "{answered} of {count} who waited for descriptors were answered:\n{log}"
            ));
        }
        crowd::is_crowd("requests that wait", count, WAITING)
    }

    /// Limits the memory of a node to hardly more than it has, and comes with heads that take more. The
    /// kernel may end it for that, as it does anybody; then it is started again.
    fn take_memory(&self, node: &mut Node, number: usize) -> Result<(), String> {
        let address = self.house.addresses[number];
        if !crowd::is_answered(address, BACK_MAX) {
            return Err("the node is not up".to_owned());
        }
        let group = MemoryGroup::new(number)
            .inspect_err(|why| self.house.tally.skipped(Fault::LittleMemory, why))?;
        group.take_in(node.process().id())?;
        group.leave(MEMORY_LEFT)?;
        let heads = crowd::large_heads(address, LARGE_HEADS);
        self.pause(Duration::from_secs(2));
        drop(heads);
        let (refused, killed) = (group.refused()?, group.killed()?);
        if !node.process().is_running() {
            self.gone(number);
            if killed == 0 {
                let log = tail(&self.house.logs[number].text());
                self.stage.violated(format!(
                    "node {number} ended by itself with little memory:\n{log}"
                ));
            }
            self.launch(node, number);
        }
        self.stage.say(&format!(
            "node {number} came to the limit of its memory {refused} times, and was killed {killed} times"
        ));
        seen("limit was reached", refused)
    }

    /// Sets the clock ten days forward, and back, and right. A session that ends within them shows that the
    /// node goes by it.
    fn step_clock(&self, number: usize) -> Result<(), String> {
        let clock = self.house.clock.as_ref().expect("else it was skipped");
        let address = self.house.addresses[number];
        let (_, user) = &self.house.users[0];
        let short = ends_in(5, user).bytes();
        let mut missed = Ok(());
        for (offset, has_ended) in [("+10d", true), ("-10d", false), ("+0", false)] {
            clock.set(offset);
            let goes_by_it = || {
                let status = crowd::status_of(address, &short);
                status.is_some_and(|status| (status == 401) == has_ended)
            };
            if !becomes_true(SET_MAX, goes_by_it) {
                missed = Err(format!("nobody noticed {offset}"));
            }
            self.pause(Duration::from_secs(1));
        }
        missed
    }
}

//! Those who strike, side by side: one at the `nodes`, one at the `database`, one at the `network` between,
//! one as `crowds`. Each does everything it can, in an order of its own, again and again until the run is
//! over, and leaves everything as it was. What was not seen to happen is said and not counted.

mod crowds;
mod database;
mod network;
mod nodes;

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::faults::Fault;
use crate::house::House;
use crate::random::Random;
use crate::stage::Stage;
use crate::support::becomes_true;
use crate::support::process::Pid;
use crate::surroundings::is_stopped;

/// How long a node may take until it answers again after what was done to it.
const BACK_MAX: Duration = Duration::from_secs(60);

/// How much longer one waits for somebody to whom it happens.
const SOON: Duration = Duration::from_secs(8);

/// How long an outage lasts at the least, and how much longer it may.
const OUTAGE: Duration = Duration::from_secs(1);
const OUTAGE_MORE: Duration = Duration::from_secs(4);

/// And once in a soak, of each of these: longer than a dead server may stay unnoticed (10 s), a client hears
/// nothing (20 s), and a reader takes nothing or bytes stay unacknowledged (30 s).
const LONG_OUTAGE: Duration = Duration::from_secs(35);
const LONG_OUTAGE_MORE: Duration = Duration::from_secs(8);
const WITH_A_LONG_ONE: [Fault; 6] = [
    Fault::DatabasePaused,
    Fault::DatabaseBlackhole,
    Fault::NodePaused,
    Fault::ClientBlackhole,
    Fault::LinkDown,
    Fault::StalledReaders,
];

/// What all lanes share.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) house: &'a House,
    /// When no further fault begins.
    pub(crate) until: Instant,
    pub(crate) crowd: usize,
    /// Whether it is a soak: long outages have their turn, and one node lives through all of it.
    pub(crate) is_soak: bool,
    /// The node that does, in a soak.
    pub(crate) lasting: usize,
    /// The processes of the nodes, or 0 while there is none.
    pub(crate) processes: &'a [AtomicI32],
}

impl Lane<'_> {
    /// Does each of these, in a random order, again and again until it is time. `act` is told how long an
    /// outage is to last; its error says why something did not happen.
    fn strike(
        &self,
        kinds: &[Fault],
        random: &mut Random,
        mut act: impl FnMut(Fault, Duration, &mut Random) -> Result<(), String>,
    ) {
        let _actor = self.stage.actor();
        let mut left: Vec<Fault> = Vec::new();
        let mut long = match self.is_soak {
            true => WITH_A_LONG_ONE.to_vec(),
            false => Vec::new(),
        };
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
            let is_long = long.contains(&fault);
            let time = match is_long {
                true => LONG_OUTAGE + random.duration(LONG_OUTAGE_MORE),
                false => OUTAGE + random.duration(OUTAGE_MORE),
            };
            self.stage.say(&fault.to_string());
            let began = Instant::now();
            match act(fault, time, random) {
                // Broken off, nothing is known.
                Ok(()) if self.stage.is_broken_off() => return,
                Ok(()) => {
                    self.house.tally.injected(fault, began.elapsed());
                    long.retain(|it| *it != fault);
                }
                // Another lane was faster, as where PostgreSQL is away; it comes up again.
                Err(why) => self.stage.say(&format!("{fault}, not counted: {why}")),
            }
        }
    }

    /// Whether the process of a node stands still or is gone at this moment.
    fn is_still(&self, number: usize) -> bool {
        let process = Pid::from_raw(self.processes[number].load(Ordering::Relaxed));
        process.is_none_or(is_stopped)
    }

    /// Waits until a node answers, as after every strike; where it does not, that is a violation.
    fn wait_for(&self, number: usize, after: &str) {
        let address = self.house.addresses[number];
        let (stage, answers) = (self.stage, || {
            crate::crowd::is_answered(address, Duration::ZERO)
        });
        let is_back = becomes_true(BACK_MAX, || stage.is_broken_off() || answers());
        if !is_back {
            let log = tail(&self.house.logs[number].text());
            stage.violated(format!("node {number} does not answer {after}:\n{log}"));
        }
    }

    /// Waits until something was seen at least once: others may have been struck just before, and come back
    /// soon.
    fn seen_soon(&self, what: &str, times: impl Fn() -> u64) -> Result<(), String> {
        let is_seen = || self.stage.is_broken_off() || times() > 0;
        seen(what, becomes_true(SOON, is_seen).into())
    }

    fn pause(&self, time: Duration) {
        self.stage.sleep(time, Stage::is_broken_off);
    }
}

/// It was seen so often; an error, where that is never.
fn seen(what: &str, times: u64) -> Result<(), String> {
    (times > 0)
        .then_some(())
        .ok_or_else(|| format!("no {what}"))
}

/// The last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

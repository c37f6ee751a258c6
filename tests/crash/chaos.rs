//! The strikes: nodes killed with -9, PostgreSQL restarted in three ways, each at its time, while the
//! other may be away too.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::plan::{Stop, Strike};
use crate::stage::Stage;
use crate::support::postgres::Cluster;
use crate::support::process::Signal;
use crate::support::{Database, Node};
use crate::writers::{ORGANISATIONS, write_long};

/// How long an aimed strike waits for its moment: the other side may be away, and the clients have to
/// come back.
const AIM_MAX: Duration = Duration::from_secs(30);

/// Who strikes.
pub(crate) struct Chaos<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) database: &'a Database,
    /// One aims at a time, so that a long transaction belongs to one strike.
    pub(crate) aim: &'a Mutex<()>,
    pub(crate) began: Instant,
}

impl Chaos<'_> {
    /// Kills nodes and starts them again. Returns how many kills hit a long transaction.
    pub(crate) fn strike_nodes(&self, nodes: &mut [Node], strikes: &[Strike<usize>]) -> u64 {
        let _actor = self.stage.actor();
        let mut hits = 0;
        for strike in strikes {
            if !self.wait(strike.at) {
                break;
            }
            let hit = strike.aimed && self.take_aim();
            hits += u64::from(hit);
            self.say(&format!("kill -9 of node {}", strike.target), hit);
            let node = &mut nodes[strike.target];
            if !node.process().is_running() {
                let log = node.log();
                let tail: String = log.lines().rev().take(10).collect::<Vec<_>>().join("\n");
                self.stage
                    .violated(format!("node {} ended by itself:\n{tail}", strike.target));
                break;
            }
            node.process().kill();
            self.stage.sleep(strike.pause, Stage::is_broken_off);
            node.launch_again();
        }
        hits
    }

    /// Ends PostgreSQL and starts it again. Returns how many ends hit a long transaction.
    pub(crate) fn strike_postgres(&self, cluster: &Cluster, strikes: &[Strike<Stop>]) -> u64 {
        let _actor = self.stage.actor();
        let mut hits = 0;
        for strike in strikes {
            if !self.wait(strike.at) {
                break;
            }
            let hit = strike.aimed && self.take_aim();
            hits += u64::from(hit);
            match strike.target {
                Stop::Fast => {
                    self.say("PostgreSQL: stop -m fast", hit);
                    let took = cluster.stop(Signal::INT);
                    self.say(&format!("PostgreSQL: stopped after {took:.2?}"), false);
                }
                Stop::Immediate => {
                    self.say("PostgreSQL: stop -m immediate", hit);
                    cluster.stop(Signal::QUIT);
                }
                Stop::Kill => {
                    self.say("PostgreSQL: kill -9", hit);
                    cluster.kill();
                }
            }
            self.stage.sleep(strike.pause, Stage::is_broken_off);
            cluster.restart();
        }
        hits
    }

    /// Waits for a strike's time; says whether it is still to happen.
    fn wait(&self, at: Duration) -> bool {
        let left = at.saturating_sub(self.began.elapsed());
        self.stage.sleep(left, Stage::is_broken_off)
    }

    /// Writes long transactions until a client has seen the beginning of one. Says whether that came to
    /// pass.
    fn take_aim(&self) -> bool {
        let _aim = self.aim.lock().expect("nobody fails while aiming");
        let until = Instant::now() + AIM_MAX;
        while Instant::now() < until {
            let number = self.stage.number();
            let organisation = ORGANISATIONS[(number % 3) as usize];
            if write_long(self.database, organisation, number).is_ok() {
                let is_over = |stage: &Stage| stage.is_broken_off() || stage.has_seen_long(number);
                while Instant::now() < until && !is_over(self.stage) {
                    // Short, since the transaction may pass by.
                    std::thread::sleep(Duration::from_millis(1));
                }
                return self.stage.has_seen_long(number);
            }
            if !self
                .stage
                .sleep(Duration::from_millis(100), Stage::is_broken_off)
            {
                break;
            }
        }
        false
    }

    fn say(&self, what: &str, hit: bool) {
        let when = if hit { ", within a transaction" } else { "" };
        self.stage.say(&format!("{what}{when}"));
    }
}

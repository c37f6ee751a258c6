//! One server, its swarm and its load, from the server's start to its end: what the experiments are
//! written in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use swarm::{Opened, Report};

use crate::contestant::{Event, Running, Setting};
use crate::generator::{self, Flow, Generated, Sequences};
use crate::interrupt::sleep;
use crate::measure::{Sample, Used};
use crate::readers::Readers;

/// How long a server may go on delivering after its load has ended.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);

/// How long a server may take to read what was published before anybody listened.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// A server that runs, and those who read from it.
pub(crate) struct Stage {
    pub(crate) setting: Setting,
    pub(crate) running: Running,
    pub(crate) readers: Readers,
    pub(crate) sequences: Sequences,
}

/// What was seen while a load lasted, after its warm-up.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What arrived within the measured time.
    pub(crate) report: Report,
    /// What the server used.
    pub(crate) server: Used,
    /// What the processes beside it used.
    pub(crate) beside: Used,
    /// What the swarm used.
    pub(crate) swarm: Used,
    /// The server's resident memory at the end of it, in bytes.
    pub(crate) rss: u64,
    /// The same without pages of files.
    pub(crate) memory: u64,
    /// How many events were published, in the warm-up too, and how late.
    pub(crate) generated: Generated,
    /// What arrived until the server had nothing more to deliver: gaps count here.
    pub(crate) drained: Report,
    /// Whether every stream had every event in time.
    pub(crate) is_complete: bool,
}

impl Loaded {
    /// Deliveries per second.
    pub(crate) fn deliveries_per_second(&self) -> f64 {
        self.report.events as f64 / self.report.seconds
    }

    /// The latency that this many of a hundred deliveries do not exceed.
    pub(crate) fn latency_ms(&self, percentile: f64) -> f64 {
        self.report.latency().percentile_milliseconds(percentile)
    }

    /// The server's CPU time per delivery, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.server.cpu * 1e6 / self.report.events as f64
    }

    /// How long an event is on the wire, with its framing, in bytes.
    pub(crate) fn block_bytes(&self) -> f64 {
        self.report.bytes as f64 / self.report.events as f64
    }
}

/// All samples of one moment.
struct Moment {
    server: Sample,
    beside: Sample,
    swarm: Sample,
}

impl Stage {
    /// Takes a server that runs, and starts its swarm.
    pub(crate) fn new(running: Running, setting: Setting) -> Result<Self> {
        let readers = Readers::start(&running.target, setting.streams, &setting.cores.load)
            .context("the swarm does not start")?;
        Ok(Self {
            setting,
            running,
            readers,
            sequences: Sequences::default(),
        })
    }

    /// Opens streams as fast as the server answers.
    pub(crate) fn open(&mut self, first: u32, streams: u32) -> Result<Opened> {
        self.readers.open(first, streams, 0)
    }

    /// CPU and memory of the server so far.
    pub(crate) fn sample(&self) -> Sample {
        Sample::take(&self.running.server_ids(), &self.running.beside_ids())
    }

    /// Publishes one event for each of these organisations, now.
    pub(crate) fn publish(&mut self, organisations: &[u32]) -> Result<()> {
        let at = swarm::monotonic_nanoseconds();
        let events: Vec<Event> = organisations
            .iter()
            .map(|number| self.sequences.event(*number, at))
            .collect();
        self.running
            .publisher
            .publish(&events)
            .context("publishing")
    }

    /// Publishes an event for each of these organisations, and opens so many streams once the server has read them:
    /// a node reads its rows when they are committed already, and would end streams that come in the midst of more
    /// than its log holds. The first stream watches, and its organisation is never more events ahead of it than it
    /// can read.
    pub(crate) fn open_after(&mut self, before: &[u32], streams: u32) -> Result<()> {
        /// How many events are handed over together.
        const AT_ONCE: usize = 100;
        /// By how many it may be ahead: less than a tenth of what the smallest log holds.
        const AHEAD_MAX: u64 = 500;
        /// How long it waits then: Nchan numbers at most 32,768 messages of a second, and delivers none beyond.
        const PAUSE: Duration = Duration::from_millis(5);
        let watched = self.setting.layout.organisation(0);
        self.open(0, 1)?;
        self.readers.record()?;
        let mut due = 0;
        for some in before.chunks(AT_ONCE) {
            self.publish(some)?;
            due += some.iter().filter(|it| **it == watched).count() as u64;
            self.await_events(due.saturating_sub(AHEAD_MAX))?;
            sleep(PAUSE)?;
        }
        // Behind all of them is one that is seen.
        self.publish(&[watched])?;
        self.running.publisher.settle().context("publishing")?;
        self.await_events(due + 1)?;
        self.open(1, streams - 1)?;
        Ok(())
    }

    /// Waits until so many events have arrived since the last `record`, those counted that were lost on the way.
    fn await_events(&mut self, count: u64) -> Result<()> {
        let began = Instant::now();
        loop {
            let Report { events, gaps, .. } = self.readers.report()?;
            if events + gaps >= count {
                return Ok(());
            }
            if began.elapsed() > READ_WITHIN {
                bail!("the server has not read everything after {READ_WITHIN:?}");
            }
            sleep(Duration::from_millis(2))?;
        }
    }

    /// Publishes an event for an organisation that has streams, and waits until one of them has it: what
    /// was published before, the server has read by then.
    pub(crate) fn catch_up(&mut self, organisation: u32) -> Result<()> {
        self.readers.record()?;
        self.publish(&[organisation])?;
        self.running.publisher.settle().context("publishing")?;
        self.await_events(1)
    }

    /// Publishes at fixed rates, lets `warm_up` pass, measures for `measured`, and waits until
    /// everything has arrived or [`DRAIN_WITHIN`] has passed.
    pub(crate) fn load(
        &mut self,
        flows: &[Flow],
        warm_up: Duration,
        measured: Duration,
    ) -> Result<Loaded> {
        self.readers.record()?;
        let stop = AtomicBool::new(false);
        let Self {
            running,
            readers,
            sequences,
            ..
        } = self;
        let (server, beside) = (running.server_ids(), running.beside_ids());
        let publisher = running.publisher.as_mut();
        let moment = |readers: &Readers| Moment {
            server: Sample::take(&server, &beside),
            beside: Sample::take(&beside, &[]),
            swarm: Sample::take(&readers.ids(), &[]),
        };
        let (measurement, generated) = std::thread::scope(|scope| {
            let load = scope.spawn(|| generator::run(publisher, sequences, flows, &stop));
            // The load ends also where a measurement fails.
            let measurement = (|| {
                sleep(warm_up)?;
                readers.record()?;
                let before = moment(readers);
                sleep(measured)?;
                let report = readers.report()?;
                Ok::<_, anyhow::Error>((before, report, moment(readers)))
            })();
            stop.store(true, Ordering::Relaxed);
            (measurement, load.join())
        });
        let generated = generated
            .map_err(|_| anyhow!("the generator panicked: see its message above"))?
            .context("publishing at a fixed rate")?;
        let (before, report, after) = measurement?;
        self.running.check()?;
        let (drained, is_complete) = self.drain()?;
        Ok(Loaded {
            report,
            server: after.server.since(&before.server),
            beside: after.beside.since(&before.beside),
            swarm: after.swarm.since(&before.swarm),
            rss: after.server.rss,
            memory: after.server.memory,
            generated,
            drained,
            is_complete,
        })
    }

    /// Waits until nothing more arrives: what was counted since the last `record`, and whether no
    /// stream is behind.
    pub(crate) fn drain(&mut self) -> Result<(Report, bool)> {
        const QUIET: Duration = Duration::from_millis(300);
        let deadline = Instant::now() + DRAIN_WITHIN;
        let mut report = self.readers.report()?;
        loop {
            sleep(QUIET)?;
            let next = self.readers.report()?;
            let is_quiet = next.events == report.events;
            report = next;
            if is_quiet && report.behind == 0 {
                return Ok((report, true));
            }
            if Instant::now() > deadline {
                return Ok((report, false));
            }
        }
    }
}

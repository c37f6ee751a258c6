//! 2: what one event costs, and when its last reader has it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use swarm::{Layout, Until};

use super::Experiment;
use crate::bench::Bench;
use crate::cell::Figures;
use crate::interrupt::sleep;
use crate::measure::Sample;
use crate::plan::{Ask, Field, Plan};
use crate::report::{Bar, Budget, Column, Plot, number};
use crate::stage::Stage;
use crate::statistics::median;

const FLOOR: &str = "floor-send";

/// How many readers there are.
const SIZES: [u32; 2] = [10_000, 1_000];

/// How long the last reader may wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing happens between two events.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Delivery;

fn variant(streams: u32) -> String {
    format!("{} streams", number(streams.into(), 0))
}

impl Experiment for Delivery {
    fn number(&self) -> u32 {
        2
    }

    fn name(&self) -> &'static str {
        "delivery"
    }

    fn title(&self) -> &'static str {
        "One event to many streams"
    }

    fn about(&self) -> &'static str {
        "All streams are of one organisation; one event of 300 B is published, and the next when \
         every stream has it. CPU is the time of all the server's threads, by delivery: the median \
         over the events. The last reader's time is from before the publication until the swarm, \
         which looks every millisecond, has read it. Then half of the streams, in blocks drawn at \
         random, are replaced by new ones, and it is done again: in the full run each for half of a cell's \
         time."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        let large = plan.warm_up + measured(plan, true) * 2;
        let small = plan.warm_up + measured(plan, false);
        let mut asks = Vec::new();
        for entrant in plan.entrants(Field::WithPeers, &[FLOOR]) {
            let opening = Duration::from_secs(3);
            asks.push(Ask::of(entrant, variant(SIZES[0]), opening * 2 + large));
            asks.push(Ask::of(entrant, variant(SIZES[1]), opening + small));
        }
        asks
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        let is_large = bench.ask.variant == variant(SIZES[0]);
        let streams = bench
            .plan
            .streams(if is_large { SIZES[0] } else { SIZES[1] });
        let layout = Layout::Equal {
            streams_per_organisation: streams,
        };
        let mut stage = bench.start(streams, layout)?;
        stage.open(0, streams)?;
        let mut figures = Figures::default();
        Rounds::play(&mut stage, streams, bench.plan.warm_up)?;
        let measured = measured(bench.plan, is_large);
        let rounds = Rounds::play(&mut stage, streams, measured)?;
        figures.set_some("cpu_us", median(&rounds.cpu_us));
        figures.set_some("last_ms", median(&rounds.last_ms));
        figures.set(
            "worst_last_ms",
            rounds.last_ms.iter().copied().fold(0.0, f64::max),
        );
        figures.set("system_percent", rounds.system_percent);
        figures.set("block_bytes", rounds.bytes / rounds.deliveries);
        figures.set("rounds", rounds.cpu_us.len() as f64);
        if is_large {
            // Whoever cannot bring them back has its figures of before all the same.
            let replaced = replace_half(&mut stage, streams)
                .and_then(|()| Rounds::play(&mut stage, streams, measured));
            match replaced {
                Ok(rounds) => {
                    figures.set_some("cpu_replaced_us", median(&rounds.cpu_us));
                    figures.set_some("last_replaced_ms", median(&rounds.last_ms));
                }
                Err(error) => figures.note(format!("after half were replaced: {error:#}")),
            }
        }
        Ok(figures)
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("CPU, µs per delivery", "cpu_us", 2),
            Column::new("… half replaced", "cpu_replaced_us", 2),
            Column::new("of it the kernel's, %", "system_percent", 0),
            Column::new("last reader, ms", "last_ms", 1),
            Column::new("… half replaced", "last_replaced_ms", 1),
            Column::new("… the worst event", "worst_last_ms", 1),
            Column::new("on the wire, B", "block_bytes", 0),
        ]
    }

    fn plot(&self) -> Plot {
        Plot::bars("CPU, µs per delivery", "cpu_us", 1.0)
    }

    fn budgets(&self) -> Vec<Budget> {
        let budget = |title, figure| Budget {
            title,
            variant: variant(SIZES[0]),
            figure,
            bar: Bar::MostTimes(1.10, FLOOR),
            unit: "",
        };
        vec![
            budget("CPU per delivery, one event to 10,000 streams", "cpu_us"),
            budget("… after half of them were replaced", "cpu_replaced_us"),
        ]
    }
}

/// How long events are published before half of the streams are replaced, and afterwards again.
fn measured(plan: &Plan, is_replaced: bool) -> Duration {
    plan.measured_of(if is_replaced { 2 } else { 1 })
}

/// What was seen of each event.
#[derive(Default)]
struct Rounds {
    cpu_us: Vec<f64>,
    /// Over all of them: the clock that tells user from system is too coarse for one.
    system_percent: f64,
    last_ms: Vec<f64>,
    deliveries: f64,
    bytes: f64,
}

impl Rounds {
    /// Publishes one event after the other for so long, and at least three.
    fn play(stage: &mut Stage, streams: u32, for_so_long: Duration) -> Result<Self> {
        const LEAST: usize = 3;
        let mut rounds = Self::default();
        let began = Instant::now();
        let first = stage.sample();
        while began.elapsed() < for_so_long || rounds.cpu_us.len() < LEAST {
            let before = stage.sample();
            rounds.play_one(stage, streams, &before)?;
            sleep(PAUSE)?;
        }
        rounds.system_percent = stage.sample().since(&first).system_share * 100.0;
        stage.running.check()?;
        Ok(rounds)
    }

    fn play_one(&mut self, stage: &mut Stage, streams: u32, before: &Sample) -> Result<()> {
        stage.readers.record()?;
        let began = Instant::now();
        stage.publish(&[0])?;
        // Asking costs the readers time, so they are asked only when the event should have arrived.
        let expected_ms = self.last_ms.last().copied().unwrap_or(0.0);
        sleep(Duration::from_secs_f64(expected_ms * 1.2 / 1e3))?;
        let report = loop {
            let report = stage.readers.report()?;
            if report.events >= u64::from(streams) {
                break report;
            }
            if began.elapsed() > PATIENCE {
                let missing = u64::from(streams) - report.events;
                bail!("an event did not reach {missing} of {streams} streams in {PATIENCE:?}");
            }
            sleep(Duration::from_millis(20))?;
        };
        stage.running.publisher.settle()?;
        let used = stage.sample().since(before);
        self.cpu_us.push(used.cpu * 1e6 / f64::from(streams));
        self.last_ms.push(report.latency().max_milliseconds());
        self.deliveries += report.events as f64;
        self.bytes += report.bytes as f64;
        Ok(())
    }
}

/// Replaces every other block of streams, in an order that has nothing to do with their numbers, so
/// that places which were given back are taken again by whoever comes next.
fn replace_half(stage: &mut Stage, streams: u32) -> Result<()> {
    const BLOCKS: u32 = 200;
    let size = streams.div_ceil(BLOCKS);
    for first in blocks(streams, size) {
        let came =
            stage
                .readers
                .reconnect(first, size.min(streams - first), false, &Until::new(), 60)?;
        if came.opened < came.streams {
            bail!(
                "of {} streams that were replaced {} opened",
                came.streams,
                came.opened
            );
        }
    }
    Ok(())
}

/// The first streams of every other block of this size, shuffled, the same way each time.
fn blocks(streams: u32, size: u32) -> Vec<u32> {
    let mut blocks: Vec<u32> = (0..streams).step_by(2 * size as usize).collect();
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for place in (1..blocks.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        blocks.swap(place, (random % (place as u64 + 1)) as usize);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_streams_are_replaced_and_not_in_order() {
        let shuffled = blocks(10_000, 50);
        assert!(!shuffled.is_sorted());
        let mut sorted = shuffled.clone();
        sorted.sort_unstable();
        let expected: Vec<u32> = (0..100).map(|number| number * 100).collect();
        assert_eq!(sorted, expected);
    }
}

//! The load: events at fixed rates, whatever becomes of them (an open loop).
//!
//! Every event carries the time at which it was due, not the one at which it went out, so that
//! neither a server that takes events slowly nor a generator that comes late makes latencies look
//! shorter. How late it came is reported.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use swarm::{Latencies, monotonic_nanoseconds as now};

use crate::contestant::{Event, Publisher};

/// The generator works in steps of this length.
const TICK_NANOSECONDS: u64 = 1_000_000;

/// How many events are handed over at once where the generator came late.
const BATCH_MAX: usize = 4_096;

/// A part of the load: so many events a second, for these organisations in turn.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) per_second: f64,
    pub(crate) organisations: Vec<u32>,
}

/// How many events every organisation was sent: their sequence numbers go on over several loads.
#[derive(Debug, Default)]
pub(crate) struct Sequences(Vec<u64>);

impl Sequences {
    /// The next event of an organisation.
    pub(crate) fn event(&mut self, organisation: u32, at: u64) -> Event {
        let place = organisation as usize;
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        self.0[place] += 1;
        Event {
            organisation,
            sequence: self.0[place],
            at,
        }
    }

    /// The number of an organisation's newest event; 0 before the first.
    pub(crate) fn newest(&self, organisation: u32) -> u64 {
        self.0.get(organisation as usize).copied().unwrap_or(0)
    }
}

/// What a generator did.
#[derive(Clone, Debug)]
pub(crate) struct Generated {
    /// Events that were handed over.
    pub(crate) events: u64,
    /// How long after its time each tick began to be handed over.
    pub(crate) late: Latencies,
}

/// Publishes until it is told to stop.
pub(crate) fn run(
    publisher: &mut dyn Publisher,
    sequences: &mut Sequences,
    flows: &[Flow],
    stop: &AtomicBool,
) -> io::Result<Generated> {
    let mut late = Latencies::default();
    let mut schedules: Vec<Schedule> = flows.iter().map(Schedule::new).collect();
    let began = now();
    let (mut tick, mut events, mut count) = (0, Vec::with_capacity(BATCH_MAX), 0);
    while !stop.load(Ordering::Relaxed) {
        let elapsed = now() - began;
        if elapsed < (tick + 1) * TICK_NANOSECONDS {
            std::thread::sleep(Duration::from_nanos(
                (tick + 1) * TICK_NANOSECONDS - elapsed,
            ));
            continue;
        }
        events.clear();
        while (tick + 1) * TICK_NANOSECONDS <= now() - began && events.len() < BATCH_MAX {
            tick += 1;
            let due = tick * TICK_NANOSECONDS;
            for schedule in &mut schedules {
                schedule.take_due(due, |organisation| {
                    events.push(sequences.event(organisation, began + due));
                });
            }
            late.record_nanoseconds(now() - began - due);
        }
        publisher.publish(&events)?;
        count += events.len() as u64;
    }
    Ok(Generated {
        events: count,
        late,
    })
}

/// Which events of a flow are due.
struct Schedule<'a> {
    flow: &'a Flow,
    taken: u64,
}

impl<'a> Schedule<'a> {
    fn new(flow: &'a Flow) -> Self {
        Self { flow, taken: 0 }
    }

    /// Hands over the organisation of every event that is due so many nanoseconds after the beginning.
    fn take_due(&mut self, after: u64, mut take: impl FnMut(u32)) {
        let due = (self.flow.per_second * after as f64 / 1e9) as u64;
        for number in self.taken..due {
            let organisations = &self.flow.organisations;
            take(organisations[(number % organisations.len() as u64) as usize]);
        }
        self.taken = due;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_gives_exactly_its_rate_whatever_the_steps() {
        let flow = Flow {
            per_second: 333.0,
            organisations: vec![7, 8],
        };
        let mut schedule = Schedule::new(&flow);
        let mut taken = Vec::new();
        for after in [
            1_000_000,
            1_500_000,
            500_000_000,
            999_000_000,
            1_000_000_000,
        ] {
            schedule.take_due(after, |organisation| taken.push(organisation));
        }
        assert_eq!(taken.len(), 333);
        assert!(taken.chunks(2).all(|pair| pair == &[7, 8][..pair.len()]));
    }

    #[test]
    fn sequences_go_on_for_each_organisation() {
        let mut sequences = Sequences::default();
        let numbers = [3, 0, 3].map(|organisation| sequences.event(organisation, 0).sequence);
        assert_eq!(numbers, [1, 1, 2]);
        assert_eq!(
            [0, 1, 3, 4].map(|organisation| sequences.newest(organisation)),
            [1, 0, 2, 0]
        );
    }

    #[test]
    fn events_carry_the_time_at_which_they_were_due() {
        struct Late(Vec<(u64, u64)>);
        impl Publisher for Late {
            fn publish(&mut self, events: &[Event]) -> io::Result<()> {
                self.0.extend(events.iter().map(|event| (event.at, now())));
                std::thread::sleep(Duration::from_millis(20));
                Ok(())
            }
        }
        let (mut publisher, stop) = (Late(Vec::new()), AtomicBool::new(false));
        let flows = [Flow {
            per_second: 1_000.0,
            organisations: vec![0],
        }];
        let generated = std::thread::scope(|scope| {
            let load = scope
                .spawn(|| run(&mut publisher, &mut Sequences::default(), &flows, &stop).unwrap());
            std::thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
            load.join().unwrap()
        });
        // One event a tick, a tick apart, though they went out in lots.
        assert!(
            publisher
                .0
                .windows(2)
                .all(|pair| pair[1].0 - pair[0].0 == TICK_NANOSECONDS)
        );
        assert!(publisher.0.iter().all(|(due, sent)| due <= sent));
        assert_eq!(generated.events, publisher.0.len() as u64);
        let late = generated.late.max_milliseconds();
        assert!(late >= 15.0, "{late} ms");
    }
}

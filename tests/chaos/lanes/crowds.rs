//! Those who come as crowds, to a node that is up. One that hardly anybody was part of is none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Lane, seen};
use crate::crowd::{self, is_crowd};
use crate::faults::Fault;
use crate::hostile;
use crate::random::Random;
use crate::sluggish::{Pace, read_sluggishly};
use crate::storm::Storm;
use crate::support::{Request, becomes_true};
use crate::writers::ORGANISATIONS;

/// How long somebody publishes as fast as it can, and how many answers that is, or half as many.
const FLOOD: Duration = Duration::from_secs(3);
const FLOOD_ANSWERS: usize = 200;

/// How long a crowd waits for a node to be ready.
const READY_MAX: Duration = Duration::from_secs(20);

/// Who stalls for longer than this has been found out.
const STALLED_MAX: Duration = Duration::from_secs(32);

impl Lane<'_> {
    /// Comes as a crowd.
    pub(crate) fn strike_as_a_crowd(&self, mut random: Random) {
        let kinds = [
            Fault::SlowHeads,
            Fault::SlowReaders,
            Fault::StalledReaders,
            Fault::ReconnectStorm,
            Fault::PublishFlood,
            Fault::HostileRequests,
        ];
        self.strike(&kinds, &mut random, |fault, time, random| {
            let number = random.below(self.house.addresses.len() as u64) as usize;
            self.wait_for(number, &format!("before {fault}"));
            // To one that is not ready nobody comes back, and nothing is published.
            let ready = Request::get("/readyz").bytes();
            let is_ready = || crowd::status_of(self.house.addresses[number], &ready) == Some(200);
            if !becomes_true(READY_MAX, || self.stage.is_broken_off() || is_ready()) {
                return Err("the node is not ready".to_owned());
            }
            let came = self.come(fault, number, time, random);
            self.wait_for(number, &format!("after {fault}"));
            came
        });
    }

    fn come(
        &self,
        fault: Fault,
        number: usize,
        time: Duration,
        random: &mut Random,
    ) -> Result<(), String> {
        let (house, stage, crowd) = (self.house, self.stage, self.crowd);
        let address = house.addresses[number];
        match fault {
            Fault::SlowHeads => {
                let heads = crowd::slow_heads(address, crowd, stage, || self.is_still(number));
                is_crowd("slow heads", self.kept(heads)?, crowd)
            }
            Fault::SlowReaders | Fault::StalledReaders => {
                let pace = match fault {
                    Fault::SlowReaders => Pace::Slow,
                    _ => Pace::Stalled,
                };
                let readers = read_sluggishly(address, crowd, pace, time, house, stage);
                let readers = self.kept(readers)?;
                stage.say(&format!("{readers:?}"));
                is_crowd("who asked", readers.asked, crowd)?;
                is_crowd("streams", readers.streams, crowd)?;
                seen("byte was read", readers.bytes as u64)?;
                // Who takes nothing for long is closed, if there is something to take.
                let is_long = pace == Pace::Stalled && time > STALLED_MAX;
                is_crowd(
                    "were found out",
                    readers.ended,
                    if is_long { readers.streams } else { 0 },
                )
            }
            Fault::ReconnectStorm => {
                let storm = Storm::blow(address, crowd, house, stage);
                let storm = self.kept(storm)?;
                stage.say(&format!("{storm:?}"));
                storm.is_one(crowd)
            }
            Fault::PublishFlood => {
                let organisation = *random.pick(&ORGANISATIONS);
                let marker = house.markers.of(organisation);
                let flood = crowd::publish_flood(address, organisation, marker, FLOOD, stage);
                let published = self.kept(flood)?;
                stage.say(&format!("{published:?}"));
                let answered = [&published.taken, &published.limited]
                    .map(|counter| counter.load(Ordering::Relaxed));
                let answered: u64 = answered.iter().sum();
                is_crowd("answers", answered as usize, FLOOD_ANSWERS)
            }
            _ => {
                let foreign = house.markers.foreign(house.users[0].0);
                let (judged, cases, wrong) = hostile::try_all_whatever_happens(address, foreign);
                stage.say(&format!("{judged} of {cases} hostile requests answered"));
                wrong.into_iter().for_each(|wrong| stage.violated(wrong));
                is_crowd("hostile requests answered", judged, cases)
            }
        }
    }

    /// What came of it; a promise that was not kept is a violation.
    fn kept<T>(&self, result: Result<T, String>) -> Result<T, String> {
        result.inspect_err(|error| self.stage.violated(error.clone()))
    }
}

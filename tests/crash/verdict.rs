//! The verdict: what the clients have seen against what the oracle says they must have seen. Nothing
//! missing, nothing that did not happen, nothing changed, in the order of the commits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::expectation::{self, Expected};
use crate::oracle::Transaction;
use crate::support::position::Position;

/// How many differences of a kind are shown.
const SHOWN: usize = 3;

/// What is said of an event that a client has not seen.
pub(crate) const MISSED: &str = "has missed";

/// A place in the order of commits: which transaction, and which change of it.
pub(crate) type Place = (usize, u64);

/// Everything that must have been seen.
pub(crate) struct Truth<'a> {
    transactions: &'a [Transaction],
    /// By organisation and place.
    expected: BTreeMap<String, BTreeMap<Place, Value>>,
}

impl<'a> Truth<'a> {
    pub(crate) fn new(transactions: &'a [Transaction]) -> Self {
        let mut expected: BTreeMap<String, BTreeMap<Place, Value>> = BTreeMap::new();
        for (number, transaction) in transactions.iter().enumerate() {
            for (index, line) in (1..).zip(&transaction.changes) {
                for Expected {
                    organisation,
                    event,
                } in expectation::of_change(line)
                {
                    let events = expected.entry(organisation).or_default();
                    events.insert((number, index), event);
                }
            }
        }
        Self {
            transactions,
            expected,
        }
    }

    /// How many events an organisation must have seen.
    pub(crate) fn events(&self, organisation: &str) -> usize {
        self.expected.get(organisation).map_or(0, BTreeMap::len)
    }

    /// Compares what all clients of an organisation have seen together, and says what is wrong with
    /// it.
    pub(crate) fn judge_events(
        &self,
        organisation: &str,
        events: &BTreeMap<Position, String>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let nothing = BTreeMap::new();
        let expected = self.expected.get(organisation).unwrap_or(&nothing);
        let homes: BTreeSet<(u64, u64)> = events.keys().map(|p| (p.epoch, p.timeline)).collect();
        if homes.len() > 1 {
            wrong.push(format!(
                "{organisation}: ids of several histories: {homes:?}"
            ));
        }
        for (position, data) in events {
            let place = self.place(*position);
            let Some(truth) = place.and_then(|place| expected.get(&place)) else {
                wrong.push(format!("{organisation}: never happened: {data}"));
                continue;
            };
            let mut event: Value = serde_json::from_str(data).expect("events are JSON");
            let members = event.as_object_mut().expect("events are objects");
            members.remove("id");
            let timestamp = members.remove("timestamp");
            let at = &self.transactions[place.expect("it was found").0].at;
            if event != *truth || timestamp != Some(milliseconds(at).into()) {
                wrong.push(format!(
                    "{organisation}: {data}\n  instead of {truth} at {at}"
                ));
            }
        }
        shorten(wrong)
    }

    /// What one client has missed, but for the gaps that it was told of: where it was told to start anew,
    /// the last position before, and the one from which it went on.
    pub(crate) fn missing(
        &self,
        organisation: &str,
        positions: &[Position],
        gaps: &[(Option<Position>, Position)],
    ) -> Vec<Place> {
        // That they ascend was seen to while they came.
        let seen: BTreeSet<Place> = positions.iter().filter_map(|it| self.place(*it)).collect();
        let is_told = |place: &Place| {
            gaps.iter().any(|(last, from)| {
                let is_after = last.is_none_or(|last| self.place(last) < Some(*place));
                is_after && self.place(*from).is_none_or(|from| *place <= from)
            })
        };
        let expected = self.expected.get(organisation).into_iter().flatten();
        let places = expected.map(|(place, _)| *place);
        places
            .filter(|place| !seen.contains(place) && !is_told(place))
            .collect()
    }

    /// Says what a client has missed, if it has.
    pub(crate) fn describe(
        &self,
        organisation: &str,
        user: &str,
        missing: &[Place],
    ) -> Option<String> {
        let (number, index) = missing.first()?;
        let event = &self.expected[organisation][&(*number, *index)];
        let transaction = &self.transactions[*number];
        Some(format!(
            "{user} of {organisation} {MISSED} {} events, the first for change {index} of {} in the \
             transaction that ends at {:x} ({}): {event}",
            missing.len(),
            transaction.changes.len(),
            transaction.end,
            transaction.at
        ))
    }

    /// Which change an id means: its position lies after the end of the transaction before, and before
    /// the end of its own.
    fn place(&self, position: Position) -> Option<Place> {
        let number = self
            .transactions
            .partition_point(|transaction| transaction.end <= position.lsn);
        (number < self.transactions.len()).then_some((number, position.index))
    }
}

/// The first few, and how many there are.
fn shorten(mut wrong: Vec<String>) -> Vec<String> {
    let count = wrong.len();
    if count > SHOWN {
        wrong.truncate(SHOWN);
        wrong.push(format!("... {count} in all"));
    }
    wrong
}

/// Milliseconds since 1970 of a time as PostgreSQL writes it in UTC: `2026-01-05 12:34:56.123456+00`.
fn milliseconds(at: &str) -> u64 {
    let numbers: Vec<u64> = at
        .trim_end_matches("+00")
        .split(['-', ' ', ':', '.'])
        .map(|digits| digits.parse().expect("a time consists of numbers"))
        .collect();
    let [year, month, day, hour, minute, second, ref fraction @ ..] = numbers[..] else {
        panic!("not a time: {at}");
    };
    // PostgreSQL leaves zeros at the end of the fraction out.
    let milliseconds = match fraction {
        [] => 0,
        _ => {
            let (_, digits) = at
                .trim_end_matches("+00")
                .rsplit_once('.')
                .expect("it has one");
            let digits = format!("{digits:0<3}");
            digits[..3].parse().expect("digits")
        }
    };
    // Days since 1970 of the first of March of that year, in years that begin with March.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1;
    let days_until_1970 = 719_468;
    let seconds = (((days - days_until_1970) * 24 + hour) * 60 + minute) * 60 + second;
    seconds * 1_000 + milliseconds
}

#[test]
fn times_of_postgresql_are_read() {
    assert_eq!(milliseconds("1970-01-01 00:00:00+00"), 0);
    assert_eq!(milliseconds("2000-02-29 23:59:59.5+00"), 951_868_799_500);
    assert_eq!(
        milliseconds("2026-01-05 12:34:56.123456+00"),
        1_767_616_496_123
    );
}

//! A delivery allocates nothing: what an event costs in allocations is the same however many receive
//! it, whatever the class, the format, and the road by which they do.

use wire::{Filter, Format, Name, Topic, TypePattern};

use crate::house::{House, Terms, organisation};
use crate::{allocations, house_of};

const FEW: usize = 300;
const MANY: usize = 3_000;
/// How often a list doubles on its way from few to many.
const DOUBLINGS_MAX: u64 = 6;
const ACME: fn() -> Topic = || Topic::Organisation(organisation("acme"));

/// A round of the same work in a house of few and in one of many streams allocates as often, but for
/// the doublings of a list. What a burst needs once is there after some rounds.
#[track_caller]
fn assert_same(
    what: &str,
    terms: impl Fn(usize, Terms) -> Terms + Copy,
    round: impl Fn(&mut House) -> Round,
) {
    let play = |streams| {
        let mut house = house_of(streams, terms);
        let rounds: Vec<u64> = (0..24)
            .map(|_| {
                let before = house.engine.counters().deliveries;
                let Round { events, spent } = round(&mut house);
                let deliveries = house.engine.counters().deliveries - before;
                assert_eq!(deliveries, events * streams as u64, "{what}");
                spent
            })
            .collect();
        rounds[4..].to_vec()
    };
    let (few, many) = (play(FEW), play(MANY));
    for (few, many) in few.into_iter().zip(many) {
        assert!(
            many <= few + DOUBLINGS_MAX,
            "{what}: {few} allocations for {FEW}, {many} for {MANY}"
        );
        assert!(many < 20, "{what}: {many}");
    }
}

/// What a round delivered to each stream, and how many allocations it took.
struct Round {
    events: u64,
    spent: u64,
}

/// A transaction of two events, delivered at once.
fn two_events(house: &mut House) -> Round {
    let batch = house.commit(ACME(), 2, 100);
    let spent = allocations(|| house.take(batch));
    Round { events: 2, spent }
}

#[test]
fn an_event_in_every_format() {
    for format in [Format::Event, Format::Data, Format::Named] {
        let terms = |_, terms| Terms { format, ..terms };
        assert_same(&format!("{format:?}"), terms, two_events);
    }
}

#[test]
fn a_lone_event() {
    let round = |house: &mut House| {
        let batch = house.commit(ACME(), 1, 100);
        let spent = allocations(|| house.take(batch));
        Round { events: 1, spent }
    };
    assert_same("one event", |_, terms| terms, round);
}

#[test]
fn classes_that_filter_by_channel_and_type() {
    let name = |text: &str| Name::new(text).expect("a name");
    let filters = [
        Filter::default(),
        Filter::new(vec![name("property"), name("client")], vec![], vec![]),
        Filter::new(vec![], vec![TypePattern::new(name("property"))], vec![]),
        Filter::new(
            vec![name("property")],
            vec![TypePattern::new(name("*"))],
            vec![],
        ),
    ];
    let terms = |number: usize, terms| Terms {
        filter: filters[number % filters.len()].clone(),
        format: [Format::Event, Format::Data][number / 4 % 2],
        ..terms
    };
    assert_same("eight classes", terms, two_events);
}

#[test]
fn classes_for_which_an_event_is_not() {
    let mut house = house_of(MANY, |_, terms| Terms {
        filter: Filter::new(vec![Name::new("client").expect("a name")], vec![], vec![]),
        ..terms
    });
    for _ in 0..8 {
        two_events(&mut house);
    }
    assert_eq!(house.engine.counters().deliveries, 0);
    let Round { spent, .. } = two_events(&mut house);
    assert!(spent < 10, "{spent} allocations for nobody");
}

#[test]
fn transactions_that_arrived_during_a_sweep_go_out_as_one_slice() {
    let round = |house: &mut House| {
        let batches: Vec<_> = (0..6).map(|_| house.commit(ACME(), 3, 200)).collect();
        house.sockets.sends = 0;
        let streams = house.engine.counters().streams as usize;
        let spent = allocations(|| {
            for batch in batches {
                house
                    .engine
                    .handle_batch(house.now, batch, &mut house.sockets);
            }
            house.settle();
        });
        assert_eq!(house.sockets.sends, streams, "one send for all of them");
        Round { events: 18, spent }
    };
    for format in [Format::Event, Format::Data, Format::Named] {
        let terms = |_, terms| Terms { format, ..terms };
        assert_same(&format!("a slice of {format:?}"), terms, round);
    }
}

#[test]
fn members_that_are_behind_and_catch_up() {
    for takes in [0, 10, 150] {
        let round = |house: &mut House| {
            let batches: Vec<_> = (0..3).map(|_| house.commit(ACME(), 2, 100)).collect();
            let streams = house.engine.counters().streams as usize;
            // The kernel's list of those that wait is not the engine's.
            house.sockets.blocked.reserve(streams);
            let mut spent = 0;
            house.sockets.takes_at_most = Some(takes);
            for batch in batches {
                spent += allocations(|| house.take(batch));
            }
            assert_eq!(house.sockets.blocked.len(), streams, "everybody is full");
            house.sockets.takes_at_most = None;
            spent += allocations(|| {
                house.unblock();
                house.settle();
            });
            Round { events: 6, spent }
        };
        let what = format!("those whose sockets took {takes} bytes");
        for format in [Format::Event, Format::Named] {
            let terms = |_, terms| Terms { format, ..terms };
            assert_same(&what, terms, round);
        }
    }
}

#[test]
fn organisations_of_one_group_each() {
    // Forty small organisations, or four hundred: what one of them costs is what each costs.
    let spent = |organisations: usize| {
        let mut house = House::new(crate::LOG_BYTES_MAX);
        for number in 0..organisations * 5 {
            let organisation = organisation(&(number % organisations).to_string());
            house.open(Terms::of(organisation, crate::user(number)));
        }
        let mut round = || {
            let batch = house.commit(Topic::Global, 1, 100);
            let before = house.engine.counters().deliveries;
            let spent = allocations(|| house.take(batch));
            let deliveries = house.engine.counters().deliveries - before;
            assert_eq!(deliveries, organisations as u64 * 5);
            spent
        };
        (0..8).map(|_| round()).last()
    };
    assert_eq!(spent(40), spent(400), "allocations for 40, and for 400");
}

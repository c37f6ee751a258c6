//! The engine's own tables: what one of them says of a connection, the others have to say too.

use std::collections::BTreeSet;

use wire::Key;

use super::kernel::Kernel;
use super::past::Past;
use crate::Engine;
use crate::record::{Bits, NONE, State};
use crate::time::Tick;

/// Holds every table against every other.
pub(super) fn check(engine: &Engine, kernel: &Kernel, past: &Past) {
    let slots: Vec<u32> = (0..engine.table.end())
        .filter(|slot| engine.table[*slot].state != State::Free)
        .collect();
    let sockets = kernel.sockets.values();
    let held = sockets.filter(|socket| !socket.is_released).count();
    assert_eq!(slots.len(), held, "a connection for every socket");
    assert_eq!(engine.table.len() as usize, held);
    slots.iter().for_each(|slot| check_record(engine, *slot));
    check_sides(engine, &slots);
    check_classes(engine, &slots);
    check_users(engine, &slots);
    check_log(engine, past);
}

/// Holds what is left when everybody has gone against nothing.
pub(super) fn check_empty(engine: &mut Engine) {
    let counters = engine.counters();
    let held = (counters.connections, counters.streams, counters.behind);
    assert_eq!(held, (0, 0, 0), "nothing is left");
    assert!(engine.classes.is_empty() && engine.held.is_empty() && engine.held_for.is_empty());
    assert!(engine.users.is_empty() && engine.filters.is_empty());
    assert!(engine.unrooted.is_empty() && engine.ready.is_empty() && engine.queues.is_empty());
    assert!(engine.pace.is_none() && engine.notices.is_empty());
}

/// What one record says, by itself and about its place elsewhere.
fn check_record(engine: &Engine, slot: u32) {
    let record = &engine.table[slot];
    let side = record.side as usize;
    match record.state {
        State::Reading => assert!(record.side == NONE || engine.inputs.contains(record.side)),
        State::Waiting | State::Lingering | State::Closing => assert_eq!(record.side, NONE),
        State::Finishing | State::Behind => assert!(engine.behind.contains(side)),
        State::Held => {
            assert!(engine.behind.contains(side));
            let id = engine.held_for[&slot];
            assert!(engine.held.contains_key(&(id, slot)));
        }
        State::InStep => {
            let class = &engine.classes[record.class as usize];
            assert_eq!(class.members[side], slot, "a member where its record says");
            assert!(record.bye.is_none() && record.reset.is_none());
            assert!(!record.bits.has(Bits::PARKED) && !record.bits.has(Bits::SUBSCRIPTION));
        }
        State::Free => unreachable!("only slots in use are looked at"),
    }
    // None of these depends on a socket that becomes readable or writable.
    let has_deadline = engine.table.deadline(slot) != Tick::NEVER;
    let has_turn = match record.state {
        State::Behind => engine.behind[side].is_ready && !engine.behind[side].is_blocked,
        _ => false,
    };
    let is_paced = record.bits.has(Bits::PARKED) && engine.pace.is_some();
    let is_closing = record.state == State::Closing;
    assert!(
        has_deadline || has_turn || is_paced || is_closing,
        "nothing ends the wait of {record:?}"
    );
    assert!(!(has_deadline && is_closing));
    assert_eq!(record.class != NONE, record.is_stream());
    assert!(record.is_stream() || record.user == Key::NOBODY);
}

fn check_sides(engine: &Engine, slots: &[u32]) {
    let count = |holds: fn(State) -> bool| {
        let states = slots.iter().map(|slot| engine.table[*slot].state);
        states.filter(|state| holds(*state)).count()
    };
    let behind = count(|it| matches!(it, State::Behind | State::Held | State::Finishing));
    assert_eq!(engine.behind.len(), behind);
    assert_eq!(engine.held.len(), count(|it| it == State::Held));
    assert_eq!(engine.held_for.len(), engine.held.len());
    let reading = slots.iter().copied().filter(|slot| {
        let record = &engine.table[*slot];
        record.state == State::Reading && record.side != NONE
    });
    engine.inputs.check(reading);
    let stalled = slots.iter().filter_map(|slot| {
        let record = &engine.table[*slot];
        let behind = engine.behind.get(record.side as usize);
        let is_behind = matches!(record.state, State::Behind | State::Held | State::Finishing);
        let behind = behind.filter(|_| is_behind)?;
        assert!(behind.is_blocked || behind.long_stalled.is_none());
        Some((behind.long_stalled?, *slot))
    });
    engine.responses.check(stalled);
    let streams = slots.iter().filter(|slot| engine.table[**slot].is_stream());
    assert_eq!(engine.counters.streams, streams.count() as u64);
    for slot in slots {
        let record = &engine.table[*slot];
        if matches!(record.state, State::Behind | State::Held | State::Finishing) {
            let behind = &engine.behind[record.side as usize];
            if behind.is_ready {
                assert!(engine.ready.contains(slot), "ready, and in no queue");
            }
            // Somebody, sometime, goes on with it.
            let is_parked = record.bits.has(Bits::PARKED);
            let is_owed = !behind.pending.is_empty() || behind.partial.is_some();
            let has_turn = behind.is_ready || behind.is_blocked;
            assert!(has_turn || !is_owed || is_parked, "nobody sends the rest");
        }
    }
}

fn check_classes(engine: &Engine, slots: &[u32]) {
    let queued: Vec<u32> = engine.queues.iter().collect();
    for (number, class) in &engine.classes {
        let attached = slots
            .iter()
            .filter(|slot| engine.table[**slot].class == number as u32);
        assert_eq!(class.attached as usize, attached.count());
        let vacant = class.members.iter().filter(|slot| **slot == NONE).count();
        assert_eq!(class.vacant as usize, vacant);
        for slot in class.members.iter().filter(|slot| **slot != NONE) {
            let record = &engine.table[*slot];
            assert!(record.state == State::InStep && record.class == number as u32);
        }
        // One that stands there and is not marked was another's, and is passed over.
        assert!(!class.is_queued || queued.contains(&(number as u32)));
        assert!(!class.is_dirty || class.is_queued, "dirty, and never swept");
        assert!(class.position <= engine.log.head());
        if let Some(sweep) = &class.sweep {
            assert!(class.position <= sweep.to && sweep.to <= engine.log.head());
            assert!(sweep.next as usize <= class.members.len());
            assert!(class.is_dirty && class.is_queued, "a sweep that goes on");
            let members = class.members.iter().filter(|slot| **slot != NONE);
            assert!(members.is_sorted(), "members in the order of their slots");
            let ends = sweep.slice.ends().iter().map(|(sequence, _)| *sequence);
            assert!(ends.clone().is_sorted_by(|one, next| one < next));
            let is_inside = |sequence| sequence > class.position && sequence <= sweep.to;
            assert!(ends.into_iter().all(is_inside), "a frame beyond its slice");
        }
    }
}

fn check_users(engine: &Engine, slots: &[u32]) {
    let users: BTreeSet<Key> = slots.iter().map(|slot| engine.table[*slot].user).collect();
    for user in users.into_iter().filter(|user| *user != Key::NOBODY) {
        let mut chain = engine.slots_of(user);
        chain.sort_unstable();
        let theirs = |slot: &&u32| engine.table[**slot].user == user;
        let expected: Vec<u32> = slots.iter().filter(theirs).copied().collect();
        assert_eq!(chain, expected, "a user's connections");
    }
}

fn check_log(engine: &Engine, past: &Past) {
    let log = &engine.log;
    let gone = (log.len() as u64, log.evicted());
    let there = past.frames.len() as u64 - past.evicted;
    assert_eq!(gone, (there, past.evicted), "what made room");
    assert!(
        log.bytes() <= engine.config.log_bytes_max || log.len() <= 1,
        "{} bytes in {} frames",
        log.bytes(),
        log.len()
    );
}

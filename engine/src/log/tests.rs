//! Tests of the log by itself: order, places, eviction, and what is remembered of it.

use super::*;
use crate::testing::{frame, key, position};

fn reading(organisation: &str) -> Reading {
    Reading {
        scope: Scope::Organisation(key(organisation)),
        user: Some(key("user")),
    }
}

fn append(log: &mut Log, topic: Topic, lsn: u64) {
    log.append(frame(topic, "channel", lsn, 1, 100), 0);
}

fn sequences(log: &Log, reading: Reading, mut after: u64) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(entry) = log.next(reading, after) {
        after = entry.sequence;
        found.push(after);
    }
    found
}

#[test]
fn topics_are_merged_in_the_order_of_arrival() {
    let mut log = Log::new(1 << 20);
    let topics = [
        Topic::Organisation(key("a")),
        Topic::Global,
        Topic::Organisation(key("b")),
        Topic::User(key("user")),
        Topic::Organisation(key("a")),
    ];
    for (lsn, topic) in (10..).zip(topics) {
        append(&mut log, topic, lsn);
    }
    assert_eq!(sequences(&log, reading("a"), 0), [1, 2, 4, 5]);
    assert_eq!(sequences(&log, reading("a"), 2), [4, 5]);
    assert_eq!(sequences(&log, reading("b"), 0), [2, 3, 4]);
    let everything = Reading {
        scope: Scope::Everything,
        user: None,
    };
    assert_eq!(sequences(&log, everything, 0), [1, 2, 3, 5]);
    let nothing = Reading {
        scope: Scope::Nothing,
        user: Some(key("user")),
    };
    assert_eq!(sequences(&log, nothing, 0), [2, 4]);
}

#[test]
fn a_position_leads_to_the_sequence_after_it() {
    let mut log = Log::new(1 << 20);
    append(&mut log, Topic::Organisation(key("a")), 10);
    append(&mut log, Topic::Organisation(key("b")), 11);
    append(&mut log, Topic::Organisation(key("a")), 12);
    append(&mut log, Topic::Organisation(key("b")), 13);
    let after = |lsn, index| log.cursor_after(reading("a"), position(lsn, index));
    assert_eq!(after(9, 0), Some(0));
    assert_eq!(after(10, 0), Some(0));
    assert_eq!(after(10, 1), Some(2));
    assert_eq!(after(12, 1), Some(4));
    assert_eq!(log.cursor_after(reading("c"), position(1, 1)), Some(4));
    let everything = Reading {
        scope: Scope::Everything,
        user: None,
    };
    assert_eq!(log.cursor_after(everything, position(11, 1)), Some(2));
}

#[test]
fn a_resume_fails_only_if_a_frame_of_its_own_topics_was_evicted() {
    let mut log = Log::new(8 * 1024);
    append(&mut log, Topic::Organisation(key("a")), 1);
    for lsn in 2..200 {
        append(&mut log, Topic::Organisation(key("b")), lsn);
    }
    assert!(log.bytes() <= 8 * 1024 && log.evicted() > 100);
    assert_eq!(
        sequences(&log, reading("a"), 0),
        [1],
        "the quiet tenant keeps its past"
    );
    assert_eq!(log.cursor_after(reading("a"), position(0, 1)), Some(0));
    assert_eq!(log.cursor_after(reading("b"), position(1, 1)), None);
    assert!(log.has_lost(reading("b"), 1) && !log.has_lost(reading("a"), 0));
}

#[test]
fn the_log_as_a_whole_is_bounded_too() {
    let mut log = Log::new(8 * 1024);
    for lsn in 1..1000 {
        append(&mut log, Topic::Organisation(key(&lsn.to_string())), lsn);
        append(&mut log, Topic::User(key("user")), 1000 * lsn);
    }
    assert!(log.bytes() <= 8 * 1024, "{}", log.bytes());
    assert!(log.arrivals.len() <= 2 * log.len() + 1024);
    assert_eq!(log.cursor_after(reading("1"), position(0, 1)), None);
}

#[test]
fn forgotten_topics_are_judged_together() {
    let mut log = Log::new(1024);
    for lsn in 1..(limits::IDLE_TOPICS_MAX as u64 + 100) {
        append(&mut log, Topic::Organisation(key(&lsn.to_string())), lsn);
    }
    assert!(log.topics.len() <= limits::IDLE_TOPICS_MAX + 16);
    assert_eq!(
        log.cursor_after(reading("never seen"), position(1, 0)),
        None
    );
    assert!(
        log.cursor_after(reading("never seen"), position(1 << 30, 0))
            .is_some()
    );
}

#[test]
fn a_gap_is_survived_with_more_topics_than_are_remembered() {
    let mut log = Log::new(4096);
    for lsn in 1..(limits::IDLE_TOPICS_MAX as u64 + 100) {
        append(&mut log, Topic::Organisation(key(&lsn.to_string())), lsn);
    }
    log.clear();
    assert_eq!((log.bytes(), log.len()), (0, 0));
    append(&mut log, Topic::Organisation(key("a")), 1);
    assert_eq!(
        log.cursor_after(reading("a"), position(0, 1)),
        Some(log.head() - 1)
    );
}

#[test]
fn a_reader_is_told_of_what_a_forgotten_topic_lost() {
    let mut log = Log::new(1024);
    append(&mut log, Topic::User(key("user")), 1);
    for lsn in 2..(limits::IDLE_TOPICS_MAX as u64 + 100) {
        append(&mut log, Topic::Organisation(key(&lsn.to_string())), lsn);
    }
    let reading = Reading {
        scope: Scope::Nothing,
        user: Some(key("user")),
    };
    assert!(log.find(Topic::User(key("user"))).is_none(), "forgotten");
    assert!(log.has_lost(reading, 0));
    log.open_topic(Topic::User(key("user")));
    assert!(log.has_lost(reading, 0));
    assert!(!log.has_lost(reading, log.head()));
}

#[test]
fn the_room_of_a_burst_is_given_back() {
    let mut log = Log::new(1 << 20);
    let slot = log.open_topic(Topic::Organisation(key("a")));
    let mut most = 0;
    for lsn in 1..2000 {
        append(&mut log, Topic::Organisation(key("a")), lsn);
        most = most.max(log.topics[slot as usize].frames.capacity());
    }
    for lsn in 2000..6000 {
        // One of ours now and then, so that the topic never is idle.
        let topic = if lsn % 200 == 0 { "a" } else { "b" };
        append(&mut log, Topic::Organisation(key(topic)), lsn);
        append(&mut log, Topic::Global, lsn);
    }
    let topic = &log.topics[slot as usize];
    assert!(!topic.frames.is_empty());
    assert!(topic.frames.capacity() <= most / 4);
}

#[test]
fn who_lost_nothing_is_not_judged_by_what_others_lost() {
    let mut log = Log::new(16 * 1024);
    append(&mut log, Topic::Organisation(key("a")), 1);
    append(&mut log, Topic::User(key("user")), 2);
    for lsn in 3..300 {
        // Of none of them anything is kept for long.
        let topic = Topic::Organisation(key(&(lsn % 3).to_string()));
        append(&mut log, topic, lsn);
    }
    let lost = |reading| {
        let after = position(250, 0);
        log.recall_lost(reading, &wire::Filter::default(), |lost| lost.id > after)
    };
    assert!(lost(reading("0")));
    assert!(!lost(reading("a")));
    assert!(!lost(reading("never seen")));
}

#[test]
fn who_reads_everything_is_not_judged_by_what_users_lost() {
    let mut log = Log::new(4 * 1024);
    for lsn in 1..100 {
        append(&mut log, Topic::User(key(&(lsn % 3).to_string())), lsn);
    }
    let everything = Reading {
        scope: Scope::Everything,
        user: None,
    };
    assert!(log.evicted() > 50);
    assert!(!log.recall_lost(everything, &wire::Filter::default(), |_| true));
}

//! A wait for a page keeps no more than an idle stream, and those who waited for one event share its
//! bytes.

use wire::{PageRequest, PageSince, Purpose, Topic};

use crate::LOG_BYTES_MAX;
use crate::house::{House, Terms, organisation, position};

/// A house that has seen an event, and a request for what comes after it.
fn waited(wait_ms: u32) -> (House, Purpose) {
    let mut house = House::new(LOG_BYTES_MAX);
    let batch = house.commit(Topic::Organisation(organisation("acme")), 1, 100);
    house.take(batch);
    let page = PageRequest {
        since: PageSince::After(position(house.lsn + 1, 0)),
        limit: 50,
        wait_ms,
    };
    (house, Purpose::Page(page))
}

fn open(house: &mut House, count: usize, purpose: Purpose) {
    for number in 0..count {
        let plain = Terms::of(organisation("acme"), crate::user(number));
        house.open(Terms { purpose, ..plain });
    }
}

#[test]
fn those_who_waited_for_one_event_share_its_bytes() {
    const COUNT: usize = 1_000;
    const EVENT_BYTES: usize = 100 * 1024;
    let (mut house, page) = waited(25_000);
    house.sockets.takes_at_most = Some(0);
    house.sockets.blocked.reserve(COUNT);
    open(&mut house, COUNT, page);
    assert_eq!(house.engine.counters().pages, 0);
    let batch = house.commit(Topic::Organisation(organisation("acme")), 1, EVENT_BYTES);
    let counted = allocation_counter::measure(|| house.take(batch));
    assert_eq!(house.engine.counters().pages, COUNT as u64);
    // By themselves they would take a thousand times the event.
    assert!(counted.bytes_max < 20 * EVENT_BYTES as u64, "{counted:?}");
}

#[test]
fn a_wait_for_a_page_keeps_no_more_than_an_idle_stream() {
    const COUNT: usize = 2_000;
    let kept = |purpose: fn(Purpose) -> Purpose| {
        let (mut house, page) = waited(60_000);
        let counted = allocation_counter::measure(|| open(&mut house, COUNT, purpose(page)));
        let counters = house.engine.counters();
        assert_eq!((counters.streams, counters.behind), (COUNT as u64, 0));
        counted.bytes_current
    };
    let (of_streams, of_pages) = (kept(|_| Purpose::Stream), kept(|page| page));
    assert!(
        of_pages <= of_streams + of_streams / 20,
        "{of_pages} bytes for waits, {of_streams} for streams"
    );
}

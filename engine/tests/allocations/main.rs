//! What is allocated, counted: nothing for a delivery, whatever road it takes, and nothing for an idle
//! connection. A program of its own, since the counting allocator is that of the whole program; it
//! counts by thread, so that tests do not disturb each other.

#[path = "../house/mod.rs"]
mod house;

mod deliveries;
mod idle;
mod pages;

use house::{House, Terms, organisation, user};

/// A log that nothing is evicted from.
const LOG_BYTES_MAX: usize = 1 << 24;

/// A house with so many streams of one organisation, in step, on terms that depend on their number.
fn house_of(streams: usize, terms: impl Fn(usize, Terms) -> Terms) -> House {
    let mut house = House::new(LOG_BYTES_MAX);
    for number in 0..streams {
        let plain = Terms::of(organisation("acme"), user(number));
        house.open(terms(number, plain));
    }
    house
}

/// How many allocations some work takes.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

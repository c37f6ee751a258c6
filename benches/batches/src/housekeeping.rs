//! What a node's control thread does besides: once a burst of events is over, what the allocator keeps of it
//! is given back.

use std::time::Duration;

use driver::Port;

/// As often as a node looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// As many events are a burst, and as few between two looks are its end, as in the node.
const BURST_MIN: u64 = 1_000;
const CALM_MAX: u64 = 100;

/// Looks after the memory until the process ends.
pub(crate) fn run(port: &Port) -> ! {
    let (mut seen, mut given_back_at) = (0, 0);
    loop {
        std::thread::sleep(LOOK_EVERY);
        let events = port.counters().events;
        let is_calm = events - seen <= CALM_MAX;
        seen = events;
        if is_calm && events - given_back_at >= BURST_MIN {
            given_back_at = events;
            driver::give_memory_back();
        }
    }
}

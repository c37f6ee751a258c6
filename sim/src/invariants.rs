//! What holds after every round of an engine's thread, whatever happened.

use engine::limits::{SCAN_MS, STALL_MS};

use crate::network::Network;
use crate::node::Core;
use crate::time::Time;

/// How much longer than its bound a socket that takes nothing may be open: a walk over the deadlines,
/// and a thread that gets no processor again and again.
const SLACK_MS: u64 = 2 * SCAN_MS + 10_000;

/// Checks an engine that has just had its round.
pub fn check_core(now: Time, core: &mut Core, network: &Network) -> Result<(), String> {
    let held = core.live.len() + core.closing();
    let log_bytes_max = core.log_bytes_max;
    let counters = core.engine.counters();
    core.frames_most = core.frames_most.max(counters.log_frames);
    if counters.connections != held as u64 {
        let connections = counters.connections;
        return Err(format!("{connections} connections, and {held} sockets"));
    }
    // A single frame that is larger than the log stays until the next comes.
    if counters.log_bytes > log_bytes_max && counters.log_frames > 1 {
        return Err(format!(
            "{} bytes in a log of {log_bytes_max}",
            counters.log_bytes
        ));
    }
    if counters.behind > counters.connections || counters.streams > counters.connections {
        return Err(format!("more streams than connections: {counters:?}"));
    }
    for number in &core.live {
        let connection = &network.connections[*number as usize];
        let stuck = connection.blocked_since.map(|since| now.since(since).ms());
        if stuck.is_some_and(|ms| ms > STALL_MS + SLACK_MS) {
            return Err(format!(
                "{number} takes nothing for {stuck:?} ms and is not closed"
            ));
        }
    }
    Ok(())
}

//! Ports for servers of the tests.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports that no client is given: the kernel's own choices begin at 32768
/// (`net.ipv4.ip_local_port_range`).
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A loopback port that is free now and handed out once in this run.
///
/// Port 0 would leave the choice to the server, but then no test could restart one at its address;
/// and since nodes share ports by `SO_REUSEPORT`, a choice of the kernel's that is given back
/// before use could be given to two of them.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs side by side begin at places of their own.
    let start = (std::process::id() % 100) as u16 * 200;
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_add(offset)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}

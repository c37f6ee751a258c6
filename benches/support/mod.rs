//! What the benches over real sockets share: servers and readers as processes of their own, pinned
//! to cores, and the columns of every table.
//!
//! Each process but the built servers is this very bench run again with a role in its environment,
//! so one command needs nothing prepared. What is measured, and how, is in the benches themselves.

mod bare;
pub(crate) mod build;
pub(crate) mod command_line;
mod contestants;
mod in_process;
mod process;
mod readers;
mod session;

pub(crate) use command_line::{is_asked_to_measure, option};
pub(crate) use contestants::{Contestant, bare_loop, references, tailrace};
pub(crate) use process::Server;
pub(crate) use readers::{Readers, Requests};
pub(crate) use session::Session;

/// The environment variable that gives a process its role.
const ROLE: &str = "TAILRACE_BENCH_ROLE";

/// Plays the role that the environment gives this process, and does not return then. To be called
/// first in `main`.
pub(crate) fn play_role() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    match role.as_str() {
        readers::ROLE => readers::serve(),
        bare::ROLE => bare::serve(),
        role => in_process::serve(role),
    }
    std::process::exit(0);
}

/// The line about the machine above every table.
pub(crate) fn machine() -> String {
    let machine = command_line::machine();
    format!("{machine}, loopback, server on core 0, readers on core 1")
}

/// An event of so many bytes as it goes over the wire: a whole SSE block.
pub(crate) fn event(bytes: usize) -> Vec<u8> {
    let mut event = b"data: \"".to_vec();
    event.resize(bytes - 3, b'x');
    event.extend_from_slice(b"\"\n\n");
    event
}

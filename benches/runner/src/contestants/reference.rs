//! The plain servers of `benches/reference`: a task and a receiver of its organisation's broadcast
//! channel for each stream, on somebody else's runtime.

use std::process::Command;

use anyhow::{Result, bail};

use super::peers::one_a_request;
use crate::contestant::{Contestant, Kind, Running, Setting};
use crate::process::{Process, executable};

pub(crate) const AXUM: Reference = Reference {
    name: "axum",
    program: "reference_axum",
    version: "axum 0.8 on tokio 1",
    configuration: "A runtime thread for each core it has; each stream's receiver is the body of its \
                    response.",
    has_threads: true,
};

pub(crate) const MONOIO: Reference = Reference {
    name: "monoio",
    program: "reference_monoio",
    version: "monoio 0.2",
    configuration: "One thread on io_uring; a task for each stream, with a read that waits for its \
                    client to go.",
    has_threads: false,
};

pub(crate) const TOKIO_URING: Reference = Reference {
    name: "tokio-uring",
    program: "reference_tokio_uring",
    version: "tokio-uring 0.5",
    configuration: "One thread on io_uring; a task for each stream, with a read that waits for its \
                    client to go.",
    has_threads: false,
};

/// What is the same for all of them.
const ALL_OF_THEM: &str = "A broadcast channel of 1,024 events for each organisation, which takes \
    57 KiB however few streams it has; who is further behind misses events. No sessions, no resume, \
    no heartbeat. Events are published by pipelined `POST`s on one connection, one a request.";

/// A plain server.
pub(crate) struct Reference {
    name: &'static str,
    program: &'static str,
    version: &'static str,
    configuration: &'static str,
    /// Whether it uses as many threads as it may.
    has_threads: bool,
}

impl Contestant for Reference {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> Kind {
        Kind::Reference
    }

    fn start(&self, setting: &Setting) -> Result<Running> {
        if setting.threads > 1 && !self.has_threads {
            bail!("it has one thread, as one writes it in that world");
        }
        let command = Command::new(executable(self.program)?);
        let mut server = Process::start(command, &setting.cores.server)?;
        let address = server.listening()?;
        let (target, publisher) = one_a_request(address, setting)?;
        Ok(Running {
            version: self.version.to_owned(),
            configuration: format!("{} {ALL_OF_THEM}", self.configuration),
            ..Running::new(server, target, publisher)
        })
    }
}

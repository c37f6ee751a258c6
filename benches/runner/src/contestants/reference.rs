//! The plain servers of `benches/reference`: one stream a task, on somebody else's runtime.

use std::process::Command;

use anyhow::{Context as _, Result};
use swarm::Target;

use crate::contestant::{Contestant, Kind, Running, Setting};
use crate::http::{HttpPublisher, Route};
use crate::process::{Process, executable};

pub(crate) const MONOIO: Reference = Reference {
    name: "monoio",
    program: "reference_monoio",
    version: "monoio 0.2",
};

pub(crate) const TOKIO_URING: Reference = Reference {
    name: "tokio-uring",
    program: "reference_tokio_uring",
    version: "tokio-uring 0.5",
};

/// A plain server.
pub(crate) struct Reference {
    name: &'static str,
    program: &'static str,
    version: &'static str,
}

impl Contestant for Reference {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> Kind {
        Kind::Reference
    }

    fn start(&self, setting: &Setting) -> Result<Running> {
        let command = Command::new(executable(self.program)?);
        let mut server = Process::start(command, &setting.cores.server)?;
        let address = server.listening()?;
        let path = "/stream?organizationId=o{organization}&user=u{user}";
        let mut target = Target::new(address, path);
        target.layout = setting.layout;
        let publisher = HttpPublisher::connect(address, Route::own(setting.block_bytes))
            .context("cannot publish")?;
        Ok(Running {
            version: self.version.to_owned(),
            configuration: "One thread; a task and a receiver of a broadcast channel for each \
                            stream; no sessions, no filters, no resume."
                .to_owned(),
            ..Running::new(server, target, publisher)
        })
    }
}

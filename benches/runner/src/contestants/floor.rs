//! The bare loops of `benches/floor`.

use std::process::Command;

use anyhow::{Context as _, Result};
use swarm::Target;

use super::peers::STREAM_PATH;
use crate::contestant::{Contestant, Kind, Running, Setting};
use crate::http::{HttpPublisher, Route};
use crate::process::{Process, executable};

pub(crate) const SEND: Floor = Floor {
    name: "floor-send",
    mode: "send",
    words: "One thread: a send(2) of each event to each socket, and nothing else. No watch on an open \
            stream, no filter, no log, no session.",
};

pub(crate) const COALESCE: Floor = Floor {
    name: "floor-coalesce",
    mode: "coalesce",
    words: "One thread: everything pending for an organisation in one send(2) to each of its sockets, and \
            nothing else. No watch on an open stream, no filter, no log, no session.",
};

pub(crate) const CONNECT: Floor = Floor {
    name: "floor-connect",
    mode: "connect",
    words: "One thread: accept, recv, send of a response head, one entry of epoll. It sends no events.",
};

/// A bare loop.
pub(crate) struct Floor {
    name: &'static str,
    mode: &'static str,
    words: &'static str,
}

impl Contestant for Floor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> Kind {
        Kind::Floor
    }

    fn start(&self, setting: &Setting) -> Result<Running> {
        let mut command = Command::new(executable("floor")?);
        command.arg(self.mode);
        let mut server = Process::start(command, &setting.cores.server)?;
        let address = server.listening()?;
        let mut target = Target::new(address, STREAM_PATH);
        target.layout = setting.layout;
        let publisher = HttpPublisher::connect(address, Route::own(setting.block_bytes))
            .context("cannot publish")?;
        Ok(Running {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: self.words.to_owned(),
            ..Running::new(server, target, publisher)
        })
    }
}

//! Node's own `http`, in the way our users have it today: `benches/peers/node/server.mjs`.

use std::process::Command;

use anyhow::{Result, bail};

use super::peers::{one_a_request, printed};
use crate::contestant::{Contestant, Kind, Running, Setting};
use crate::process::Process;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/node/server.mjs");

/// Node.
pub(crate) struct Node;

impl Contestant for Node {
    fn name(&self) -> &'static str {
        "node"
    }

    fn kind(&self) -> Kind {
        Kind::Reference
    }

    fn is_quick(&self) -> bool {
        true
    }

    fn start(&self, setting: &Setting) -> Result<Running> {
        if setting.threads > 1 {
            bail!(
                "one thread serves all streams: a second process would need a broker between them"
            );
        }
        let mut command = Command::new("node");
        command.arg(SERVER);
        let mut server = Process::start(command, &setting.cores.server)?;
        let address = server.listening()?;
        let (target, publisher) = one_a_request(address, setting)?;
        Ok(Running {
            version: format!("node {}", printed("node", &["--version"])),
            configuration:
                "One process; a `Map` from organisation to the `Set` of its responses, a \
                            `write` to each, and whatever a slow reader does not take waits in its \
                            response without a bound. No sessions, no resume, no heartbeat. Events \
                            are published by pipelined `POST`s on one connection, one a request."
                    .to_owned(),
            ..Running::new(server, target, publisher)
        })
    }
}

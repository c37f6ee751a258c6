//! Durable Streams, the server of its authors: an organisation is a stream of JSON messages, read live
//! over SSE.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use swarm::{Resume, Target};

use super::peers::{ask, free_addresses, wait_until_ready, write_object};
use crate::contestant::{Contestant, Kind, Running, Setting};
use crate::http::{HttpPublisher, Route};
use crate::process::Process;

/// What it writes around the text of an event, without the control event that follows each:
/// `event: data`, `data:[` and `]`, with the ends of the lines.
const FRAME_BYTES: usize = 21;

/// Durable Streams.
pub(crate) struct DurableStreams;

impl Contestant for DurableStreams {
    fn name(&self) -> &'static str {
        "durable-streams"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn is_quick(&self) -> bool {
        true
    }

    fn start(&self, setting: &Setting) -> Result<Running> {
        let program = setting.peers.join("bin/durable-streams-server");
        if !program.exists() {
            bail!("Durable Streams is not installed: benches/peers/install does it");
        }
        let [address] = free_addresses()?;
        let mut command = Command::new(program);
        let flags = ["--durability", "memory", "--host", "127.0.0.1"];
        command
            .args(flags)
            .arg("--port")
            .arg(address.port().to_string());
        command.arg("--data-dir").arg(&setting.directory);
        let mut server = Process::start(command, &setting.cores.server)?;
        let mut target = Target::new(address, "/o{organization}?offset={offset}&live=sse");
        target.layout = setting.layout;
        target.resume = Resume::Offset {
            field: "streamNextOffset".to_owned(),
            first: "now".to_owned(),
        };
        target.reopens = true;
        make_streams(
            address,
            setting.layout.organisations(setting.streams),
            &mut server,
        )?;
        wait_until_ready(&target, &mut server)?;
        let route = Route {
            path: |organisation| format!("/o{organisation}"),
            fields: "content-type: application/json\r\n".to_owned(),
            write: |event, bytes, body| {
                write_object(event, bytes.saturating_sub(FRAME_BYTES), body);
            },
            is_batched: false,
            ..Route::own(setting.block_bytes)
        };
        let publisher = HttpPublisher::connect(address, route).context("cannot publish")?;
        Ok(Running {
            version: version(&setting.peers),
            configuration: "`--durability memory`, else as it comes: a runtime thread and a reactor \
                            thread for each core it has. It ends every stream after 60 s, which then \
                            comes back at its offset; and it answers a publish before it delivers, \
                            so that what arrives together is sent together: both are within its \
                            figures. Each delivery carries a control event of some 105 bytes. Events \
                            are published by pipelined `POST`s of JSON messages on one connection, \
                            one a request."
                .to_owned(),
            beginning: Some("-1"),
            ..Running::new(server, target, publisher)
        })
    }
}

/// Makes the stream of each organisation: nothing can be read or published before.
fn make_streams(address: SocketAddr, organisations: u32, server: &mut Process) -> Result<()> {
    for organisation in 0..organisations {
        let request = format!(
            "PUT /o{organisation} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\
             content-type: application/json\r\nconnection: close\r\n\r\n"
        );
        let mut answer = ask(address, &request);
        // The first question may come before it listens.
        for _ in 0..100 {
            if answer.is_ok() || server.ended().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            answer = ask(address, &request);
        }
        let answer = answer.context("it makes no stream")?;
        ensure!(
            answer.starts_with("HTTP/1.1 201"),
            "a stream was to be made: {answer:?}"
        );
    }
    Ok(())
}

/// What cargo wrote down when it installed it: the server itself does not say.
fn version(peers: &Path) -> String {
    let installed = std::fs::read_to_string(peers.join(".crates.toml")).unwrap_or_default();
    let line = installed
        .lines()
        .find_map(|line| line.strip_prefix("\"durable-streams "));
    let number = line.and_then(|line| line.split(' ').next());
    format!(
        "durable-streams {}",
        number.unwrap_or("of an unknown version")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_cargo_installed() {
        let directory =
            std::env::temp_dir().join(format!("durable-streams-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let installed =
            "[v1]\n\"durable-streams 0.1.5 (registry)\" = [\"durable-streams-server\"]\n";
        std::fs::write(directory.join(".crates.toml"), installed).unwrap();
        assert_eq!(version(&directory), "durable-streams 0.1.5");
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(version(&directory), "durable-streams of an unknown version");
    }
}

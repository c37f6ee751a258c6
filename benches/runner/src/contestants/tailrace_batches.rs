//! Tailrace without PostgreSQL: the engine and the driver as they are, fed by batches that are made in
//! the process (`benches/batches`).

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use swarm::{Resume, Target};

use crate::contestant::{Contestant, Driver, Event, Kind, Running, Setting};
use crate::http::{HttpPublisher, Route};
use crate::process::{Process, executable};

/// How long an event is as an SSE block without its text, in bytes; the id grows by a few during a
/// long run.
const AROUND_TEXT_BYTES: usize = 195;

pub(crate) struct TailraceBatches;

impl Contestant for TailraceBatches {
    fn name(&self) -> &'static str {
        "tailrace-batches"
    }

    fn kind(&self) -> Kind {
        Kind::Ours
    }

    fn drivers(&self) -> &'static [Driver] {
        Driver::BOTH
    }

    fn start(&self, setting: &Setting) -> Result<Running> {
        let driver = setting.driver.unwrap_or(Driver::Uring).name();
        let mut command = Command::new(executable("batches")?);
        command.args([
            "--driver",
            driver,
            "--threads",
            &setting.threads.to_string(),
        ]);
        command.args(["--log-bytes", &setting.log_bytes.to_string()]);
        let mut server = Process::start(command, &setting.cores.server)?;
        let publishing = server.line(Duration::from_secs(10))?;
        let publishing = publishing
            .strip_prefix("publishing ")
            .with_context(|| format!("batches says {publishing:?}"))?
            .parse()
            .context("batches names no address")?;
        let address = server.listening()?;
        let path = "/api/realtime/stream?organizationId=o{organization}&user=u{user}";
        let mut target = Target::new(address, path);
        target.layout = setting.layout;
        target.resume = Resume::LastEventId;
        let route = Route {
            write: write_event,
            bytes: setting.block_bytes.saturating_sub(AROUND_TEXT_BYTES),
            ..Route::own(setting.block_bytes)
        };
        let publisher = HttpPublisher::connect(publishing, route).context("cannot publish")?;
        let configuration = format!(
            "The release engine and driver ({driver}, {} engine threads) in a process without \
             PostgreSQL; a request of the publisher is a transaction, whose batches a thread of its \
             own hands over. No sessions, no memberships, no decoding; no heartbeats.",
            setting.threads
        );
        Ok(Running {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration,
            // Whoever reaches the publishers' address may read them.
            metrics: Some((publishing, String::new())),
            ..Running::new(server, target, publisher)
        })
    }
}

/// The text of an event; the server makes the JSON around it.
fn write_event(event: &Event, bytes: usize, body: &mut Vec<u8>) {
    body.extend_from_slice(b"data: ");
    event.write_text(bytes, body);
    body.extend_from_slice(b"\n\n");
}

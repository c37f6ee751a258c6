//! Nchan, the module of nginx, as Debian has it: an organisation is a channel, in nginx's own memory.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use swarm::{Resume, Target};

use super::peers::{
    BACKLOG, DESCRIPTORS_MAX, Offspring, STREAM_PATH, free_addresses, in_one_line, packages,
    wait_until_ready, write_object,
};
use crate::contestant::{Contestant, Kind, Running, Setting};
use crate::http::{HttpPublisher, Route};
use crate::process::Process;

const PROGRAM: &str = "/usr/sbin/nginx";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// How many messages are kept for those who come back: in each channel, and in all of them.
const KEPT_PER_CHANNEL: u32 = 1_024;
const KEPT: u32 = 1_000_000;

/// What Nchan writes around the text of an event: `id: 1700000000:0` and `data: `, with their ends.
const FRAME_BYTES: usize = 26;

/// Nchan.
pub(crate) struct Nchan;

impl Contestant for Nchan {
    fn name(&self) -> &'static str {
        "nchan"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn is_quick(&self) -> bool {
        true
    }

    fn start(&self, setting: &Setting) -> Result<Running> {
        if !std::path::Path::new(MODULE).exists() {
            bail!("Nchan is not installed: benches/peers/install does it");
        }
        let [address] = free_addresses()?;
        let workers = setting.threads;
        let kept = kept_per_channel(setting.layout.organisations(setting.streams));
        let configuration = format!(
            "daemon off;
            worker_processes {workers};
            worker_rlimit_nofile {DESCRIPTORS_MAX};
            pid nginx.pid;
            error_log error.log;
            load_module {MODULE};
            events {{
                worker_connections {DESCRIPTORS_MAX};
            }}
            http {{
                access_log off;
                client_body_temp_path body;
                proxy_temp_path proxy;
                fastcgi_temp_path fastcgi;
                uwsgi_temp_path uwsgi;
                scgi_temp_path scgi;
                keepalive_requests 1000000000;
                keepalive_timeout 1h;
                nchan_shared_memory_size 2g;
                nchan_message_buffer_length {kept};
                nchan_message_timeout 5m;
                server {{
                    listen {address} backlog={BACKLOG};
                    nchan_channel_id $arg_organizationId;
                    location = /stream {{
                        nchan_subscriber eventsource;
                        nchan_subscriber_first_message newest;
                    }}
                    location = /publish {{
                        nchan_publisher http;
                    }}
                }}
            }}\n",
        );
        let file = setting.directory.join("nginx.conf");
        std::fs::write(&file, &configuration).context("cannot write its configuration")?;
        let mut command = Command::new(PROGRAM);
        // The error log of before it has read its configuration is Debian's otherwise.
        command.arg("-e").arg(setting.directory.join("error.log"));
        command
            .arg("-p")
            .arg(&setting.directory)
            .arg("-c")
            .arg(&file);
        let mut server = Process::start(command, &setting.cores.server)?;
        let mut target = Target::new(address, STREAM_PATH);
        target.layout = setting.layout;
        target.resume = Resume::LastEventId;
        wait_until_ready(&target, &mut server)?;
        let route = Route {
            write: |event, bytes, body| {
                write_object(event, bytes.saturating_sub(FRAME_BYTES), body);
            },
            is_batched: false,
            ..Route::own(setting.block_bytes)
        };
        let publisher = HttpPublisher::connect(address, route).context("cannot publish")?;
        let workers = Offspring::of(server.id());
        Ok(Running {
            version: packages(&["libnginx-mod-nchan", "nginx"]),
            configuration: format!(
                "Master and worker are measured. Resumes by `Last-Event-ID` from its buffer. Events \
                 are published by pipelined `POST`s on one connection, one a request. {}",
                in_one_line(&configuration)
            ),
            beginning: Some("0:0"),
            keep: vec![Box::new(workers)],
            ..Running::new(server, target, publisher)
        })
    }
}

/// How many messages a channel keeps: with many channels fewer, so that all fit the shared memory.
fn kept_per_channel(channels: u32) -> u32 {
    (KEPT / channels.max(1)).clamp(16, KEPT_PER_CHANNEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_within_its_bound() {
        assert_eq!(kept_per_channel(1), 1_024);
        assert_eq!(kept_per_channel(3_000), 333);
        assert_eq!(kept_per_channel(1_000_000), 16);
    }
}

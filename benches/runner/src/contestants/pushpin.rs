//! Pushpin, as Debian has it: a proxy that holds its clients' requests open as streams, by the word of
//! a backend, which is nginx with a fixed answer here.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use swarm::Target;

use super::peers::{
    BACKLOG, DESCRIPTORS_MAX, Offspring, STREAM_PATH, free_addresses, in_one_line, packages,
    wait_until_ready,
};
use super::zmtp::Push;
use crate::contestant::{Contestant, Event, Kind, Publisher, Running, Setting};
use crate::process::Process;

const PROGRAM: &str = "/usr/bin/pushpin";
const BACKEND: &str = "/usr/sbin/nginx";

/// How many clients it may have: its descriptors, less what its parts talk to each other by.
const CLIENTS_MAX: u32 = DESCRIPTORS_MAX - 1_000;

/// A rate and a queue that are never reached: its own limits are 2,500 messages a second and 25,000.
const UNLIMITED: u32 = 1_000_000_000;

/// How many requests may be without an answer at a time. Its parts hand each connection from one to
/// the next, and lose some on the way (`received message out of sequence, canceling`), where ten come
/// at once nearly always, one after the other seldom: a stream that looks open gets nothing then, or
/// is refused with 500 or 502.
const UNANSWERED_MAX: u32 = 1;

/// Pushpin.
pub(crate) struct Pushpin;

impl Contestant for Pushpin {
    fn name(&self) -> &'static str {
        "pushpin"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn start(&self, setting: &Setting) -> Result<Running> {
        if !Path::new(PROGRAM).exists() {
            bail!("Pushpin is not installed: benches/peers/install does it");
        }
        if setting.streams > CLIENTS_MAX {
            bail!("it may have {CLIENTS_MAX} clients within {DESCRIPTORS_MAX} descriptors");
        }
        let [address, push, control, backend] = free_addresses()?;
        let beside = start_backend(backend, setting)?;
        let configuration = configuration(address, push, control);
        let directory = &setting.directory;
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        // Its sockets lie here, and a socket's path is short: it is given as it is seen from there.
        std::fs::create_dir(directory.join("run")).context("cannot make its directory")?;
        std::fs::create_dir(directory.join("log")).context("cannot make its directory")?;
        write("pushpin.conf", &configuration)?;
        write("routes", &format!("* {backend}\n"))?;
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(directory)
            .args(["--config", "pushpin.conf"]);
        let mut server = Process::start(command, &setting.cores.server)?;
        let mut target = Target::new(address, STREAM_PATH);
        target.layout = setting.layout;
        target.unanswered_max = UNANSWERED_MAX;
        wait_until_ready(&target, &mut server)?;
        let publisher = ZmqPublisher {
            push: Push::connect(push).context("cannot publish")?,
            bytes: setting.block_bytes,
            block: Vec::new(),
            messages: Vec::new(),
        };
        let parts = Offspring::of(server.id());
        Ok(Running {
            beside: vec![beside],
            version: packages(&["pushpin", "condure", "zurl"]),
            configuration: format!(
                "All its processes are measured: pushpin, condure, pushpin-proxy, pushpin-handler, \
                 zurl. The backend beside it is nginx, which answers every stream with `grip-hold: \
                 stream` and its channel. No resume without a log in that backend. Events are \
                 published to its ZeroMQ `PULL` socket, one a message. Its streams are opened \
                 one after the other, as no other's are: where ten come at once it loses some. {}",
                in_one_line(&configuration)
            ),
            keep: vec![Box::new(parts)],
            ..Running::new(server, target, publisher)
        })
    }
}

/// Debian's own configuration, less what it repeats of the defaults: limits raised, log quiet, paths
/// relative to the directory it runs in.
fn configuration(address: SocketAddr, push: SocketAddr, control: SocketAddr) -> String {
    format!(
        "[global]
        include={{libdir}}/internal.conf
        rundir=run
        ipc_prefix=p-
        [runner]
        services=condure,zurl,pushpin-proxy,pushpin-handler
        http_port={address}
        logdir=log
        log_level=1
        client_buffer_size=8192
        client_maxconn={CLIENTS_MAX}
        [proxy]
        routesfile=routes
        updates_check=off
        zurl_out_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in
        zurl_out_stream_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in-stream
        zurl_in_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-out
        [handler]
        push_in_spec=tcp://{push}
        push_in_sub_specs=
        push_in_http_addr={ip}
        push_in_http_port={port}
        stats_spec=ipc://{{rundir}}/{{ipc_prefix}}stats
        command_spec=ipc://{{rundir}}/{{ipc_prefix}}command
        message_rate={UNLIMITED}
        message_hwm={UNLIMITED}
        message_wait=5000
        ",
        ip = control.ip(),
        port = control.port(),
    )
    .replace("        ", "")
}

/// Starts what Pushpin asks about every stream.
fn start_backend(address: SocketAddr, setting: &Setting) -> Result<Process> {
    let directory = setting.directory.join("backend");
    std::fs::create_dir(&directory).context("cannot make the backend's directory")?;
    let configuration = format!(
        "daemon off;
        master_process off;
        pid nginx.pid;
        error_log error.log;
        events {{
            worker_connections 4096;
        }}
        http {{
            access_log off;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            keepalive_requests 1000000000;
            server {{
                listen {address} backlog={BACKLOG};
                location = /stream {{
                    default_type text/event-stream;
                    add_header cache-control no-cache;
                    add_header grip-hold stream;
                    add_header grip-channel $arg_organizationId;
                    return 200 \"\";
                }}
            }}
        }}\n",
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, configuration).context("cannot write the backend's configuration")?;
    let mut command = Command::new(BACKEND);
    command.arg("-e").arg(directory.join("error.log"));
    command.arg("-p").arg(&directory).arg("-c").arg(&file);
    Process::start(command, &setting.cores.load)
}

/// Publishes to Pushpin's `PULL` socket.
struct ZmqPublisher {
    push: Push,
    /// How long an event's block is.
    bytes: usize,
    block: Vec<u8>,
    messages: Vec<u8>,
}

impl Publisher for ZmqPublisher {
    fn publish(&mut self, events: &[Event]) -> std::io::Result<()> {
        self.messages.clear();
        for event in events {
            self.block.clear();
            event.write_block(self.bytes, &mut self.block);
            Push::write(&item(event.organisation, &self.block), &mut self.messages);
        }
        self.push.send(&self.messages)
    }
}

/// What is published: `{"channel": …, "formats": {"http-stream": {"content": …}}}` as a tnetstring,
/// and before it the letter that says so.
fn item(organisation: u32, block: &[u8]) -> Vec<u8> {
    let channel = format!("o{organisation}");
    let stream = tnetstring(b'}', &[&string(b"content"), &string(block)]);
    let formats = tnetstring(b'}', &[&string(b"http-stream"), &stream]);
    let fields = [
        string(b"channel"),
        string(channel.as_bytes()),
        string(b"formats"),
        formats,
    ];
    let item = tnetstring(b'}', &[&fields.concat()]);
    [b"T", item.as_slice()].concat()
}

fn string(text: &[u8]) -> Vec<u8> {
    tnetstring(b',', &[text])
}

/// The length, a colon, the parts, and the letter of the type.
fn tnetstring(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut text = format!("{length}:").into_bytes();
    for part in parts {
        text.extend_from_slice(part);
    }
    text.push(kind);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_a_tnetstring() {
        let expected =
            "T69:7:channel,2:o7,7:formats,40:11:http-stream,21:7:content,8:data: a\n,}}}";
        assert_eq!(String::from_utf8(item(7, b"data: a\n")).unwrap(), expected);
    }

    #[test]
    fn the_configuration_is_as_pushpin_reads_it() {
        let [address, push, control] = free_addresses().unwrap();
        let configuration = configuration(address, push, control);
        assert!(configuration.lines().all(|line| !line.starts_with(' ')));
        assert!(configuration.contains(&format!("\nhttp_port={address}\n")));
        assert!(configuration.contains("\nmessage_rate=1000000000\n"));
    }
}

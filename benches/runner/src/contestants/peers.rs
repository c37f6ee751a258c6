//! What servers that are not Tailrace have in common: that they neither pick a free port nor say when they
//! listen, and that what they start themselves has to end with them.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use swarm::Target;

use crate::contestant::{Event, Setting};
use crate::http::{HttpPublisher, Route};
use crate::process::Process;

/// The most descriptors that a process may have on the machines that are measured.
pub(super) const DESCRIPTORS_MAX: u32 = 20_000;

/// How many connections may wait to be accepted: never what limits a storm.
pub(super) const BACKLOG: u32 = 4_096;

/// What every stream of our own servers is asked for with; others take what they like of it.
pub(super) const STREAM_PATH: &str = "/stream?organizationId=o{organization}&user=u{user}";

/// How long a server may take until it serves streams.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a question to a server that starts may stay without an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Addresses on loopback at which nobody listens now. All of them are taken before one is given
/// back, so that they differ.
pub(super) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..N {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        listeners.push(listener);
    }
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr().context("a listener has an address")?;
    }
    Ok(addresses)
}

/// How a plain server of ours is asked for streams, and given events: one a request.
pub(super) fn one_a_request(
    address: SocketAddr,
    setting: &Setting,
) -> Result<(Target, HttpPublisher)> {
    let mut target = Target::new(address, STREAM_PATH);
    target.layout = setting.layout;
    let route = Route {
        is_batched: false,
        ..Route::own(setting.block_bytes)
    };
    let publisher = HttpPublisher::connect(address, route).context("cannot publish")?;
    Ok((target, publisher))
}

/// Waits until a server answers the first stream's request with 200.
pub(super) fn wait_until_ready(target: &Target, server: &mut Process) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    let request = target.request(0, None);
    loop {
        let answered = ask(target.address, &request);
        if matches!(&answered, Ok(answer) if answer.starts_with("HTTP/1.1 200")) {
            return Ok(());
        }
        if let Some(how) = server.ended() {
            bail!("{how} instead of serving streams");
        }
        if Instant::now() > deadline {
            bail!("it serves no streams after {READY_WITHIN:?}: {answered:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a request and returns the beginning of the answer.
pub(super) fn ask(address: SocketAddr, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).context("it does not listen")?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(request.as_bytes())?;
    let mut beginning = [0; 1024];
    let length = stream.read(&mut beginning).context("it does not answer")?;
    Ok(String::from_utf8_lossy(&beginning[..length]).into_owned())
}

/// What a program prints, on one line: its version.
pub(super) fn printed(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return format!("{program} of an unknown version");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The versions of Debian packages.
pub(super) fn packages(names: &[&str]) -> String {
    let mut arguments = vec!["--show", "--showformat=${Package} ${Version}\\n"];
    arguments.extend(names);
    printed("dpkg-query", &arguments)
}

/// A configuration file in one line for the report: without comments, and without what is where only
/// for this run.
pub(super) fn in_one_line(configuration: &str) -> String {
    let lines = configuration.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    format!("`{}`", lines.join(" "))
}

/// Appends the JSON object of an event, of so many bytes.
pub(super) fn write_object(event: &Event, bytes: usize, body: &mut Vec<u8>) {
    const HEAD: &[u8] = b"{\"text\":\"";
    const TAIL: &[u8] = b"\"}";
    body.extend_from_slice(HEAD);
    event.write_text(bytes.saturating_sub(HEAD.len() + TAIL.len()), body);
    body.extend_from_slice(TAIL);
}

/// The processes that a server started: should it end without them, they end with this value, which
/// has to be dropped after the server.
pub(super) struct Offspring(Vec<(u32, String)>);

impl Offspring {
    /// Everything that this process has started by now, and what that has started.
    pub(super) fn of(process: u32) -> Self {
        let mut family = BTreeSet::from([process]);
        let mut offspring = Vec::new();
        loop {
            let before = family.len();
            for (child, parent) in parents() {
                if family.contains(&parent) && family.insert(child) {
                    offspring.push((child, began(child)));
                }
            }
            if family.len() == before {
                return Self(offspring);
            }
        }
    }

    /// Their numbers.
    #[cfg(test)]
    fn ids(&self) -> Vec<u32> {
        self.0.iter().map(|(id, _)| *id).collect()
    }
}

impl Drop for Offspring {
    fn drop(&mut self) {
        for (id, beginning) in &self.0 {
            // Its number may have been given to somebody else since.
            if beginning.is_empty() || began(*id) != *beginning {
                continue;
            }
            if let Some(id) = i32::try_from(*id).ok().and_then(Pid::from_raw) {
                // An error means that it has just ended.
                let _ = kill_process(id, Signal::KILL);
            }
        }
    }
}

/// Every process with its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers
        .filter_map(|number: u32| Some((number, stat(number, 1)?.parse().ok()?)))
        .collect()
}

/// When a process began, in ticks since the machine did; empty where there is none.
fn began(process: u32) -> String {
    stat(process, 19).unwrap_or_default()
}

/// The field of `/proc/<pid>/stat` that comes so many after the state (proc(5)). The name before
/// that is in parentheses and may hold anything.
fn stat(process: u32, field: usize) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    fields.split(' ').nth(field).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_addresses_differ() {
        let [one, other] = free_addresses().unwrap();
        assert_ne!(one, other);
        assert_eq!(one.ip(), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn an_object_has_the_length_that_was_asked_for() {
        let event = Event {
            organisation: 1,
            sequence: 2,
            at: 3,
        };
        let mut body = Vec::new();
        write_object(&event, 100, &mut body);
        assert_eq!(body.len(), 100);
        assert!(body.starts_with(b"{\"text\":\"@3,1,2@x") && body.ends_with(b"x\"}"));
    }

    #[test]
    fn a_configuration_fits_a_line() {
        assert_eq!(
            in_one_line("# why\nevents {\n    a 1;\n}\n\n"),
            "`events { a 1; }`"
        );
    }

    #[test]
    fn what_a_process_leaves_behind_ends() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo ready; wait"]);
        let mut process = Process::start(command, &[0]).unwrap();
        process.line(READY_WITHIN).unwrap();
        let offspring = Offspring::of(process.id());
        let [sleeper] = offspring.ids()[..] else {
            panic!("a shell and what it waits for: {:?}", offspring.ids());
        };
        let beginning = began(sleeper);
        assert!(!beginning.is_empty());
        drop(process);
        assert_eq!(
            began(sleeper),
            beginning,
            "an interrupt to the shell alone leaves it there"
        );
        drop(offspring);
        let deadline = Instant::now() + READY_WITHIN;
        // Whoever inherited it may take a moment to notice; until then it is a zombie.
        while began(sleeper) == beginning && stat(sleeper, 0).as_deref() != Some("Z") {
            assert!(Instant::now() < deadline, "it still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

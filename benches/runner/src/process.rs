//! Processes that the runner starts: pinned to cores, talked to by lines, ended with their owner.
//!
//! What is measured of them is in `measure`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::interrupt;

/// How long a process may take to end before it is made to.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How long a server may take until it says where it listens.
const LISTEN_WITHIN: Duration = Duration::from_secs(60);

/// A process that ends with this value.
pub(crate) struct Process {
    child: Child,
    name: String,
    input: Option<ChildStdin>,
    /// What it prints, line by line.
    lines: Receiver<String>,
}

impl Process {
    /// Starts a command on these cores; its threads and children stay there too.
    pub(crate) fn start(mut command: Command, cores: &[usize]) -> Result<Self> {
        interrupt::check()?;
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = on_cores(cores, || command.spawn())?
            .with_context(|| format!("cannot start {command:?}"))?;
        interrupt::add(Pid::from_child(&child));
        let input = child.stdin.take();
        let output = child.stdout.take().expect("the output was asked for");
        let (sender, lines) = channel();
        // Ends with the process's output.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    // Nobody reads any more, but the process shall not wait for us.
                    continue;
                }
            }
        });
        Ok(Self {
            child,
            name,
            input,
            lines,
        })
    }

    /// Sends a line.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().expect("it is there until the end");
        writeln!(input, "{line}").with_context(|| format!("{} has ended", self.name))
    }

    /// Waits for the next line of the process.
    pub(crate) fn line(&mut self, within: Duration) -> Result<String> {
        self.lines
            .recv_timeout(within)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => anyhow!("{} says nothing for {within:?}", self.name),
                RecvTimeoutError::Disconnected => {
                    anyhow!("{} ended: see its message above", self.name)
                }
            })
    }

    /// Waits until it prints `listening 127.0.0.1:PORT`, and says where that is.
    pub(crate) fn listening(&mut self) -> Result<SocketAddr> {
        let deadline = Instant::now() + LISTEN_WITHIN;
        loop {
            let line = self.line(deadline.saturating_duration_since(Instant::now()))?;
            if let Some(address) = line.strip_prefix("listening ") {
                return address
                    .trim()
                    .parse()
                    .with_context(|| format!("no address: {line:?}"));
            }
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        const LOOK_EVERY: Duration = Duration::from_millis(10);
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} does not end within {within:?}", self.name);
            }
            interrupt::sleep(LOOK_EVERY)?;
        }
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended with {status}", self.name))
    }
}

impl Drop for Process {
    /// Asks it to end, as a terminal does, and makes it end where it does not.
    fn drop(&mut self) {
        self.input = None;
        // Once it was waited for, its number may be another's.
        if matches!(self.child.try_wait(), Ok(None)) {
            // An error means that it has just ended.
            let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        }
        let deadline = Instant::now() + STOP_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        interrupt::remove(Pid::from_child(&self.child));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does something with this thread on these cores only. A child inherits the affinity of the thread
/// that starts it: no thread of it ever runs elsewhere, as it would if it were pinned once it runs.
pub(crate) fn on_cores<T>(cores: &[usize], act: impl FnOnce() -> T) -> Result<T> {
    let own = sched_getaffinity(None).context("one's own affinity cannot be read")?;
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on the cores {cores:?}"))?;
    let done = act();
    sched_setaffinity(None, &own).context("cannot run again where it ran before")?;
    Ok(done)
}

/// A program that stands beside the runner, where `cargo build` puts it.
pub(crate) fn executable(name: &str) -> Result<std::path::PathBuf> {
    let own = std::env::current_exe().context("the runner does not know its own path")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!("{name} is not built: benches/run builds it");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command, &[0]).unwrap()
    }

    #[test]
    fn an_address_is_found_after_other_lines() {
        let mut process = shell("echo hello; echo listening 127.0.0.1:4711; exec sleep 60");
        assert_eq!(
            process.listening().unwrap(),
            "127.0.0.1:4711".parse().unwrap()
        );
    }

    #[test]
    fn a_process_that_ends_early_is_an_error_and_no_wait() {
        let mut process = shell("exit 3");
        let error = process.listening().unwrap_err();
        assert!(error.to_string().contains("ended"), "{error}");
    }

    #[test]
    fn a_process_that_ends_by_itself_is_waited_for_within_bounds() {
        let status = shell("exit 3").wait(LISTEN_WITHIN).unwrap();
        assert_eq!(status.code(), Some(3));
        let mut process = shell("exec sleep 60");
        assert!(process.wait(Duration::from_millis(20)).is_err());
    }

    #[test]
    fn a_process_runs_on_its_cores_and_ends_with_its_owner() {
        let mut process = shell("echo ready; exec sleep 60");
        process.line(LISTEN_WITHIN).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        let id = process.id();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}

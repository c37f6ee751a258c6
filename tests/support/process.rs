//! Child processes that end with their owner: at the end of a test, when it panics, and when the
//! whole test run is killed. Ended by their ids, never by name.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use rustix::process::{Pid, Signal};

/// How long a process may take to end after it was asked to, before it is killed.
const END_MAX: Duration = Duration::from_secs(10);

/// A running child, ended when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    ending: Signal,
}

impl Process {
    /// Runs `program` with `arguments`; it is ended by `ending`.
    pub(crate) fn spawn(program: &Program, ending: Signal) -> Self {
        let name = program.path.clone();
        let child = spawn_on_the_lasting_thread(program.command(ending))
            .unwrap_or_else(|error| panic!("cannot run setpriv for {name}: {error}"));
        Self {
            name,
            child,
            ending,
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.id(), signal)
            .unwrap_or_else(|error| panic!("cannot send {signal:?} to {}: {error}", self.name));
    }

    /// Kills it with -9 and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child
            .kill()
            .expect("a child that was not yet waited for can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Waits for it to end by itself; a panic after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        self.wait_at_most(limit)
            .unwrap_or_else(|| panic!("{} did not end within {limit:?}", self.name))
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a child can be waited for")
            .is_none()
    }

    /// Seconds of processor time it has used, of all its threads, in user and kernel mode
    /// (proc(5), `/proc/pid/stat`, fields 14 and 15).
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))
            .expect("a running process has a stat file");
        // The command's name, field 2, is in parentheses and may hold blanks.
        let (_, fields) = stat
            .rsplit_once(')')
            .expect("field 2 ends with a parenthesis");
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("times are counted in ticks"))
            .sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// How many file descriptors it holds.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id()))
            .expect("a running process has a directory of descriptors")
            .count()
    }

    fn wait_at_most(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.signal(self.ending);
        match self.wait_at_most(END_MAX) {
            // Somebody who reads the output of a failed test wants to know of a crash at the end.
            Some(status) if status.core_dumped() => eprintln!("{} ended with {status}", self.name),
            Some(_) => {}
            None => {
                eprintln!("{} had to be killed", self.name);
                self.kill();
            }
        }
    }
}

/// What to run, and as whom.
#[derive(Clone)]
pub(crate) struct Program {
    path: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    user: Option<String>,
    output: Option<PathBuf>,
    standard_output: Option<PathBuf>,
    directory: Option<PathBuf>,
    descriptors: Option<u32>,
}

impl Program {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            user: None,
            output: None,
            standard_output: None,
            directory: None,
            descriptors: None,
        }
    }

    pub(crate) fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(String::from));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs as this user, where the tests themselves run as root.
    pub(crate) fn user(mut self, name: &str) -> Self {
        self.user = rustix::process::getuid().is_root().then(|| name.into());
        self
    }

    /// Appends standard output and standard error to this file.
    pub(crate) fn output(mut self, file: impl Into<PathBuf>) -> Self {
        self.output = Some(file.into());
        self
    }

    /// Appends standard output to this file instead.
    pub(crate) fn standard_output(mut self, file: impl Into<PathBuf>) -> Self {
        self.standard_output = Some(file.into());
        self
    }

    /// Runs in this directory.
    pub(crate) fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// How many file descriptors it may hold.
    pub(crate) fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Runs it to its end and returns what it wrote on standard output; a panic where it fails.
    pub(crate) fn run(&self) -> String {
        let output = self
            .command(Signal::KILL)
            .output()
            .expect("setpriv is part of util-linux");
        assert!(
            output.status.success(),
            "{} ended with {}:\n{}{}",
            self.path,
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8(output.stdout).expect("the programs we run write UTF-8")
    }

    /// Runs it to its end, however that is.
    pub(crate) fn finish(&self) -> std::process::Output {
        let output = self.command(Signal::KILL).output();
        output.expect("setpriv is part of util-linux")
    }

    /// The command behind `setpriv`, which has the kernel end it when the thread that started it
    /// ends, so that nothing survives a killed test run.
    fn command(&self, ending: Signal) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", signal_name(ending)]);
        // It is for the tests alone; a node takes it for a key that was mistyped.
        command.env_remove("TAILRACE_POSTGRES_BIN");
        if let Some(user) = &self.user {
            command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
        }
        command.arg("--");
        if let Some(most) = self.descriptors {
            command
                .arg("prlimit")
                .arg(format!("--nofile={most}:{most}"))
                .arg("--");
        }
        command.arg(&self.path).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(std::process::Stdio::null());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if let Some(file) = &self.output {
            command.stdout(appending(file)).stderr(appending(file));
        }
        if let Some(file) = &self.standard_output {
            command.stdout(appending(file));
        }
        command
    }
}

/// Whether a process runs. One that has ended and was not yet waited for does not: in a container
/// whose first process never waits, orphans stay like that.
pub(crate) fn is_alive(id: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// The name by which setpriv(1) knows it.
fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "INT",
        Signal::KILL => "KILL",
        Signal::QUIT => "QUIT",
        Signal::TERM => "TERM",
        _ => panic!("no test ends a process by {signal:?}"),
    }
}

fn appending(file: &Path) -> File {
    let file = File::options().create(true).append(true).open(file);
    file.expect("the directory of a test can be written")
}

/// A test runs on a thread of its own, and "the parent died" means the thread that started the
/// child. What several tests share must not end with the first of them, so every child is started
/// by one thread that lasts as long as the process.
fn spawn_on_the_lasting_thread(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static ORDERS: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                // Whoever asked waits for the answer.
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    ORDERS
        .send((command, reply))
        .expect("the spawning thread lasts as long as the process");
    answer
        .recv()
        .expect("the spawning thread answers every order")
}

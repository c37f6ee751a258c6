//! Child processes: started on a core of their own, talked to by lines, ended with their owner.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The core of the server under measurement.
pub(super) const SERVER_CORE: usize = 0;

/// The core of the readers, and of the bench itself, which waits for them.
pub(super) const READER_CORE: usize = 1;

/// How long a process may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A process that reads lines and answers each with a line.
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a command on one core; its threads stay there too.
    pub(super) fn start(mut command: Command, core: usize) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A child inherits the affinity of the thread that starts it: no thread of it ever runs
        // elsewhere, as it would if it were pinned once it runs.
        let own = sched_getaffinity(None).expect("one's own affinity is always readable");
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set).unwrap_or_else(|error| {
            panic!("this bench needs two cores, has no core {core}: {error}")
        });
        let started = command.spawn();
        sched_setaffinity(None, &own).expect("what was allowed before is allowed again");
        let mut child = started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let input = child.stdin.take().expect("the input was asked for");
        let output = BufReader::new(child.stdout.take().expect("the output was asked for"));
        Self {
            child,
            input,
            output,
        }
    }

    /// Sends a line; the answer is to be read with [`Self::reply`].
    pub(super) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the process reads its input");
    }

    /// Waits for the next line of the process.
    pub(super) fn reply(&mut self) -> String {
        let mut line = String::new();
        let taken = self
            .output
            .read_line(&mut line)
            .expect("the process writes text");
        assert!(
            taken > 0,
            "a process of the bench ended early: see its message above"
        );
        line.trim_end().to_owned()
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as a terminal does, and makes it end where it does not.
    fn stop(&mut self) {
        let process = Pid::from_child(&self.child);
        // An error means that it has ended already.
        let _ = kill_process(process, Signal::INT);
        let deadline = Instant::now() + STOP_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A server under measurement.
pub(crate) struct Server {
    process: Process,
    /// The line that it printed when it listened.
    pub(crate) announcement: String,
}

impl Server {
    /// Starts a server that prints a line with its address on loopback once it listens.
    pub(crate) fn start(command: Command) -> Self {
        let mut process = Process::start(command, SERVER_CORE);
        let announcement = process.reply();
        Self {
            process,
            announcement,
        }
    }

    /// Starts a server that says nothing, and will listen there.
    pub(crate) fn start_at(command: Command, address: SocketAddr) -> Self {
        Self {
            process: Process::start(command, SERVER_CORE),
            announcement: format!("listening {address}"),
        }
    }

    /// Where it listens: the first address in what it announced.
    pub(crate) fn address(&self) -> SocketAddr {
        let (_, rest) = self
            .announcement
            .split_once("127.0.0.1:")
            .expect("it names its address");
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let port = port.parse().expect("a port is a number");
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Has one event sent to every stream; returns when the server has taken it.
    pub(crate) fn publish(&self, event: &[u8]) {
        let mut request = format!(
            "POST /publish HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.address(),
            event.len(),
        )
        .into_bytes();
        request.extend_from_slice(event);
        let mut stream = TcpStream::connect(self.address()).expect("the server listens");
        // One write: the bare loop looks for a whole request in what it reads first.
        stream.write_all(&request).expect("the server reads");
        let mut response = String::new();
        // A server may close with a reset once it has answered; the answer is what counts.
        let _ = stream.read_to_string(&mut response);
        assert!(
            response.starts_with("HTTP/1.1 204"),
            "the server answered {response:?}"
        );
    }
}

//! Logs: where they go, and the lines about connections, which are many. Nothing here writes a payload
//! or a token, and nothing waits for whoever reads standard error.

use std::fmt;
use std::sync::OnceLock;

use engine::Notice;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use wire::ConnectionId;

use crate::{audience, last_words};

/// The most lines about connections in one second. Those beyond are counted, and the count is
/// logged.
const LINES_PER_SECOND_MAX: u32 = 100;

/// The most lines that wait to be written. Those beyond are thrown away and counted: with lines of some
/// hundred bytes, a reader that is asleep costs a megabyte.
const WAITING_MAX: usize = 8_192;

/// The most characters of a name of the application's in a line.
const NAME_CHARACTERS_MAX: usize = 200;

/// What is logged if nothing is said.
const DEFAULT: &str = "info";

/// Said last, whatever `TAILRACE_LOG` says: the database client's lines below warnings hold the
/// parameters of statements, which are names of users and contents of rows.
const NEVER_PARAMETERS: &str = "tokio_postgres=warn";

/// The target of the lines about streams.
pub(crate) const TARGET: &str = "SSE";

/// The logs, for as long as this lives: what is left is written when it is dropped, if anybody reads it.
pub(crate) struct Logs {
    writer: Option<WorkerGuard>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        // The guard waits for its thread in bounded time, but speaks to standard output where that has
        // more to write than it can: perhaps the very pipe that nobody reads.
        let writer = self.writer.take();
        last_words::in_bounded_time(move || drop(writer));
    }
}

/// Counts the lines that were thrown away because nobody read standard error.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Starts logging to standard error: `TAILRACE_LOG` says what, as `info` or `info,SSE=debug`.
///
/// A thread of its own writes, and lines are thrown away where it cannot: nobody who serves streams
/// waits for a reader of standard error. What a panic says goes the same way.
///
/// # Errors
///
/// Where `TAILRACE_LOG` cannot be read.
pub(crate) fn start() -> Result<Logs, String> {
    let directives = std::env::var("TAILRACE_LOG").unwrap_or_default();
    let directives = if directives.is_empty() {
        DEFAULT
    } else {
        &directives
    };
    let filter = EnvFilter::try_new(directives).map_err(|error| {
        format!(
            "TAILRACE_LOG = {directives:?}: {error}; write a level (error, warn, info, debug), or \
             levels by target such as \"info,SSE=debug\""
        )
    })?;
    let never = NEVER_PARAMETERS
        .parse()
        .expect("the directive is well formed");
    let filter = filter.add_directive(never);
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_MAX)
        .finish(std::io::stderr());
    // There is one log in a process: a second start has failed in `init` below.
    let _ = LOST.set(writer.error_counter());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    last_words::of_panics();
    if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        audience::watch();
    }
    Ok(Logs {
        writer: Some(guard),
    })
}

/// How many lines were thrown away because nobody read standard error.
pub(crate) fn lines_lost() -> u64 {
    LOST.get()
        .map_or(0, |counter| counter.dropped_lines() as u64)
}

/// The lines about connections, at most [`LINES_PER_SECOND_MAX`] a second.
#[derive(Default)]
pub(crate) struct ConnectionLog {
    second: u64,
    lines: u32,
    skipped: u64,
    /// How many were skipped since the start.
    pub(crate) skipped_total: u64,
}

impl ConnectionLog {
    /// Somebody is let in.
    pub(crate) fn connected(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        user: Option<&str>,
        organization: &str,
    ) {
        if tracing::enabled!(target: TARGET, tracing::Level::INFO) && self.may_write(now_ms) {
            let user = Printable(user.unwrap_or("-"));
            let organization = Printable(organization);
            tracing::info!(
                target: TARGET,
                "[SSE] Client connected: {connection}, userId: {user}, organization: {organization}"
            );
        }
    }

    /// A granted connection ended.
    pub(crate) fn disconnected(&mut self, now_ms: u64, notice: &Notice) {
        let Notice::Closed {
            connection,
            reason,
            open_ms,
            events,
            ..
        } = notice
        else {
            return;
        };
        if tracing::enabled!(target: TARGET, tracing::Level::INFO) && self.may_write(now_ms) {
            let (reason, tenths) = (reason.as_str(), open_ms / 100);
            tracing::info!(
                target: TARGET,
                "[SSE] Client disconnected: {connection} ({reason}, {}.{} s, {events} events)",
                tenths / 10,
                tenths % 10,
            );
        }
    }

    /// Says how many lines were skipped, when their second is over.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        if self.skipped > 0 && now_ms / 1_000 != self.second {
            tracing::info!(target: TARGET, "[SSE] {} lines like these were skipped", self.skipped);
            self.skipped = 0;
        }
    }

    fn may_write(&mut self, now_ms: u64) -> bool {
        self.tick(now_ms);
        if now_ms / 1_000 != self.second {
            self.second = now_ms / 1_000;
            self.lines = 0;
        }
        let may_write = self.lines < LINES_PER_SECOND_MAX;
        self.lines += u32::from(may_write);
        self.skipped += u64::from(!may_write);
        self.skipped_total += u64::from(!may_write);
        may_write
    }
}

/// A name of the application's, made safe for a line: it may hold anything, and much of it.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        characters
            .by_ref()
            .take(NAME_CHARACTERS_MAX)
            .try_for_each(|character| match character.is_control() {
                true => write!(f, "{}", character.escape_default()),
                false => write!(f, "{character}"),
            })?;
        match characters.next() {
            Some(_) => f.write_str("…"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// Set in the process whose logs nobody reads.
    const CHILD: &str = "TAILRACE_TEST_UNREAD";

    /// The end of a pipe that is full, and stays so as long as the other end lives.
    fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        while writer.write(&[b'x'; 4096]).is_ok() {}
        while writer.write(b"x").is_ok() {}
        rustix::fs::fcntl_setfl(&writer, flags).unwrap();
        (reader, writer)
    }

    #[test]
    fn who_writes_a_line_or_panics_or_ends_waits_for_nobody_who_reads_it() {
        if std::env::var_os(CHILD).is_some() {
            write_what_nobody_reads();
        }
        let (reader, writer) = full_pipe();
        let name = "logs::tests::who_writes_a_line_or_panics_or_ends_waits_for_nobody_who_reads_it";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", name])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > end => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    panic!("it waits for whoever reads its log");
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        assert!(status.success(), "{status}");
        drop(reader);
    }

    fn write_what_nobody_reads() -> ! {
        let logs = start().unwrap();
        // What is said at the end on standard output finds nobody either.
        rustix::stdio::dup2_stdout(std::io::stderr()).unwrap();
        for line in 0..2 * WAITING_MAX {
            tracing::error!("line {line}");
        }
        assert!(lines_lost() > 0);
        let panicked = std::thread::spawn(|| panic!("as the test wants it")).join();
        assert!(panicked.is_err());
        drop(logs);
        // Not by way of the harness, which would say how the test went.
        std::process::exit(0);
    }

    #[test]
    fn a_second_has_a_hundred_lines_and_the_rest_is_counted() {
        let mut log = ConnectionLog::default();
        let written = (0..1_000).filter(|_| log.may_write(5_000)).count();
        assert_eq!(written, 100);
        assert_eq!((log.skipped, log.skipped_total), (900, 900));
        assert!(log.may_write(6_000));
        assert_eq!((log.skipped, log.skipped_total), (0, 900));
    }

    #[test]
    fn a_name_cannot_begin_a_line_of_its_own() {
        let text = Printable("ada\n[SSE] Client connected: x\u{1b}[0m").to_string();
        assert_eq!(text, "ada\\n[SSE] Client connected: x\\u{1b}[0m");
        let long = Printable(&"ä".repeat(10_000)).to_string();
        assert_eq!(long.chars().count(), NAME_CHARACTERS_MAX + 1);
    }
}

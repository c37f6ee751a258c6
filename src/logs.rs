//! Logs: where they go, and the lines about connections, which are many. Nothing here writes a payload
//! or a token.

use std::fmt;
use std::sync::OnceLock;

use engine::Notice;
use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::EnvFilter;
use wire::ConnectionId;

use crate::audience;

/// The most lines about connections in one second. Those beyond are counted, and the count is
/// logged.
const LINES_PER_SECOND_MAX: u32 = 100;

/// What is logged if nothing is said.
const DEFAULT: &str = "info";

/// Said last, whatever `TAILRACE_LOG` says: the database client's lines below warnings hold the
/// parameters of statements, which are names of users and contents of rows.
const NEVER_PARAMETERS: &str = "tokio_postgres=warn";

/// The target of the lines about streams.
pub(crate) const TARGET: &str = "SSE";

/// The logs, for as long as this lives: what is left is written when it is dropped.
pub(crate) struct Logs {
    _writer: WorkerGuard,
}

/// Counts the lines that were thrown away because nobody read standard error.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Starts logging to standard error: `TAILRACE_LOG` says what, as `info` or `info,SSE=debug`.
///
/// A thread of its own writes, and lines are thrown away where it cannot: nobody who serves streams
/// waits for a reader of standard error.
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
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    // There is one log in a process: a second start has failed in `init` below.
    let _ = LOST.set(writer.error_counter());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        audience::watch();
    }
    Ok(Logs { _writer: guard })
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

/// A name of the application's, made safe for a line: it may hold anything.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|character| match character.is_control() {
                true => write!(f, "{}", character.escape_default()),
                false => write!(f, "{character}"),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}

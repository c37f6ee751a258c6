//! What a process says on standard error itself when it ends: why it did not start, and where it
//! panicked. It waits for whoever reads, but not for ever: a process that has to end must end, also where
//! standard error is a pipe that nobody reads, or is closed. What it says meanwhile is in `logs`.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a reader of standard error is waited for.
const READER_MAX: Duration = Duration::from_secs(1);

/// As much as a pipe that has room takes in one piece: `PIPE_BUF`, pipe(7).
const PIECE_BYTES: usize = 4_096;

/// Says this, if anybody reads.
pub(crate) fn say(text: &str) {
    if !say_to(std::io::stderr(), text) {
        say_at_once(std::io::stderr(), text);
    }
}

/// Has panics said in this way. The standard library's own would wait for a reader, and an engine thread
/// that waits there keeps the process from ending: half a node would go on.
pub(crate) fn of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name");
        let mut text = format!("thread '{name}' {panic}\n");
        let backtrace = Backtrace::capture();
        // Where RUST_BACKTRACE asks for it.
        if backtrace.status() == BacktraceStatus::Captured {
            text.push_str(&backtrace.to_string());
        }
        say(&text);
    }));
}

/// Does what may wait for a reader, and goes on after [`READER_MAX`] whether or not it is done: it is left
/// behind on a thread of its own. Says whether there was a thread for it: without one nothing is done.
pub(crate) fn in_bounded_time(work: impl FnOnce() + Send + 'static) -> bool {
    let (done, is_done) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || {
        work();
        // Nobody listens any more where it took too long.
        let _ = done.send(());
    });
    if thread.is_ok() {
        // An error says that it was given up.
        let _ = is_done.recv_timeout(READER_MAX);
    }
    thread.is_ok()
}

fn say_to(mut output: impl Write + Send + 'static, text: &str) -> bool {
    let text = text.to_owned();
    in_bounded_time(move || {
        // Where it is closed, there is nobody to tell.
        let _ = output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush());
    })
}

/// Says it on this thread, where no other can be made (`RLIMIT_NPROC`, `pids.max`): perhaps the very reason
/// why it ends. Before each piece it is asked for room, so that nothing is written that would have to wait.
fn say_at_once(mut output: impl Write + AsFd, text: &str) {
    let Ok(at_most) = Timespec::try_from(READER_MAX) else {
        return;
    };
    for piece in text.as_bytes().chunks(PIECE_BYTES) {
        let has_room = poll(&mut [PollFd::new(&output, PollFlags::OUT)], Some(&at_most));
        if !matches!(has_room, Ok(1..)) || output.write_all(piece).is_err() {
            return;
        }
    }
    // Where it is closed, there is nobody to tell.
    let _ = output.flush();
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _};
    use std::process::Command;
    use std::sync::{Arc, Mutex};

    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::*;

    /// Set in the process that can make no thread.
    const CHILD: &str = "TAILRACE_TEST_NO_THREAD";

    /// A reader who is there.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_said_is_there_when_it_returns() {
        let page = Page::default();
        say_to(page.clone(), "why it ended\n");
        assert_eq!(*page.0.lock().unwrap(), b"why it ended\n");
    }

    #[test]
    fn nobody_who_ends_waits_for_a_reader_for_ever() {
        let (reader, writer) = io::pipe().unwrap();
        // More than a pipe holds (pipe(7)): without a bound this would never return.
        say_to(writer, &"x".repeat(1 << 20));
        drop(reader);
    }

    #[test]
    fn where_no_thread_can_be_made_it_is_said_all_the_same() {
        if std::env::var_os(CHILD).is_some() {
            say_without_threads();
        }
        let name = "last_words::tests::where_no_thread_can_be_made_it_is_said_all_the_same";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", name])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "why it ended\n");
    }

    /// A process that has no room for the stack of another thread: as root no limit of processes holds.
    fn say_without_threads() -> ! {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
        let taken = pages * rustix::param::page_size() as u64;
        let limit = Rlimit {
            current: Some(taken + (256 << 10)),
            maximum: None,
        };
        setrlimit(Resource::As, limit).unwrap();
        assert!(thread::Builder::new().spawn(|| ()).is_err());
        say("why it ended\n");
        // Not by way of the harness, which would say how the test went.
        std::process::exit(0);
    }

    #[test]
    fn without_a_thread_either_nobody_waits_for_a_reader_for_ever() {
        let text = "x".repeat(1 << 20);
        let (mut reader, writer) = io::pipe().unwrap();
        say_at_once(&writer, &text);
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(!read.is_empty() && read.len() < text.len());
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        say_at_once(&writer, &text);
    }
}

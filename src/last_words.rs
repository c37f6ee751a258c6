//! What a process says on standard error itself when it ends: why it did not start, and where it
//! panicked. It waits for whoever reads, but not for ever: a process that has to end must end, also where
//! standard error is a pipe that nobody reads, or is closed. What it says meanwhile is in `logs`.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a reader of standard error is waited for.
const READER_MAX: Duration = Duration::from_secs(1);

/// Says this, if anybody reads.
pub(crate) fn say(text: &str) {
    say_to(std::io::stderr(), text);
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
/// behind on a thread of its own.
pub(crate) fn in_bounded_time(work: impl FnOnce() + Send + 'static) {
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
}

fn say_to(mut output: impl Write + Send + 'static, text: &str) {
    let text = text.to_owned();
    in_bounded_time(move || {
        // Where it is closed, there is nobody to tell.
        let _ = output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush());
    });
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

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
}

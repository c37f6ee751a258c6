//! The signals that ask a node to end. What it does then is in `node`.

use std::{fs, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a node to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal is gone that the node was started from. `None` where whoever started it wants it to
    /// outlive that, as `nohup` does.
    hangup: Option<Signal>,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let status = fs::read_to_string("/proc/self/status")?;
        let hangup = match ignores_hangup(&status) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            terminate,
            interrupt,
            hangup,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            Some(()) = hear(self.hangup.as_mut()) => {}
        }
    }
}

async fn hear(signal: Option<&mut Signal>) -> Option<()> {
    signal?.recv().await
}

/// Whether SIGHUP is ignored by a process with this status: proc(5), `SigIgn`.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = 1 << (SignalKind::hangup().as_raw_value() - 1);
    mask.is_some_and(|mask| mask & bit != 0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn who_is_to_outlive_its_terminal_does_not_hear_of_its_end() {
        let status = |signals: &str| {
            let arguments = [signals, "cat", "/proc/self/status"];
            let output = Command::new("env").args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(ignores_hangup(&status("--ignore-signal=HUP")));
        assert!(!ignores_hangup(&status("--default-signal=HUP")));
    }
}

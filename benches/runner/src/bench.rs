//! One cell in the making: what its experiment is given, and what is remembered of the server for
//! the report.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use swarm::Layout;

use crate::contestant::{Sessions, Setting};
use crate::cores::Cores;
use crate::plan::{Ask, Plan};
use crate::process::on_cores;
use crate::stage::Stage;

/// The events of all experiments that do not say otherwise, as whole SSE blocks.
pub(crate) const BLOCK_BYTES: usize = 300;

/// As much as Tailrace keeps where nothing is configured.
const LOG_BYTES: u64 = 256 * 1024 * 1024;

/// A cell in the making.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) ask: &'a Ask,
    directory: Directory,
    /// The version and the configuration of the server that was started last.
    about: RefCell<(String, String)>,
}

impl<'a> Bench<'a> {
    /// Begins a cell.
    pub(crate) fn new(plan: &'a Plan, ask: &'a Ask) -> Result<Self> {
        Ok(Self {
            plan,
            ask,
            directory: Directory::new()?,
            about: RefCell::default(),
        })
    }

    /// Starts the cell's contestant on one thread, and its swarm.
    pub(crate) fn start(&self, streams: u32, layout: Layout) -> Result<Stage> {
        self.start_with(streams, layout, |_| {})
    }

    /// The same with a setting that is changed before.
    pub(crate) fn start_with(
        &self,
        streams: u32,
        layout: Layout,
        change: impl FnOnce(&mut Setting),
    ) -> Result<Stage> {
        let entrant = self
            .ask
            .entrant
            .context("this cell has no contestant to start")?;
        let mut setting = Setting {
            streams,
            layout,
            threads: 1,
            driver: entrant.driver,
            block_bytes: BLOCK_BYTES,
            sessions: Sessions::Tokens,
            log_bytes: LOG_BYTES,
            cores: Cores::of_machine(1),
            directory: self.directory.next()?,
            peers: self.plan.peers.clone(),
        };
        change(&mut setting);
        setting.cores = Cores::of_machine(setting.threads);
        let running = entrant.contestant.start(&setting)?;
        let configuration = without_places(&running.configuration, &setting.directory);
        *self.about.borrow_mut() = (running.version.clone(), configuration);
        Stage::new(running, setting)
    }

    /// The version and the configuration of the server that was started last; empty where none was.
    pub(crate) fn about(&self) -> (String, String) {
        self.about.borrow().clone()
    }

    /// An empty directory for whatever the cell needs; it goes with the cell.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        self.directory.next()
    }
}

/// A configuration without what is where only for this cell: its directory, and ports of loopback.
/// What is the same in all cells then reads the same.
fn without_places(configuration: &str, directory: &Path) -> String {
    const LOOPBACK: &str = "127.0.0.1:";
    let text = configuration.replace(&directory.display().to_string(), "DIRECTORY");
    let mut parts = text.split(LOOPBACK);
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean.push_str(LOOPBACK);
        let rest = part.trim_start_matches(|character: char| character.is_ascii_digit());
        clean.push_str(if rest.len() < part.len() { "PORT" } else { "" });
        clean.push_str(rest);
    }
    clean
}

/// Keeps this thread, and those that it starts from now on, on the cores of the load.
pub(crate) fn on_load_cores<T>(act: impl FnOnce() -> T) -> Result<T> {
    on_cores(&Cores::of_machine(1).load, act)
}

/// A directory that goes with its owner.
struct Directory {
    path: PathBuf,
    count: AtomicU32,
}

impl Directory {
    fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tailrace-runner-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        make(&path)?;
        Ok(Self {
            path,
            count: AtomicU32::new(0),
        })
    }

    /// An empty directory in it.
    fn next(&self) -> Result<PathBuf> {
        let path = self
            .path
            .join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        make(&path)?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left behind lies in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn make(path: &Path) -> Result<()> {
    std::fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_the_same_wherever_the_cell_lay() {
        let directory = Path::new("/tmp/cell-7/0");
        let text = "listen 127.0.0.1:4711; pid /tmp/cell-7/0/pid; backend 127.0.0.1:12, 3 threads";
        assert_eq!(
            without_places(text, directory),
            "listen 127.0.0.1:PORT; pid DIRECTORY/pid; backend 127.0.0.1:PORT, 3 threads"
        );
    }
}

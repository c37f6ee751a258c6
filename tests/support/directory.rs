//! Temporary directories that go with their owner, or with the next run where that was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::{Pid, is_alive};

const PREFIX: &str = "tailrace-test-";

/// A directory, removed with everything in it when dropped.
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        SWEEP.call_once(remove_leftovers);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short, since a Unix socket's path has room for 107 bytes (unix(7)).
        let path = std::env::temp_dir().join(format!("{PREFIX}{}-{count}", std::process::id()));
        fs::create_dir(&path).expect("the temporary directory can be written");
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it, as text.
    pub(crate) fn join(&self, name: &str) -> String {
        let path = self.path.join(name);
        path.to_str()
            .expect("temporary directories are named in UTF-8")
            .to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Removes what a killed run left: directories that carry the id of a process that is gone.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next())
            .and_then(|id| Pid::from_raw(id.parse().ok()?));
        if owner.is_some_and(|id| !is_alive(id)) {
            // Another user's, or another run removes it at this moment: not ours to mend.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

//! A control group with a limit of memory, of either version, for a process that goes into it and out
//! again. What a killed run left goes at the next start.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::support::process::{Pid, is_alive};

/// What the names of our groups begin with; the id of their process follows.
const PREFIX: &str = "tailrace-chaos-";

/// The files of a version, with the word before a figure where a file has several.
struct Version {
    root: &'static str,
    limit: &'static str,
    charged: &'static str,
    refused: (&'static str, &'static str),
    killed: (&'static str, &'static str),
}

/// Documentation/admin-guide/cgroup-v1/memory.rst of Linux.
const FIRST: Version = Version {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    charged: "memory.usage_in_bytes",
    refused: ("memory.failcnt", ""),
    killed: ("memory.oom_control", "oom_kill "),
};

/// Documentation/admin-guide/cgroup-v2.rst of Linux.
const SECOND: Version = Version {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    charged: "memory.current",
    refused: ("memory.events", "max "),
    killed: ("memory.events", "oom_kill "),
};

/// A group.
pub(crate) struct MemoryGroup {
    version: &'static Version,
    path: String,
    /// The group that whoever is in it comes from, our own.
    home: String,
}

impl MemoryGroup {
    /// A group without a limit, or why there is none.
    pub(crate) fn new(number: usize) -> Result<Self, String> {
        let groups = fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
        let first = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let is_memory = controllers.split(',').any(|name| name == "memory");
            is_memory.then_some(path)
        });
        let second = || groups.lines().find_map(|line| line.strip_prefix("0::"));
        let (version, own) = match (first, second()) {
            (Some(own), _) => (&FIRST, own),
            (None, Some(own)) => (&SECOND, own),
            (None, None) => return Err("no control group limits memory here".to_owned()),
        };
        let home = format!("{}{}", version.root, own.trim_end_matches('/'));
        let parent = match version.limit == SECOND.limit {
            true => giving(&home)?,
            false => home.clone(),
        };
        remove_leftovers(&parent);
        let path = format!("{parent}/{PREFIX}{}-{number}", std::process::id());
        fs::create_dir(&path).map_err(|error| format!("{path}: {error}"))?;
        let group = Self {
            version,
            path,
            home,
        };
        // Where the group can be made and has no such file, nothing limits memory.
        group.figure((version.charged, ""))?;
        Ok(group)
    }

    /// The process is charged here from now on; what it has is not.
    pub(crate) fn take_in(&self, process: Pid) -> Result<(), String> {
        self.write("cgroup.procs", &process.as_raw_nonzero().to_string())
    }

    /// Limits it to what it is charged, and so many bytes more.
    pub(crate) fn leave(&self, more: u64) -> Result<(), String> {
        let limit = self.figure((self.version.charged, ""))? + more;
        self.write(self.version.limit, &limit.to_string())
    }

    /// How often its limit was reached.
    pub(crate) fn refused(&self) -> Result<u64, String> {
        self.figure(self.version.refused)
    }

    /// How many of its processes the kernel has killed for it.
    pub(crate) fn killed(&self) -> Result<u64, String> {
        self.figure(self.version.killed)
    }

    fn figure(&self, (name, word): (&str, &str)) -> Result<u64, String> {
        let file = format!("{}/{name}", self.path);
        let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(word));
        let figure = lines.next().and_then(|figure| figure.trim().parse().ok());
        figure.ok_or_else(|| format!("{file}: no figure in {text:?}"))
    }

    fn write(&self, name: &str, value: &str) -> Result<(), String> {
        let file = format!("{}/{name}", self.path);
        fs::write(&file, value).map_err(|error| format!("{file}: {error}"))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Whoever is still in it goes back; a group goes when nobody is.
        for process in fs::read_to_string(format!("{}/cgroup.procs", self.path))
            .unwrap_or_default()
            .lines()
        {
            let _ = fs::write(format!("{}/cgroup.procs", self.home), process);
        }
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() || !Path::new(&self.path).exists() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("the control group {} stays", self.path);
    }
}

/// In the second version: the nearest group above that gives its children memory of their own. One that
/// has processes cannot.
fn giving(home: &str) -> Result<String, String> {
    let above = Path::new(home).ancestors().skip(1);
    let mut groups = above.take_while(|path| path.starts_with(SECOND.root));
    let giving = groups.find(|path| {
        let given = fs::read_to_string(path.join("cgroup.subtree_control"));
        given.is_ok_and(|given| given.split_whitespace().any(|name| name == "memory"))
    });
    let giving = giving.ok_or("no control group above gives its children memory")?;
    Ok(giving.display().to_string())
}

/// Groups that carry the id of a process that is gone.
fn remove_leftovers(parent: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let id = id.and_then(|id| id.split('-').next()?.parse().ok());
        if id.and_then(Pid::from_raw).is_some_and(|id| !is_alive(id)) {
            // Another run removes it at this moment, or its process lives on: not ours to mend.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

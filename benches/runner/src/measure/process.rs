//! CPU time and memory of a set of processes, with their children, between two moments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

/// What a set of processes had used at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    at: Instant,
    threads: BTreeMap<u32, Thread>,
    /// Resident memory, in bytes.
    pub(crate) rss: u64,
    /// The part of it that is no page of a file, in bytes. Pages of the program and its libraries the
    /// kernel takes from whoever rests, and they come back with the next event: what rests and what grows is told
    /// without them.
    pub(crate) memory: u64,
}

#[derive(Clone, Debug, Default)]
struct Thread {
    name: String,
    /// CPU time in nanoseconds, exactly.
    run: u64,
    /// The same in the clock's ticks, which are coarse but tell user from system.
    user_ticks: u64,
    system_ticks: u64,
}

/// What was used between two samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used {
    /// How long that was, in seconds.
    pub(crate) seconds: f64,
    /// CPU time of all threads, in seconds.
    pub(crate) cpu: f64,
    /// The part of it that was the kernel's, from 0 to 1.
    pub(crate) system_share: f64,
    /// CPU time by the name of the thread, in seconds, the most first.
    pub(crate) threads: Vec<(String, f64)>,
}

impl Used {
    /// CPU seconds per second: 1 is a core.
    pub(crate) fn cores(&self) -> f64 {
        self.cpu / self.seconds
    }

    /// `engine-0 0.93, control 0.01`: the cores that each of the busiest threads took.
    pub(crate) fn threads_in_words(&self) -> String {
        const NAMED: usize = 4;
        let busy = self
            .threads
            .iter()
            .take(NAMED)
            .filter(|(_, cpu)| cpu / self.seconds >= 0.005);
        let words: Vec<String> = busy
            .map(|(name, cpu)| format!("{name} {:.2}", cpu / self.seconds))
            .collect();
        words.join(", ")
    }
}

impl Sample {
    /// Of these processes and all that they started, but not of `apart` and what those started.
    pub(crate) fn take(roots: &[u32], apart: &[u32]) -> Self {
        let processes = with_children(roots, apart, &parents());
        let mut threads = BTreeMap::new();
        let (mut rss, mut memory) = (0, 0);
        for process in processes {
            // A process may end while it is looked at.
            if let Some(resident) = Resident::read(process) {
                rss += resident.all;
                memory += resident.without_files;
            }
            for entry in fs::read_dir(format!("/proc/{process}/task"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let Some(id) = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok())
                else {
                    continue;
                };
                // A thread may end while it is looked at.
                if let Some(thread) = Thread::read(process, id) {
                    threads.insert(id, thread);
                }
            }
        }
        Self {
            at: Instant::now(),
            threads,
            rss,
            memory,
        }
    }

    /// What was used since an earlier sample.
    pub(crate) fn since(&self, earlier: &Self) -> Used {
        let none = Thread::default();
        let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut run, mut user, mut system) = (0, 0, 0);
        for (id, thread) in &self.threads {
            let before = earlier.threads.get(id).unwrap_or(&none);
            let ran = thread.run.saturating_sub(before.run);
            *by_name.entry(&thread.name).or_default() += ran;
            run += ran;
            user += thread.user_ticks.saturating_sub(before.user_ticks);
            system += thread.system_ticks.saturating_sub(before.system_ticks);
        }
        let mut threads: Vec<(String, f64)> = by_name
            .into_iter()
            .map(|(name, run)| (name.to_owned(), run as f64 / 1e9))
            .collect();
        threads.sort_by(|left, right| right.1.total_cmp(&left.1));
        Used {
            seconds: (self.at - earlier.at).as_secs_f64(),
            cpu: run as f64 / 1e9,
            system_share: if user + system == 0 {
                0.0
            } else {
                system as f64 / (user + system) as f64
            },
            threads,
        }
    }
}

/// How many descriptors these processes and all that they started have open.
pub(crate) fn open_files(roots: &[u32]) -> u64 {
    let count = |process| {
        let files = fs::read_dir(format!("/proc/{process}/fd"));
        files.map_or(0, |files| files.count() as u64)
    };
    with_children(roots, &[], &parents())
        .into_iter()
        .map(count)
        .sum()
}

impl Thread {
    fn read(process: u32, thread: u32) -> Option<Self> {
        let directory = format!("/proc/{process}/task/{thread}");
        let run = fs::read_to_string(format!("{directory}/schedstat")).ok()?;
        let run = run.split_ascii_whitespace().next()?.parse().ok()?;
        let stat = Stat::parse(&fs::read_to_string(format!("{directory}/stat")).ok()?)?;
        let Stat {
            name,
            user_ticks,
            system_ticks,
            ..
        } = stat;
        Some(Self {
            name,
            run,
            user_ticks,
            system_ticks,
        })
    }
}

/// The fields of `/proc/<pid>/stat` that are of use here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: u32,
    user_ticks: u64,
    system_ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name is in brackets, and may itself hold brackets and spaces.
        let (head, rest) = text.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The state is the first field after the name, and the third of the file.
        Some(Self {
            name,
            parent: fields.get(1)?.parse().ok()?,
            user_ticks: fields.get(11)?.parse().ok()?,
            system_ticks: fields.get(12)?.parse().ok()?,
        })
    }
}

/// The parent of every process of the machine.
fn parents() -> BTreeMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |entry: fs::DirEntry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = Stat::parse(&fs::read_to_string(entry.path().join("stat")).ok()?)?;
        Some((id, stat.parent))
    };
    entries.filter_map(process).collect()
}

/// The roots, and all whose line of parents leads to one of them before it leads to one of `apart`.
fn with_children(roots: &[u32], apart: &[u32], parents: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    let belongs = |id: u32| {
        let mut id = id;
        // Numbers are used again, so a line of parents that was read bit by bit might not end.
        for _ in 0..64 {
            if apart.contains(&id) {
                return false;
            }
            if roots.contains(&id) {
                return true;
            }
            let Some(parent) = parents.get(&id) else {
                return false;
            };
            id = *parent;
        }
        false
    };
    parents.keys().copied().filter(|id| belongs(*id)).collect()
}

/// The resident memory of a process, in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Resident {
    all: u64,
    without_files: u64,
}

impl Resident {
    /// Exactly (`/proc/<pid>/status` is only near it).
    fn read(process: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kilobytes * 1024)
        };
        Some(Self {
            all: bytes("Rss:")?,
            // What processes share, as those of nginx do, is divided among them.
            without_files: bytes("Anonymous:")? + bytes("Pss_Shmem:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "42 (a) b (c)) S 7 1 1 0 -1 4194304 1 2 3 4 55 66 0 0 20 0 1 0 100 0 0\n";
        let stat = Stat::parse(text).unwrap();
        let expected = Stat {
            name: "a) b (c)".to_owned(),
            parent: 7,
            user_ticks: 55,
            system_ticks: 66,
        };
        assert_eq!(stat, expected);
    }

    #[test]
    fn pages_of_files_are_resident_and_not_counted_as_the_process_own() {
        let text = "55-7f ---p 00000000 00:00 0    [rollup]\nRss:   1644 kB\nPss_File:  234 kB\n\
                    Pss_Shmem:      64 kB\nAnonymous:     116 kB\n";
        let expected = Resident {
            all: 1_644 * 1_024,
            without_files: 180 * 1_024,
        };
        assert_eq!(Resident::parse(text), Some(expected));
    }

    #[test]
    fn children_count_with_their_parent_unless_they_stand_apart() {
        let parents = BTreeMap::from([
            (1, 0),
            (10, 1),
            (11, 10),
            (12, 11),
            (20, 10),
            (21, 20),
            (30, 1),
        ]);
        let found = with_children(&[10], &[20], &parents);
        assert_eq!(found, BTreeSet::from([10, 11, 12]));
    }

    #[test]
    fn a_file_that_is_open_is_counted() {
        let own = [std::process::id()];
        let least = open_files(&own);
        let files: Vec<fs::File> = (0..500)
            .map(|_| fs::File::open("/proc/self/stat").unwrap())
            .collect();
        // Other tests open and close some meanwhile.
        assert!(open_files(&own) >= least + 400);
        drop(files);
        assert!(open_files(&own) <= least + 100);
    }

    #[test]
    fn a_busy_thread_is_seen_to_be_busy() {
        let own = [std::process::id()];
        let before = Sample::take(&own, &[]);
        let began = Instant::now();
        let mut sum = 0_u64;
        while began.elapsed().as_millis() < 50 {
            sum = std::hint::black_box(sum + 1);
        }
        let used = Sample::take(&own, &[]).since(&before);
        assert!(used.cpu > 0.0 && used.seconds >= 0.05, "{used:?}");
        assert!(before.rss > 100_000, "{} bytes", before.rss);
        assert!(
            (50_000..before.rss).contains(&before.memory),
            "{}",
            before.memory
        );
    }

    #[test]
    fn use_is_the_difference_and_new_threads_count_from_nothing() {
        let thread = |name: &str, run, user_ticks, system_ticks| Thread {
            name: name.to_owned(),
            run,
            user_ticks,
            system_ticks,
        };
        let at = Instant::now();
        let before = Sample {
            at,
            threads: BTreeMap::from([(1, thread("engine", 1_000_000_000, 10, 10))]),
            rss: 0,
            memory: 0,
        };
        let after = Sample {
            at: at + std::time::Duration::from_secs(2),
            threads: BTreeMap::from([
                (1, thread("engine", 2_500_000_000, 40, 100)),
                (2, thread("control", 500_000_000, 30, 0)),
            ]),
            rss: 0,
            memory: 0,
        };
        let used = after.since(&before);
        assert_eq!(used.cpu, 2.0);
        assert_eq!(used.cores(), 1.0);
        assert_eq!(used.system_share, 0.6);
        assert_eq!(used.threads_in_words(), "engine 0.75, control 0.25");
    }
}

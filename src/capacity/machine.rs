//! What the machine says about its limits. What they mean for streams is in `bounds`.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// The limits of a machine, for a process on it; what cannot be read, or bounds nothing, is `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// Descriptors that the process may have: a node takes its hard limit (`RLIMIT_NOFILE`).
    pub(crate) descriptors: Option<u64>,
    /// The most that the former can be set to (`fs.nr_open`).
    pub(crate) descriptors_settable: Option<u64>,
    /// Files that all processes together may yet open (`fs.file-max`).
    pub(crate) files_free: Option<u64>,
    /// Files that they have open.
    pub(crate) files_taken: Option<u64>,
    /// Bytes that can be had without swapping (`MemAvailable`).
    pub(crate) memory_free: Option<u64>,
    /// Bytes that the tightest control group around the process may yet take.
    pub(crate) memory_group_free: Option<u64>,
    /// Pages that TCP may have in all (`net.ipv4.tcp_mem`, the last of three).
    pub(crate) tcp_pages: Option<u64>,
    /// Connections that netfilter tracks at most, where it tracks any.
    pub(crate) tracked_max: Option<u64>,
    /// Sockets that a user's epoll instances may watch.
    pub(crate) epoll_watches: Option<u64>,
    /// Connections that may wait to be accepted by each engine (`net.core.somaxconn`).
    pub(crate) backlog: Option<u64>,
}

/// A backlog shorter than this drops connections when everybody comes back at once.
const BACKLOG_FEW: u64 = 1_024;

impl Machine {
    /// Looks at this one.
    pub(crate) fn read() -> Self {
        let descriptors_settable = number("/proc/sys/fs/nr_open");
        let files = fs::read_to_string("/proc/sys/fs/file-nr").ok();
        let (files_free, files_taken) = files.as_deref().and_then(self::files).unzip();
        let memory = fs::read_to_string("/proc/meminfo").ok();
        Self {
            descriptors: getrlimit(Resource::Nofile).maximum.or(descriptors_settable),
            descriptors_settable,
            files_free,
            files_taken,
            memory_free: memory.as_deref().and_then(memory_free),
            memory_group_free: memory_group_free(),
            tcp_pages: numbers("/proc/sys/net/ipv4/tcp_mem").last().copied(),
            tracked_max: tracked_max(
                number("/proc/sys/net/netfilter/nf_conntrack_max"),
                number("/proc/sys/net/netfilter/nf_conntrack_count"),
            ),
            epoll_watches: number("/proc/sys/fs/epoll/max_user_watches"),
            backlog: number("/proc/sys/net/core/somaxconn"),
        }
    }

    /// That few may wait to be accepted, if so. It bounds no number of streams, but how fast they come.
    pub(crate) fn short_backlog(&self) -> Option<String> {
        let short = self.backlog.filter(|count| *count < BACKLOG_FEW)?;
        Some(format!("only {short} connections may wait to be accepted"))
    }
}

/// Of a file with numbers, all of them.
fn numbers(path: impl AsRef<Path>) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let words = text.split_whitespace();
    words.map_while(|word| word.parse().ok()).collect()
}

fn number(path: impl AsRef<Path>) -> Option<u64> {
    numbers(path).first().copied()
}

/// The files that may yet be opened, and those that are open, from three numbers: those that were made,
/// the free among them, and the most (proc(5), `/proc/sys/fs/file-nr`).
fn files(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let (made, idle, most) = (next()?, next()?, next()?);
    let taken = made.saturating_sub(idle);
    Some((most.saturating_sub(taken), taken))
}

fn memory_free(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes.saturating_mul(1_024))
}

/// Where nothing is tracked, no rule asks for it, and the module's bound is nobody's.
fn tracked_max(most: Option<u64>, tracked: Option<u64>) -> Option<u64> {
    most.filter(|_| tracked.is_some_and(|count| count > 0))
}

/// Where the two versions of control groups say how much memory a group has, may have, and could give
/// back of its page cache.
struct Files {
    root: &'static str,
    most: &'static str,
    taken: &'static str,
    idle: &'static str,
}

const VERSION_1: Files = Files {
    root: "/sys/fs/cgroup/memory",
    most: "memory.limit_in_bytes",
    taken: "memory.usage_in_bytes",
    idle: "total_inactive_file ",
};

const VERSION_2: Files = Files {
    root: "/sys/fs/cgroup",
    most: "memory.max",
    taken: "memory.current",
    idle: "inactive_file ",
};

/// The tightest of the groups around this process.
fn memory_group_free() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups
        .lines()
        .filter_map(group_of)
        .filter_map(tightest)
        .min()
}

/// Of a line of `/proc/self/cgroup` that is about memory, the files and the group's path.
fn group_of(line: &str) -> Option<(Files, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    match controllers {
        "" => Some((VERSION_2, path)),
        _ if controllers.split(',').any(|name| name == "memory") => Some((VERSION_1, path)),
        _ => None,
    }
}

/// Looks at a group and at all those around it. In a container the path may be the host's, of which only
/// the root is there.
fn tightest((files, path): (Files, &str)) -> Option<u64> {
    let group = PathBuf::from(files.root).join(path.trim_start_matches('/'));
    let around = group
        .ancestors()
        .take_while(|it| it.starts_with(files.root));
    around.filter_map(|group| free_of(&files, group)).min()
}

/// What a group may yet take; `None` where it has no bound.
fn free_of(files: &Files, group: &Path) -> Option<u64> {
    let most = number(group.join(files.most)).filter(|most| *most < UNBOUNDED)?;
    let taken = number(group.join(files.taken)).unwrap_or_default();
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let idle = stat.lines().find_map(|line| line.strip_prefix(files.idle));
    let idle = idle
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or_default();
    Some(most.saturating_sub(taken.saturating_sub(idle)))
}

/// Version 1 has no word for a group without a bound: the number is this one, to the page.
const UNBOUNDED: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(files("993\t0\t2466170\n"), Some((2_465_177, 993)));
        assert_eq!(files("993 0"), None);
        let text = "MemTotal: 24684084 kB\nMemAvailable:   23611768 kB\n";
        assert_eq!(memory_free(text), Some(23_611_768 * 1_024));
        assert_eq!(memory_free("MemTotal: 1 kB"), None);
        assert_eq!(tracked_max(Some(262_144), Some(0)), None);
        assert_eq!(tracked_max(Some(262_144), Some(7)), Some(262_144));
        assert_eq!(tracked_max(None, None), None);
        let short = |count| {
            let machine = Machine {
                backlog: Some(count),
                ..Machine::default()
            };
            machine.short_backlog()
        };
        assert!(short(128).is_some_and(|says| says.contains("only 128 ")));
        assert_eq!(short(4_096), None);
    }

    #[test]
    fn a_group_is_found_in_both_versions() {
        let path_of = |line| group_of(line).map(|(files, path)| (files.most, path));
        let second = path_of("0::/system.slice/tailrace.service");
        assert_eq!(
            second,
            Some(("memory.max", "/system.slice/tailrace.service"))
        );
        let first = path_of("4:memory:/docker/0123");
        assert_eq!(first, Some(("memory.limit_in_bytes", "/docker/0123")));
        assert_eq!(path_of("3:cpuset:/docker/0123"), None);
    }

    #[test]
    fn a_group_has_what_it_may_take_and_could_give_back() {
        let group = std::env::temp_dir().join(format!("tailrace-group-{}", std::process::id()));
        fs::create_dir_all(&group).unwrap();
        let write = |name: &str, text: &str| fs::write(group.join(name), text).unwrap();
        write("memory.max", "max\n");
        assert_eq!(free_of(&VERSION_2, &group), None);
        write("memory.max", "1000000\n");
        write("memory.current", "600000\n");
        write("memory.stat", "anon 1\ninactive_file 200000\n");
        assert_eq!(free_of(&VERSION_2, &group), Some(600_000));
        write("memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(free_of(&VERSION_1, &group), None);
        fs::remove_dir_all(&group).unwrap();
    }
}

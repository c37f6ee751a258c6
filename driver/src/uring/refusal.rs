//! Why the kernel refuses a ring, and how to get one, in words for an operator.

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// Where the kernel says whether io_uring is switched off (since Linux 6.6).
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Explains an error of `io_uring_setup`.
pub(super) fn explain(error: Errno, ring_bytes: u64) -> String {
    let switch = std::fs::read_to_string(SWITCH).ok();
    let memlock = getrlimit(Resource::Memlock).current;
    describe(error, switch.as_deref().map(str::trim), memlock, ring_bytes)
}

fn describe(error: Errno, switch: Option<&str>, memlock: Option<u64>, ring_bytes: u64) -> String {
    match (error, switch) {
        (Errno::PERM | Errno::ACCESS, Some(value @ ("1" | "2"))) => format!(
            "kernel.io_uring_disabled is {value} ({error}): set it to 0, or to 1 with this user's \
             group in kernel.io_uring_group"
        ),
        (Errno::PERM | Errno::ACCESS, _) => format!(
            "a seccomp profile or a security module blocks it ({error}); the default profile of \
             Docker (since 25) and containerd (since 2.0) does: run with a profile that allows \
             io_uring_setup, io_uring_enter and io_uring_register"
        ),
        (Errno::NOSYS, _) => format!(
            "the kernel has no io_uring, or a seccomp profile hides it ({error}): Linux 6.1 or \
             newer is needed, and a profile that allows io_uring_setup, io_uring_enter and \
             io_uring_register"
        ),
        (Errno::NOMEM, _) => format!(
            "the engines' rings do not fit, not even of {ring_bytes} bytes each ({error}): the \
             limit of locked memory is {}; raise it (ulimit -l, LimitMEMLOCK), some 256 KiB for each \
             engine thread",
            memlock.map_or(String::from("unlimited"), |bytes| format!("{bytes} bytes")),
        ),
        _ => format!("io_uring_setup: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_how_it_is_mended() {
        let say = |error, switch| describe(error, switch, Some(65_536), 200_000);
        assert!(say(Errno::PERM, Some("2")).contains("io_uring_disabled is 2"));
        assert!(say(Errno::PERM, Some("0")).contains("seccomp"));
        assert!(say(Errno::PERM, None).contains("seccomp"));
        assert!(say(Errno::NOSYS, None).contains("Linux 6.1"));
        let memory = say(Errno::NOMEM, Some("0"));
        assert!(
            memory.contains("65536 bytes") && memory.contains("LimitMEMLOCK"),
            "{memory}"
        );
    }
}

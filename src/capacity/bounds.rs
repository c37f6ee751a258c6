//! Each limit in streams, and how it is raised. Which of them binds is the parent's matter.

use super::{Machine, Plan, grouped};
use crate::config::units::human_bytes;
use crate::control;

/// What one machine is built for: no limit is to be raised further than that.
pub(crate) const GOAL: u64 = 1_000_000;

/// Bytes of the process for a stream: the worst case, one stream an organisation (U₁ of `docs/sizing.md`).
const USER_BYTES: u64 = 632;

/// And for its membership, where those are held: one a stream, at worst (M there).
const MEMBERSHIP_BYTES: u64 = 320;

/// Bytes of the kernel for an idle stream: 3,860 for socket, inode, directory entry and file, 256 for one
/// armed watch. A control group is charged with them, too.
const KERNEL_BYTES: u64 = 3_860 + 256;

/// What a node has without any stream and any event.
const NODE_BYTES: u64 = 32 << 20;

/// What a flood can make a node hold beside its streams, whatever the crowd: requests that wait for the control
/// thread, and credentials that wait for an answer.
const FLOOD_BYTES: u64 = control::WAITING_BYTES_MAX as u64;

/// And each engine: requests in pieces, and responses that nobody takes.
const FLOOD_ENGINE_BYTES: u64 =
    (engine::limits::INPUTS_BYTES_MAX + engine::limits::RESPONSES_BYTES_MAX) as u64;

/// Descriptors of a node without any stream: its connections to PostgreSQL and to key servers, its log,
/// its runtime. No client is given them.
const NODE_DESCRIPTORS: u64 = driver::RESERVED_DESCRIPTORS;

/// And for each engine: a listener, a ring, an eventfd, and one to spare.
const ENGINE_DESCRIPTORS: u64 = 4;

/// Of the descriptors this part, and at most so many, is for those who come and go: who is not let in, who
/// asks for anything else, and who lingers.
const PASSING_SHARE: u64 = 20;
/// See [`PASSING_SHARE`].
const PASSING_MAX: u64 = 1_000;

/// One limit.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// The limit's own name.
    pub(crate) name: &'static str,
    /// As many streams fit under it.
    pub(crate) streams: u64,
    /// What there is of it, for a person.
    pub(crate) has: String,
    mend: Mend,
}

/// How a limit is raised.
#[derive(Clone, Copy, Debug)]
enum Mend {
    /// By systemd, Docker or the shell, as far as `fs.nr_open` allows.
    Descriptors {
        reserve: u64,
        settable: u64,
    },
    /// Others have so many of them open.
    Files {
        reserve: u64,
        taken: u64,
    },
    Memory {
        stream_bytes: u64,
    },
    GroupMemory {
        stream_bytes: u64,
    },
    TcpMemory,
    Tracked,
    Watches,
    Memberships {
        per_user: u64,
    },
    Configured,
}

/// Every limit that is known.
pub(super) fn all(machine: &Machine, plan: &Plan) -> Vec<Bound> {
    [
        descriptors(machine, plan),
        files(machine, plan),
        memory(machine.memory_free, plan, "memory", |stream_bytes| {
            Mend::Memory { stream_bytes }
        }),
        memory(
            machine.memory_group_free,
            plan,
            "memory of the control group",
            |stream_bytes| Mend::GroupMemory { stream_bytes },
        ),
        tcp_memory(machine),
        tracked(machine),
        watches(machine, plan),
        memberships(plan),
        configured(plan),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn descriptors(machine: &Machine, plan: &Plan) -> Option<Bound> {
    let most = machine.descriptors?;
    let reserve = reserve(most, plan);
    Some(Bound {
        name: "RLIMIT_NOFILE",
        streams: most.saturating_sub(reserve),
        has: format!("{} descriptors", grouped(most)),
        mend: Mend::Descriptors {
            reserve,
            settable: machine.descriptors_settable.unwrap_or(u64::MAX),
        },
    })
}

/// The descriptors that are not for streams.
fn reserve(most: u64, plan: &Plan) -> u64 {
    let own = NODE_DESCRIPTORS + ENGINE_DESCRIPTORS * plan.engines;
    let passing = (most / PASSING_SHARE).min(PASSING_MAX);
    own.max(passing)
}

fn files(machine: &Machine, plan: &Plan) -> Option<Bound> {
    let free = machine.files_free?;
    let reserve = reserve(free, plan);
    Some(Bound {
        name: "fs.file-max",
        streams: free.saturating_sub(reserve),
        has: format!("{} open files are left", grouped(free)),
        mend: Mend::Files {
            reserve,
            taken: machine.files_taken.unwrap_or_default(),
        },
    })
}

fn memory(
    free: Option<u64>,
    plan: &Plan,
    name: &'static str,
    mend: fn(u64) -> Mend,
) -> Option<Bound> {
    let free = free?;
    let membership = plan.memberships.map_or(0, |_| MEMBERSHIP_BYTES);
    let stream_bytes = USER_BYTES + KERNEL_BYTES + membership;
    let left = free
        .saturating_sub(plan.log_bytes)
        .saturating_sub(NODE_BYTES);
    // A flood is an attack, and streams are what the node is for: where there is little, each has half.
    let floods = (FLOOD_BYTES + FLOOD_ENGINE_BYTES * plan.engines).min(left / 2);
    let kept = free - (left - floods);
    Some(Bound {
        name,
        streams: (left - floods) / stream_bytes,
        has: format!(
            "{} are free, and {} of that is for the node, its log and floods",
            human_bytes(free),
            human_bytes(kept)
        ),
        mend: mend(stream_bytes),
    })
}

/// A socket with anything on its way holds at least a page of what TCP may have in all, and an event for
/// everybody is on its way to everybody.
fn tcp_memory(machine: &Machine) -> Option<Bound> {
    let pages = machine.tcp_pages?;
    Some(Bound {
        name: "net.ipv4.tcp_mem",
        streams: pages,
        has: format!("{} pages for what is on its way", grouped(pages)),
        mend: Mend::TcpMemory,
    })
}

fn tracked(machine: &Machine) -> Option<Bound> {
    let most = machine.tracked_max?;
    Some(Bound {
        name: "net.netfilter.nf_conntrack_max",
        streams: most,
        has: format!("{} connections are tracked at most", grouped(most)),
        mend: Mend::Tracked,
    })
}

fn watches(machine: &Machine, plan: &Plan) -> Option<Bound> {
    let most = machine.epoll_watches.filter(|_| plan.is_epoll)?;
    Some(Bound {
        name: "fs.epoll.max_user_watches",
        streams: most,
        has: format!("{} sockets are watched at most", grouped(most)),
        mend: Mend::Watches,
    })
}

/// Nobody is let in whose membership is not held. Where a user may have any number of streams, that
/// bounds none.
fn memberships(plan: &Plan) -> Option<Bound> {
    let (rows, per_user) = (plan.memberships?, plan.streams_per_user?);
    Some(Bound {
        name: "membership.max",
        streams: rows.saturating_mul(per_user),
        has: format!("{} rows, {per_user} streams a user", grouped(rows)),
        mend: Mend::Memberships { per_user },
    })
}

fn configured(plan: &Plan) -> Option<Bound> {
    let most = plan.streams?;
    Some(Bound {
        name: "limits.connections",
        streams: most,
        has: format!("{} streams by configuration", grouped(most)),
        mend: Mend::Configured,
    })
}

impl Bound {
    /// How it is raised for so many streams.
    pub(crate) fn mend(&self, streams: u64) -> String {
        match self.mend {
            Mend::Descriptors { reserve, settable } => {
                let count = streams.saturating_add(reserve.max(PASSING_MAX));
                let raise = format!(
                    "raise LimitNOFILE to {count} (systemd), --ulimit nofile={count} (Docker) or \
                     ulimit -Hn {count}"
                );
                match count > settable {
                    true => format!("sysctl -w fs.nr_open={count}, then {raise}"),
                    false => raise,
                }
            }
            Mend::Files { reserve, taken } => {
                let more = streams.saturating_add(reserve.max(PASSING_MAX));
                let most = taken.saturating_add(more.saturating_mul(2));
                format!("as root: sysctl -w fs.file-max={most} or more")
            }
            Mend::Memory { stream_bytes } => format!(
                "a machine with more memory, at some {} a stream, a smaller history.max_bytes or fewer \
                 engine.threads",
                human_bytes(stream_bytes)
            ),
            Mend::GroupMemory { stream_bytes } => format!(
                "raise MemoryMax= (systemd) or --memory (Docker), by some {} a stream",
                human_bytes(stream_bytes)
            ),
            // The kernel's own proportions of the three numbers, in pages.
            Mend::TcpMemory => format!(
                "as root: sysctl -w net.ipv4.tcp_mem=\"{} {} {streams}\"",
                streams / 2,
                streams / 3 * 2
            ),
            Mend::Tracked => format!(
                "as root: sysctl -w net.netfilter.nf_conntrack_max={}, or notrack for the node's \
                 port",
                streams.saturating_mul(2)
            ),
            Mend::Watches => {
                format!("as root: sysctl -w fs.epoll.max_user_watches={streams}")
            }
            Mend::Memberships { per_user } => {
                format!(
                    "raise membership.max to {}",
                    streams.div_ceil(per_user.max(1))
                )
            }
            Mend::Configured => format!("raise limits.connections to {streams}, if that is meant"),
        }
    }
}

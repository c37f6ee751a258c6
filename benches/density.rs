//! Memory per idle stream: user memory of the server process, and kernel memory beyond the socket.
//!
//! `cargo bench --bench density`. User memory is the least-squares slope of RSS (`smaps_rollup`)
//! over 2,500, 5,000 … 17,500 idle streams of distinct users, 100 streams per organisation, on one
//! engine; beside it, one stream per organisation. Then every stream is sent a burst of 1,000
//! events, and after at least a minute's rest RSS is read again: what it grew by, per stream.
//!
//! Kernel memory is what the slab caches of watches and operations in flight (`/proc/slabinfo`, root
//! only) grow by, in the median of the steps, less what they grow by for the bare loop, which keeps
//! nothing in the kernel for an open stream but its socket. The caches are the whole machine's: this
//! column wants one that does nothing else. All of it takes some twenty minutes, most of them for the
//! burst; `-- --events 0 --rest-seconds 0` leaves that out, and `-- --columns "whole node;bare"` measures only
//! the servers in whose names one of these occurs (without the bare loop the kernel's column is not less
//! anything).
//!
//! The servers are those of `fanout`; Tailrace on io_uring stands there again with mimalloc, as it
//! comes and tuned, built from `density_mimalloc.rs`, and as the whole node (`density/node.rs`),
//! whose burst is 1,000 committed rows, each for one of the organisations in turn. The node remembers for
//! a minute whom it has verified, within bounds of its own: an idle stream is what is there when that is
//! forgotten. Its user memory is therefore that of two points, the first step and the last, each read
//! after some minutes; beside it stands what was there a second after the last stream was opened.

#[path = "density/node.rs"]
#[expect(dead_code, reason = "shared with `connect`, which uses more of it")]
mod node;
mod support;

use std::time::Duration;

use node::Node;
use support::{Contestant, Readers, Requests, Server, Session, build};

/// Each event of the burst, as a whole SSE block; the node's own are somewhat longer.
const EVENT_BYTES: usize = 300;

/// As many streams each organisation has, where it is not one.
const ORGANISATION: usize = 100;

/// How long a server may tidy up before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);

/// How long the whole node may: a verdict is remembered for a minute, and looked at every ten seconds.
const FORGET: Duration = Duration::from_secs(75);

fn main() {
    support::play_role();
    if !support::is_asked_to_measure() {
        return;
    }
    let plan = Plan {
        step: support::option("--step", 2_500),
        steps: support::option("--steps", 7),
        events: support::option("--events", 1_000),
        rest: Duration::from_secs(support::option("--rest-seconds", 60) as u64),
    };
    let wanted = Wanted::asked();
    let mut columns: Vec<(Server, Filled)> = Vec::new();
    for Entry {
        contestant,
        streams_per_organisation,
    } in entries(&wanted)
    {
        let server = contestant.start();
        let requests = Requests {
            streams_per_organisation,
            session: None,
        };
        let filled = plan.fill(&contestant.name, &server, requests);
        columns.push((server, filled));
    }
    for (server, filled) in &mut columns {
        plan.burst(server, filled);
    }
    let node = wanted.has(WHOLE_NODE).then(|| plan.fill_node());
    std::thread::sleep(plan.rest);
    let columns = columns.iter().map(|(server, filled)| (server, filled));
    let node = node.as_ref().map(|(node, filled)| (&node.server, filled));
    report(&plan, columns.chain(node));
}

/// The name of the whole node in the table.
const WHOLE_NODE: &str = "the whole node, io_uring";

/// Which servers are measured.
struct Wanted(Option<Vec<String>>);

impl Wanted {
    /// What the command line names; everything where it names nothing.
    fn asked() -> Self {
        let names = support::command_line::text_option("--columns");
        Self(names.map(|names| names.split(';').map(str::to_owned).collect()))
    }

    /// Whether a server of this name is measured.
    fn has(&self, name: &str) -> bool {
        let names = self.0.as_ref();
        names.is_none_or(|names| names.iter().any(|part| name.contains(part.as_str())))
    }
}

/// One line of the table before it is measured.
struct Entry {
    contestant: Contestant,
    streams_per_organisation: usize,
}

/// Every server once, and Tailrace in further variants. What is not wanted is not built either.
fn entries(wanted: &Wanted) -> Vec<Entry> {
    let [uring, epoll] = support::tailrace();
    let mut contestants = vec![support::bare_loop()];
    if wanted.has("plain, monoio") || wanted.has("plain, tokio-uring") {
        contestants.extend(support::references());
    }
    let alone = named(ALONE, &uring);
    contestants.extend([epoll, uring.clone()]);
    if wanted.has("… with mimalloc as it comes") || wanted.has("… with mimalloc, tuned") {
        contestants.extend(with_mimalloc(&uring));
    }
    contestants.push(alone);
    contestants.retain(|contestant| wanted.has(&contestant.name));
    let entry = |contestant: Contestant| Entry {
        streams_per_organisation: if contestant.name == ALONE {
            1
        } else {
            ORGANISATION
        },
        contestant,
    };
    contestants.into_iter().map(entry).collect()
}

/// The name of Tailrace with one stream per organisation.
const ALONE: &str = "… one stream per organisation";

/// Tailrace with mimalloc: as it comes, and tuned for little memory by mimalloc's own variables
/// (its `src/options.c`).
fn with_mimalloc(tailrace: &Contestant) -> [Contestant; 2] {
    const TARGET: &str = "density_mimalloc";
    const TUNING: [(&str, &str); 4] = [
        ("MIMALLOC_ALLOW_THP", "0"),
        ("MIMALLOC_ARENA_EAGER_COMMIT", "0"),
        ("MIMALLOC_PAGE_COMMIT_ON_DEMAND", "1"),
        ("MIMALLOC_PURGE_DELAY", "0"),
    ];
    let built = build::executables(&["--profile", "bench", "--bench", TARGET]);
    let executable = build::find(&built, TARGET);
    let plain = Contestant {
        executable,
        ..named("… with mimalloc as it comes", tailrace)
    };
    let mut tuned = named("… with mimalloc, tuned", &plain);
    tuned.environment.extend(TUNING);
    [plain, tuned]
}

fn named(name: &str, contestant: &Contestant) -> Contestant {
    Contestant {
        name: name.to_owned(),
        ..contestant.clone()
    }
}

/// How much is measured.
struct Plan {
    step: usize,
    steps: usize,
    events: usize,
    rest: Duration,
}

/// What was measured of a server, and the readers that hold its streams open.
struct Filled {
    name: String,
    readers: Readers,
    /// User and kernel memory, in bytes per stream.
    user: f64,
    /// User memory a second after a step's last stream was opened.
    at_once: f64,
    kernel: Option<f64>,
    /// RSS when all streams were open, in bytes.
    rss: u64,
}

impl Plan {
    fn streams(&self) -> usize {
        self.step * self.steps
    }

    /// Opens a server's streams, step by step.
    fn fill(&self, name: &str, server: &Server, requests: Requests) -> Filled {
        let forgets = name == WHOLE_NODE;
        let mut forgotten = Vec::new();
        let mut readers = Readers::start(server.address(), requests);
        let (mut user, mut kernel) = (Vec::new(), Vec::new());
        for step in 0..self.steps {
            readers.tell(&format!("open {}", self.step));
            readers.wait();
            std::thread::sleep(SETTLE);
            user.push(rss_bytes(server.id()) as f64);
            kernel.extend(slab_bytes().map(|bytes| bytes as f64));
            if forgets && (step == 0 || step + 1 == self.steps) {
                std::thread::sleep(FORGET);
                forgotten.push(rss_bytes(server.id()) as f64);
            }
        }
        let at_once = slope(self.step, &user);
        let rested = match forgotten[..] {
            [first, last] => Some((last - first) / (self.streams() - self.step) as f64),
            _ => None,
        };
        Filled {
            name: name.to_owned(),
            readers,
            user: rested.unwrap_or(at_once),
            at_once,
            kernel: (kernel.len() == self.steps).then(|| median_step(self.step, &kernel)),
            rss: rss_bytes(server.id()),
        }
    }

    /// Sends the events to every stream, as fast as the server takes them.
    fn burst(&self, server: &Server, filled: &mut Filled) {
        if self.events == 0 {
            return;
        }
        filled
            .readers
            .tell(&format!("take {}", self.events * EVENT_BYTES));
        let event = support::event(EVENT_BYTES);
        for _ in 0..self.events {
            server.publish(&event);
        }
        filled.readers.wait();
    }

    /// Starts the whole node, opens its streams, and commits its burst.
    fn fill_node(&self) -> (Node, Filled) {
        let node = Node::start(self.streams());
        let session = Some(Session::Jwt(node.secret()));
        let requests = Requests {
            streams_per_organisation: ORGANISATION,
            session,
        };
        let mut filled = self.fill(WHOLE_NODE, &node.server, requests);
        filled.readers.tell("drain 5000");
        node.publish(self.events, self.streams().div_ceil(ORGANISATION));
        filled.readers.wait();
        (node, filled)
    }
}

/// The slope of the least-squares line through values at equal steps, per unit.
fn slope(step: usize, values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let middle = (count - 1.0) / 2.0;
    let offsets = || (0..values.len()).map(|index| index as f64 - middle);
    let covariance: f64 = offsets()
        .zip(values)
        .map(|(offset, y)| offset * (y - mean))
        .sum();
    let variance: f64 = offsets().map(|offset| offset * offset).sum();
    covariance / variance / step as f64
}

/// The median of the differences between neighbours, per unit: whatever else the machine did during
/// one step makes no difference.
fn median_step(step: usize, values: &[f64]) -> f64 {
    let mut steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    steps[steps.len() / 2] / step as f64
}

/// The resident memory of a process, exactly (`/proc/<pid>/status` is only near it).
fn rss_bytes(process: u32) -> u64 {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = std::fs::read_to_string(path).expect("the server runs, and is ours");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .expect("it says so");
    let kilobytes = line
        .trim()
        .strip_suffix(" kB")
        .and_then(|number| number.parse::<u64>().ok());
    kilobytes.expect("it is in kB") * 1024
}

/// The bytes of the objects in the kernel's slab caches from which epoll's entries and io_uring's
/// operations are taken (the page of decision 0001 says which); `None` where only root may know.
fn slab_bytes() -> Option<u64> {
    // Caches of equal objects are merged under one name: epoll's wait entries are found in
    // `anon_vma_chain`. An armed receive also takes 96
    // bytes, and 256 or 512.
    const CACHES: [&str; 7] = [
        "io_kiocb",
        "ep_head",
        "eventpoll_epi",
        "anon_vma_chain",
        "kmalloc-512",
        "kmalloc-256",
        "kmalloc-96",
    ];
    let text = std::fs::read_to_string("/proc/slabinfo").ok()?;
    // Two lines of heading; then the name, the objects in use, all objects, and their size.
    let cache = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next()?;
        let objects: u64 = fields.next()?.parse().ok()?;
        let bytes: u64 = fields.nth(1)?.parse().ok()?;
        Some(if CACHES.contains(&name) {
            objects * bytes
        } else {
            0
        })
    };
    text.lines().skip(2).map(cache).sum()
}

#[expect(clippy::print_stdout, reason = "the table is what a bench is for")]
fn report<'a>(plan: &Plan, columns: impl Iterator<Item = (&'a Server, &'a Filled)>) {
    println!(
        "\nMemory per idle stream, slope over {} … {} streams",
        plan.step,
        plan.streams()
    );
    println!("({})", support::machine());
    println!(
        "grown: RSS more than before a burst of {} events,",
        plan.events
    );
    println!(
        "{} s later; kernel: beyond what the bare loop's sockets take\n",
        plan.rest.as_secs()
    );
    println!("server                           B user  B at once    B grown   B kernel");
    let mut floor = None;
    for (server, filled) in columns {
        let grown = rss_bytes(server.id()) as f64 - filled.rss as f64;
        let grown = grown / plan.streams() as f64;
        // The bare loop stands first.
        floor = floor.or(filled.kernel);
        let beyond = filled
            .kernel
            .zip(floor)
            .map(|(kernel, floor)| kernel - floor);
        let beyond = beyond.map_or("-".to_owned(), |bytes| format!("{bytes:.0}"));
        println!(
            "{:<30} {:>8.0}   {:>8.0}   {grown:>8.0}   {beyond:>8}",
            filled.name, filled.user, filled.at_once
        );
    }
}

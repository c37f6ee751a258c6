//! CPU per connection: a stream is asked for with a session, which is verified, looked up and admitted,
//! and answered with its head and `connected`; beside a bare loop that accepts, reads and writes.
//!
//! `cargo bench --bench connect`. What is measured is the user and system time of the whole server
//! process, in nanoseconds (`/proc/<pid>/task/*/schedstat`), from the first connect of a round to the
//! last answer, over the number of connections; PostgreSQL's own processes are not counted. Every user
//! is a new one, so that no session is known from before. Tailrace is the whole node (`density/node.rs`)
//! with one engine, on a private PostgreSQL, once for each kind of session; all servers stand side by
//! side and take turns, and each figure is the median of the rounds. The readers open a hundred
//! connections at a time, as many as a page's reload in a busy minute.
//!
//! The last columns say on which of its threads the node's time went.

#[path = "density/node.rs"]
#[expect(dead_code, reason = "shared with density, which uses more of it")]
mod node;
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the other benches, which use more of it"
)]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use node::Node;
use support::{Readers, Requests, Server, Session};

/// As many streams each organisation has.
const ORGANISATION: usize = 100;

/// What the sessions of Auth.js are encrypted with.
const SECRET: &str = "a secret of the bench, of 32 bytes and more";

/// The cookie with the token of a row.
const ROW_COOKIE: &str = "authjs.session-token";

/// Rounds before the counted ones.
const WARM_UP_ROUNDS: usize = 2;

/// How long a server may go on after the last answer before its time is read.
const SETTLE: Duration = Duration::from_millis(20);

fn main() {
    support::play_role();
    if !support::is_asked_to_measure() {
        return;
    }
    let connections = support::option("--connections", 500);
    let rounds = support::option("--rounds", 21);
    let users = connections * (WARM_UP_ROUNDS + rounds);

    let mut columns = [
        Column::bare(),
        Column::node(
            "JWT (HS256)",
            with_tokens(users),
            Session::Jwt(SECRET.to_owned()),
        ),
        Column::node(
            "Auth.js 5 (JWE)",
            with_auth_js(users),
            Session::AuthJs(SECRET.to_owned()),
        ),
        Column::node(
            "row of a table",
            with_rows(users),
            Session::Row(ROW_COOKIE.to_owned()),
        ),
    ];
    for round in 0..WARM_UP_ROUNDS + rounds {
        for column in &mut columns {
            let spent = column.round(connections);
            if round >= WARM_UP_ROUNDS {
                column.samples.push(spent);
            }
        }
    }
    report(&columns, connections, rounds);
}

/// Who belongs where, as `dev` has it, and who is known by what.
fn configuration(auth: &str) -> String {
    format!("{auth}\n[membership]\ntable = \"OrganizationMember\"\n")
}

fn with_tokens(users: usize) -> Node {
    let auth = format!("[auth]\nmode = \"jwt\"\nsecret = \"{SECRET}\"");
    Node::start_plain(users, &[], &configuration(&auth))
}

fn with_auth_js(users: usize) -> Node {
    let auth = format!("[auth]\nmode = \"authjs\"\n[auth.authjs]\nsecret = \"{SECRET}\"");
    Node::start_plain(users, &[], &configuration(&auth))
}

/// A node whose users have their sessions in a table.
fn with_rows(users: usize) -> Node {
    let last = users - 1;
    let statements = [
        "CREATE TABLE \"Session\" (id text PRIMARY KEY, \"sessionToken\" text NOT NULL UNIQUE, \
         \"userId\" text NOT NULL, expires timestamp(3) NOT NULL)"
            .to_owned(),
        "ALTER PUBLICATION tailrace ADD TABLE \"Session\"".to_owned(),
        "GRANT SELECT ON \"Session\" TO tailrace".to_owned(),
        format!(
            "INSERT INTO \"Session\" SELECT 's' || n, 'token-of-session-' || n, 'u' || n, \
             now() + interval '1 day' FROM generate_series(0, {last}) AS n"
        ),
    ];
    let auth = "[auth]\nmode = \"session\"\n[session]\ntable = \"Session\"";
    Node::start_plain(users, &statements, &configuration(auth))
}

/// What is measured.
enum Host {
    Bare(Server),
    Node(Box<Node>),
}

impl Host {
    fn server(&self) -> &Server {
        match self {
            Self::Bare(server) => server,
            Self::Node(node) => &node.server,
        }
    }
}

/// A server with its readers.
struct Column {
    name: &'static str,
    // Dropped in this order: the readers hang up before their server ends.
    readers: Readers,
    host: Host,
    samples: Vec<Spent>,
}

/// CPU time by the name of the thread, in nanoseconds.
type Spent = BTreeMap<String, u64>;

impl Column {
    fn bare() -> Self {
        let server = support::bare_loop().start();
        Self::new("bare accept-read-write loop", Host::Bare(server), None)
    }

    fn node(name: &'static str, node: Node, session: Session) -> Self {
        Self::new(name, Host::Node(Box::new(node)), Some(session))
    }

    fn new(name: &'static str, host: Host, session: Option<Session>) -> Self {
        let requests = Requests {
            streams_per_organisation: ORGANISATION,
            session,
        };
        Self {
            name,
            readers: Readers::start(host.server().address(), requests),
            host,
            samples: Vec::new(),
        }
    }

    /// Opens so many streams, and returns the server's CPU time.
    fn round(&mut self, connections: usize) -> Spent {
        let before = cpu_ns(self.host.server().id());
        self.readers.tell(&format!("open {connections}"));
        self.readers.wait();
        std::thread::sleep(SETTLE);
        let mut spent = cpu_ns(self.host.server().id());
        for (thread, ns) in &mut spent {
            *ns -= before.get(thread).copied().unwrap_or_default();
        }
        spent
    }

    /// The median of the rounds, in microseconds per connection: of some threads, or of all.
    fn median(&self, connections: usize, is_counted: impl Fn(&str) -> bool) -> f64 {
        let counted = |spent: &Spent| -> u64 {
            let counted = spent.iter().filter(|(thread, _)| is_counted(thread));
            counted.map(|(_, ns)| ns).sum()
        };
        let mut sums: Vec<u64> = self.samples.iter().map(counted).collect();
        sums.sort_unstable();
        sums[sums.len() / 2] as f64 / connections as f64 / 1_000.0
    }
}

/// The CPU time of all threads of a process, user and system: the first field of `schedstat` (Linux,
/// Documentation/scheduler/sched-stats).
fn cpu_ns(process: u32) -> Spent {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the server runs");
    let mut spent = Spent::new();
    for task in tasks {
        let task = task.expect("the directory is readable").path();
        let read = |file| std::fs::read_to_string(task.join(file)).expect("the thread runs");
        let (name, times) = (read("comm"), read("schedstat"));
        let first = times.split_ascii_whitespace().next();
        let first: u64 = first
            .and_then(|first| first.parse().ok())
            .expect("it has three numbers");
        *spent.entry(name.trim_end().to_owned()).or_default() += first;
    }
    spent
}

#[expect(clippy::print_stdout, reason = "the table is what a bench is for")]
fn report(columns: &[Column], connections: usize, rounds: usize) {
    println!("\nCPU of the whole process per connection, {connections} connections a round,");
    println!("median of {rounds} rounds ({})\n", support::machine());
    println!(
        "server                          µs   × bare   connects/s   engine  control  replication"
    );
    let floor = columns[0].median(connections, |_| true);
    for column in columns {
        let all = column.median(connections, |_| true);
        let of =
            |name: &'static str| column.median(connections, move |thread| thread.starts_with(name));
        println!(
            "{:<28} {all:>6.1}   {:>6.2}   {:>10.0}   {:>6.1}   {:>6.1}       {:>6.1}",
            column.name,
            all / floor,
            1_000_000.0 / all,
            of("engine"),
            of("control"),
            of("replication"),
        );
    }
}

//! `docs/nextjs.md`, followed: a real Next.js application with NextAuth (`tests/nextjs`), the rewrite and the
//! configuration cut out of the page, and a stream that stays silent behind `next start`.
//!
//! Next.js is large and its build takes half a minute, so `script/nextjs` runs this and not every
//! `cargo test`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use crate::browser;
use crate::documents::block;
use crate::support::directory::Directory;
use crate::support::ports::free_port;
use crate::support::process::{Process, Program, Signal};
use crate::support::{Config, Database, Driver, Node, files, wait_until};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nextjs");
const PAGE: &str = "docs/nextjs.md";

/// What NextAuth signs its sessions with.
const SECRET: &str = "a secret of the application, of 32 bytes and more";

/// How long the stream is left alone, in seconds, where nobody says otherwise.
const IDLE_SECONDS: &str = "120";

/// How long `next start` may take to listen.
const START_MAX: Duration = Duration::from_secs(60);

#[test]
#[ignore = "it installs and builds Next.js: script/nextjs"]
fn a_stream_lives_idle_behind_next_start() {
    let database = Database::new();
    let node = Node::start(&configuration(&database));
    let application = Application::start(node.address());
    let idle = std::env::var("NEXTJS_IDLE_SECONDS").unwrap_or_else(|_| IDLE_SECONDS.into());
    let said = browser::script("nextjs.mjs")
        .env("DATABASE_URL", database.owner_url())
        .env("APPLICATION_URL", format!("http://{}", application.address))
        .env("IDLE_SECONDS", idle)
        .run();
    browser::show(&said);
    // The one stream that the page opened is the one that it still had at the end.
    let opened = node.metrics().value("tailrace_streams_opened_total");
    assert_eq!(opened, 1.0, "{}", node.log());
}

/// The configuration of the page, in place of what tests have otherwise.
fn configuration(database: &Database) -> Config {
    Config::new(database, Driver::Uring)
        .without("auth.secret")
        .without("membership.table")
        .with(&block(PAGE, "toml", "[auth]"))
        .env("NEXTAUTH_SECRET", SECRET)
}

/// A running `next start`.
struct Application {
    // Dropped in this order: the process ends before its directory goes.
    _process: Process,
    _directory: Directory,
    address: SocketAddr,
}

impl Application {
    /// Builds it in a directory of its own, with the rewrite of the page, and starts it.
    fn start(node: SocketAddr) -> Self {
        let modules = format!("{FOLDER}/node_modules");
        assert!(
            fs::exists(&modules).unwrap_or(false),
            "Next.js is not installed: run script/nextjs"
        );
        let directory = Directory::new();
        copy_sources(directory.path());
        symlink(&modules, directory.join("node_modules")).expect("the directory is new");
        let rewrite = block(PAGE, "js", "rewrites()");
        let documented = "http://127.0.0.1:4000";
        assert!(rewrite.contains(documented), "{rewrite}");
        let rewrite = rewrite.replace(documented, &format!("http://{node}"));
        fs::write(directory.join("next.config.js"), rewrite).expect("it can be written");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let next = |command: &str| {
            Program::new("node")
                .args([&format!("{modules}/next/dist/bin/next"), command])
                .directory(directory.path())
                .env("NEXT_TELEMETRY_DISABLED", "1")
                .env("NEXTAUTH_SECRET", SECRET)
                .env("NEXTAUTH_URL", format!("http://{address}"))
        };
        next("build").run();
        let start = next("start")
            .args([
                "--hostname",
                "127.0.0.1",
                "--port",
                &address.port().to_string(),
            ])
            .output(directory.join("log"));
        let process = Process::spawn(&start, Signal::KILL);
        wait_until("next start is ready", START_MAX, || {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            log.contains("Ready in")
        });
        Self {
            _process: process,
            _directory: directory,
            address,
        }
    }
}

/// Copies the application, without what npm put beside it.
fn copy_sources(to: &Path) {
    for (path, text) in ["js", "json"].into_iter().flat_map(files) {
        let Ok(name) = Path::new(&path).strip_prefix(FOLDER) else {
            continue;
        };
        let target = to.join(name);
        let folder = target.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("the directory of a test can be written");
        fs::write(target, text).expect("the directory of a test can be written");
    }
}

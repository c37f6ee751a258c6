//! `tailrace dev`: the product on one machine with nothing set up. A private PostgreSQL, a sample
//! application's database, a node, and a page to look at.
//!
//! The rooms: `binaries`, `account`, `settings` and `cluster` are the private PostgreSQL; `sample`
//! and `schema.sql` its database; `files` what the data directory holds beside it; `pages`, `rows`
//! and `page/` what is served beside the node. The node is the one that `run` starts.

mod account;
mod binaries;
mod cluster;
mod error;
mod files;
mod pages;
mod rows;
mod sample;
mod settings;
mod source;

pub(crate) use source::Source;

use crate::node::{self, Node};
use cluster::Cluster;
use files::{Secrets, Setup};
use pages::Pages;
use rows::Rows;
use serde::Serialize;
use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long the node may take until it has caught up with its new database.
const NODE_READY_WITHIN: Duration = Duration::from_secs(60);

/// The command line of `tailrace dev`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Where the node listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    listen: SocketAddr,
    /// Where the database and the secrets are kept; made if it is missing.
    #[arg(long, value_name = "DIRECTORY", default_value = ".tailrace")]
    data_dir: PathBuf,
    /// When everything is ready, print one line of JSON on standard output, and nothing else.
    #[arg(long)]
    json: bool,
    /// The kernel's interface.
    #[arg(long, env = "TAILRACE_ENGINE_DRIVER", default_value = "auto")]
    #[arg(value_parser = ["auto", "uring", "epoll"])]
    driver: String,
}

/// The line of `--json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    url: String,
    database_url: String,
    admin_key: String,
    service_key: String,
}

/// Starts everything, says so, and runs until SIGINT, SIGTERM or SIGHUP; then ends at once, leaving nothing
/// running.
///
/// Call it on the main thread: the server ends with the thread that started it.
///
/// # Errors
///
/// What could not be started, and how to mend it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    make_data_dir(&arguments.data_dir)?;
    let cluster = Cluster::start(&arguments.data_dir).map_err(said)?;
    let secrets = Secrets::of(&arguments.data_dir).map_err(said)?;
    load_sample(&cluster, &secrets)?;
    let node = start_node(arguments, &cluster, &secrets)?;
    let ready = Ready {
        url: url(node.local_addr()),
        database_url: files::database_url(
            sample::APPLICATION,
            &secrets.application,
            cluster.port(),
        ),
        admin_key: secrets.admin,
        service_key: secrets.service,
    };
    announce(&ready, arguments).map_err(said)?;
    let code = node.run_until_signal(false);
    // The node first: the server then has no sender to wait for.
    drop(cluster);
    Ok(code)
}

fn make_data_dir(data_dir: &Path) -> Result<(), String> {
    let make = || {
        if !data_dir.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(data_dir)?;
            // A repository should not offer it to be committed.
            fs::write(data_dir.join(".gitignore"), "*\n")?;
        }
        let mode = fs::metadata(data_dir)?.permissions().mode();
        if rustix::process::geteuid().is_root() && mode & 0o011 != 0o011 {
            // PostgreSQL's own account passes through to its files; all are private one by one.
            fs::set_permissions(data_dir, fs::Permissions::from_mode(mode | 0o011))?;
        }
        Ok::<_, std::io::Error>(())
    };
    make().map_err(|error| {
        format!(
            "cannot make {}: {error}; choose another --data-dir",
            data_dir.display()
        )
    })
}

fn load_sample(cluster: &Cluster, secrets: &Secrets) -> Result<(), String> {
    let passwords = sample::Passwords {
        application: &secrets.application,
        node: &secrets.node,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(said)?
        .block_on(sample::load(cluster, &passwords))
        .map_err(said)
}

fn start_node(arguments: &Arguments, cluster: &Cluster, secrets: &Secrets) -> Result<Node, String> {
    let data_dir = &arguments.data_dir;
    let mut setup = Setup {
        listen: arguments.listen,
        database_port: cluster.port(),
        driver: arguments.driver.clone(),
    };
    files::write_configuration(data_dir, secrets, &setup).map_err(said)?;
    let config = files::read_configuration(data_dir).map_err(said)?;
    let own = config.auth.own.clone();
    let pages = Pages {
        own: own.ok_or("the session secret is missing")?,
        listen: arguments.listen,
        rows: Rows::new(cluster.superuser()),
    };
    let mut node = node::start(config, pages::router(pages)).map_err(said)?;
    if setup.listen != node.local_addr() {
        // So that `tail` finds the port that the kernel chose.
        setup.listen = node.local_addr();
        files::write_configuration(data_dir, secrets, &setup).map_err(said)?;
    }
    match node.wait_ready(NODE_READY_WITHIN) {
        Ok(()) => Ok(node),
        Err(reason) => {
            node.stop();
            Err(format!("the node did not become ready: {reason}"))
        }
    }
}

fn announce(ready: &Ready, arguments: &Arguments) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, ready)?;
        writeln!(out)?;
    } else {
        out.write_all(human(ready, &arguments.data_dir).as_bytes())?;
    }
    out.flush()
}

fn human(ready: &Ready, data_dir: &Path) -> String {
    let Ready {
        url, database_url, ..
    } = ready;
    let same = match data_dir == Path::new(".tailrace") {
        true => String::new(),
        false => format!(" --data-dir {}", data_dir.display()),
    };
    format!(
        "
  Tailrace is ready:  {url}

  Two windows, two organisations, and neither sees the other's rows:
    {url}/?organization=acme&user=alice
    {url}/?organization=globex&user=bob        (carol belongs to both)

  Change rows with psql, and watch them arrive:
    psql '{database_url}'
    INSERT INTO \"Property\" (\"organizationId\", \"name\", \"price\") VALUES ('acme', 'Quay 7', 350000);

  In a terminal:      tailrace tail --organization acme{same}
  With curl:          curl -N '{url}/api/realtime/stream?organizationId=acme' \\
                        -H \"Authorization: Bearer $(tailrace token --user alice{same})\"

  Ctrl-C stops everything. The database is kept in {}.

",
        data_dir.display()
    )
}

/// An address that a browser on this machine can open.
fn url(listen: SocketAddr) -> String {
    let address = match listen.ip() {
        IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    format!("http://{}", SocketAddr::new(address, listen.port()))
}

fn said(error: impl Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;

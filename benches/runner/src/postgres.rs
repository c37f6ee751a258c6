//! A private PostgreSQL cluster: started for one cell as an unprivileged user, with a port and a
//! directory of its own. What is in it is the contestant's matter.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio_postgres::NoTls;

use crate::process::{Process, on_cores};

/// The password of every role of a cluster that only this machine reaches and that ends with its cell.
const PASSWORD: &str = "correct-horse";

/// What differs from PostgreSQL's defaults. The disk is not what is measured; a commit still waits until
/// its record is written (`synchronous_commit`), as everywhere.
pub(crate) const SETTINGS: &str = "\
wal_level = logical
fsync = off
autovacuum = off
shared_buffers = '256MB'
max_wal_size = '8GB'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
log_min_messages = warning
";

/// How long the server may take to start.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A cluster that runs.
pub(crate) struct Cluster {
    /// The server; it ends with this value.
    pub(crate) server: Process,
    /// Where `postgres`, `initdb` and `pg_recvlogical` are.
    pub(crate) binaries: PathBuf,
    /// What `postgres --version` says.
    pub(crate) version: String,
    port: u16,
}

/// As whom PostgreSQL runs where we are root, which it refuses.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Cluster {
    /// Makes and starts one in an empty directory, on these cores.
    pub(crate) fn start(directory: &Path, cores: &[usize]) -> Result<Self> {
        let binaries = binaries()?;
        let account = account()?;
        let data = directory.join("data");
        let password_file = directory.join("password");
        std::fs::create_dir(&data).context("cannot make the cluster's directory")?;
        std::fs::write(&password_file, PASSWORD).context("cannot write the password's file")?;
        if let Some(Account { user, group }) = account {
            std::os::unix::fs::chown(&data, Some(user), Some(group))
                .context("cannot give the cluster's directory away")?;
        }
        let command = |name: &str| {
            let mut command = Command::new(binaries.join(name));
            if let Some(Account { user, group }) = account {
                command.uid(user).gid(group);
            }
            // The account may not be allowed to stand where we stand.
            command.current_dir("/").env_clear().env("LC_ALL", "C");
            command
        };
        let version = command("postgres").arg("--version").output();
        let version = version.context("cannot run postgres")?.stdout;
        let mut initdb = command("initdb");
        initdb
            .args(["--no-sync", "--username=postgres", "--encoding=UTF8"])
            .args(["--auth=scram-sha-256", "--locale=C.UTF-8"])
            .arg("--pgdata")
            .arg(&data)
            .arg("--pwfile")
            .arg(&password_file);
        let made = on_cores(cores, || initdb.output())?.context("cannot run initdb")?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        let port = free_port()?;
        let settings = format!("{SETTINGS}port = {port}\n");
        // What stands in it takes the place of what stands in `postgresql.conf`.
        std::fs::write(data.join("postgresql.auto.conf"), settings)
            .context("cannot write the settings")?;
        let mut postgres = command("postgres");
        postgres.arg("-D").arg(&data);
        let log = std::fs::File::create(directory.join("postgres.log"));
        postgres.stderr(log.context("cannot write the server's log")?);
        let mut cluster = Self {
            server: Process::start(postgres, cores)?,
            binaries,
            version: String::from_utf8_lossy(&version).trim().to_owned(),
            port,
        };
        cluster.await_start(&directory.join("postgres.log"))?;
        Ok(cluster)
    }

    /// The address of the database, as this role.
    pub(crate) fn url(&self, role: &str) -> String {
        let port = self.port;
        format!("postgres://{role}:{PASSWORD}@127.0.0.1:{port}/postgres")
    }

    /// Runs statements as the superuser.
    pub(crate) fn execute(&self, statements: &str) -> Result<()> {
        runtime()?.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.url("postgres"), NoTls).await?;
            let connection = tokio::spawn(connection);
            client.batch_execute(statements).await?;
            drop(client);
            // The server has let go of the connection when it ends.
            let _ = connection.await;
            anyhow::Ok(())
        })
    }

    /// A role that the node connects as.
    pub(crate) fn make_role(&self, name: &str) -> Result<()> {
        self.execute(&format!(
            "CREATE ROLE {name} LOGIN REPLICATION PASSWORD '{PASSWORD}'"
        ))
    }

    fn await_start(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let Err(error) = self.execute("SELECT 1") else {
                return Ok(());
            };
            if let Some(how) = self.server.ended() {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{how}:\n{log}");
            }
            if Instant::now() > deadline {
                return Err(error.context("PostgreSQL takes no connection"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A runtime for SQL on the thread that calls.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot make a runtime")
}

/// A port of loopback that nobody has now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address.context("loopback has no free port")?.port())
}

/// The newest PostgreSQL of Debian's and postgresql.org's packages, or the one of `PATH`.
fn binaries() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let packages = versions
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        });
    let mut packages: Vec<(u32, PathBuf)> = packages.collect();
    packages.sort();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = packages
        .into_iter()
        .rev()
        .map(|(_, path)| path)
        .chain(std::env::split_paths(&paths))
        .find(|path| path.join("initdb").is_file());
    found.context("no PostgreSQL is installed (Debian: apt-get install postgresql)")
}

/// An unprivileged account where we are root.
fn account() -> Result<Option<Account>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let of = |name: &str| {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next()? != name {
                return None;
            }
            let user = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            Some(Account { user, group })
        })
    };
    let account = of("postgres").or_else(|| of("nobody"));
    Ok(Some(account.context(
        "there is no account that PostgreSQL could run as",
    )?))
}

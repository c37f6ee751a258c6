//! Tailrace as in production: `tailrace run` on a PostgreSQL of its own, whose rows are the events.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use swarm::{Resume, Session, Target};

use crate::contestant::{Contestant, Database, Driver, Kind, Running, Sessions, Setting};
use crate::postgres::{Cluster, free_port};
use crate::process::{Process, executable};
use crate::rows::{RowsPublisher, TABLE, TRANSACTIONS_MAX};

/// The secret of the sessions.
const SECRET: &str = "a secret of the bench, of 32 bytes and more";

/// The key of the operators.
const ADMIN_KEY: &str = "admin-key-of-the-bench-0123456789abcdef";

/// The cookie of sessions that are rows.
const COOKIE: &str = "authjs.session-token";

/// The publication that the node reads.
const PUBLICATION: &str = "tailrace";

/// How long an event is as an SSE block without its text, in bytes, give or take the digits of its
/// numbers. A text is never shorter than its marker: the block then has more than was asked for.
const AROUND_TEXT_BYTES: usize = 285;

/// How long the node may take until it knows all memberships.
const READY_WITHIN: Duration = Duration::from_secs(120);

pub(crate) struct TailraceRows;

impl Contestant for TailraceRows {
    fn name(&self) -> &'static str {
        "tailrace-rows"
    }

    fn kind(&self) -> Kind {
        Kind::Ours
    }

    fn has_database(&self) -> bool {
        true
    }

    fn drivers(&self) -> &'static [Driver] {
        Driver::BOTH
    }

    fn quick_drivers(&self) -> &'static [Driver] {
        &[Driver::Uring]
    }

    fn start(&self, setting: &Setting) -> Result<Running> {
        let cluster = Cluster::start(&setting.directory, &setting.cores.load)?;
        fill(&cluster, setting)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let configuration = configuration(&cluster, setting, address);
        let file = setting.directory.join("tailrace.toml");
        std::fs::write(&file, &configuration).context("cannot write the configuration")?;
        let program = executable("tailrace")?;
        let version = Command::new(&program).arg("--version").output();
        let version = version.context("cannot run tailrace")?.stdout;
        let version = String::from_utf8_lossy(&version).trim().to_owned();
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(&file);
        command
            .env("TAILRACE_LOG", "warn")
            .current_dir(&setting.directory);
        let mut server = Process::start(command, &setting.cores.server)?;
        await_ready(&mut server, address)?;
        let path = "/api/realtime/stream?organizationId=o{organization}";
        let mut target = Target::new(address, path);
        target.layout = setting.layout;
        target.resume = Resume::LastEventId;
        target.session = Some(match setting.sessions {
            Sessions::Tokens => Session::Hs256 {
                secret: SECRET.to_owned(),
            },
            Sessions::Rows => Session::Row {
                cookie: COOKIE.to_owned(),
            },
        });
        let text_bytes = setting.block_bytes.saturating_sub(AROUND_TEXT_BYTES);
        let publisher = RowsPublisher::connect(&cluster.url("postgres"), text_bytes)?;
        let words = format!(
            "`tailrace run`; events are rows, each a transaction of its own up to {TRANSACTIONS_MAX} \
             in a tick, above that a tick's rows in one. {} (fsync = off, else as in the file \
             below's defaults), on the cores of the load.\n{configuration}",
            cluster.version
        );
        Ok(Running {
            database: Some(Database {
                url: cluster.url("postgres"),
                binaries: cluster.binaries.clone(),
                publication: PUBLICATION.to_owned(),
            }),
            metrics: Some((address, format!("authorization: Bearer {ADMIN_KEY}"))),
            version,
            configuration: words,
            beside: vec![cluster.server],
            ..Running::new(server, target, publisher)
        })
    }
}

/// Makes the tables, and a user with a membership for each stream.
fn fill(cluster: &Cluster, setting: &Setting) -> Result<()> {
    cluster.make_role("tailrace")?;
    cluster.execute(&format!(
        "{TABLE}
         CREATE TABLE \"OrganizationMember\" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
            \"organizationId\" text NOT NULL, \"userId\" text NOT NULL, \
            role text NOT NULL DEFAULT 'member');
         CREATE UNIQUE INDEX \"OrganizationMember_key\" \
            ON \"OrganizationMember\" (\"organizationId\", \"userId\");
         ALTER TABLE \"OrganizationMember\" REPLICA IDENTITY USING INDEX \"OrganizationMember_key\";
         CREATE TABLE \"Session\" (id text PRIMARY KEY, \"sessionToken\" text NOT NULL UNIQUE, \
            \"userId\" text NOT NULL, expires timestamp(3) NOT NULL);
         CREATE PUBLICATION {PUBLICATION} FOR TABLE \"Note\", \"OrganizationMember\", \"Session\";
         GRANT SELECT ON \"OrganizationMember\", \"Session\" TO tailrace;"
    ))?;
    let member = |stream| format!("({stream},{})", setting.layout.organisation(stream));
    let streams: Vec<u32> = (0..setting.streams).collect();
    for some in streams.chunks(10_000) {
        let members: Vec<String> = some.iter().copied().map(member).collect();
        cluster.execute(&format!(
            "INSERT INTO \"OrganizationMember\" (\"organizationId\", \"userId\") \
             SELECT 'o' || organisation, 'u' || stream FROM (VALUES {}) AS members (stream, organisation)",
            members.join(",")
        ))?;
    }
    if setting.sessions == Sessions::Rows {
        cluster.execute(&format!(
            "INSERT INTO \"Session\" SELECT 's' || n, 'token-of-session-' || n, 'u' || n, \
             now() + interval '10 days' FROM generate_series(0, {}) AS n",
            setting.streams
        ))?;
    }
    cluster.execute("ANALYZE; CHECKPOINT")
}

/// The node's file. No heartbeat falls into a measurement; everything else that is not here is as it
/// comes.
fn configuration(cluster: &Cluster, setting: &Setting, address: SocketAddr) -> String {
    let auth = match setting.sessions {
        Sessions::Tokens => format!("[auth]\nmode = \"jwt\"\nsecret = \"{SECRET}\"\n"),
        Sessions::Rows => "[auth]\nmode = \"session\"\n[session]\ntable = \"Session\"\n".to_owned(),
    };
    let (url, threads, log_bytes) = (cluster.url("tailrace"), setting.threads, setting.log_bytes);
    let driver = setting.driver.unwrap_or(Driver::Uring).name();
    format!(
        "[database]\nurl = \"{url}\"\npublication = \"{PUBLICATION}\"\n\
         [http]\nlisten = \"{address}\"\nheartbeat = \"1h\"\n\
         [engine]\nthreads = {threads}\ndriver = \"{driver}\"\n\
         [history]\nmax_bytes = \"{log_bytes}B\"\n\
         [keys]\nadmin = \"{ADMIN_KEY}\"\n\
         [membership]\ntable = \"OrganizationMember\"\n{auth}"
    )
}

/// Waits until the node says that it is ready: it listens before it knows every membership.
fn await_ready(server: &mut Process, address: SocketAddr) -> Result<()> {
    let is_ready = || -> std::io::Result<bool> {
        let mut connection = TcpStream::connect(address)?;
        connection.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200 "))
    };
    let deadline = Instant::now() + READY_WITHIN;
    while !is_ready().unwrap_or(false) {
        if let Some(how) = server.ended() {
            bail!("{how}: see its message above");
        }
        if Instant::now() > deadline {
            bail!("the node does not become ready");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

//! The private PostgreSQL and the sample database, against the real server.

use super::cluster::Cluster;
use super::error::ClusterError;
use super::rows::{Action, Rows, RowsError};
use super::{files, make_data_dir, sample, url};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// A data directory of its own, removed with everything in it.
struct DataDir(PathBuf);

impl DataDir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tailrace-{name}-{}", std::process::id()));
        make_data_dir(&path).expect("a data directory");
        Self(path)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

fn load(cluster: &Cluster) {
    let passwords = sample::Passwords {
        application: "a1",
        node: "b2",
    };
    in_runtime(sample::load(cluster, &passwords)).unwrap_or_else(|error| panic!("{error}"));
}

async fn connect(role: &str, password: &str, port: u16) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) =
        tokio_postgres::connect(&files::database_url(role, password, port), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Whether any process stands in the directory: every process of PostgreSQL does.
fn is_inhabited(directory: &Path) -> bool {
    let processes = fs::read_dir("/proc").expect("a Linux").flatten();
    processes
        .filter_map(|process| fs::read_link(process.path().join("cwd")).ok())
        .any(|stands_in| stands_in.starts_with(directory))
}

#[test]
fn a_cluster_starts_loads_restarts_and_leaves_nothing_running() {
    let data = DataDir::new("restart");
    let postgres = data.0.join("postgres");
    let cluster = Cluster::start(&data.0).unwrap_or_else(|error| panic!("{error}"));
    let port = cluster.port();
    load(&cluster);
    assert!(is_inhabited(&postgres));
    in_runtime(async {
        let owner = connect("app", "a1", port)
            .await
            .expect("the application's role");
        owner
            .batch_execute(r#"DELETE FROM "Property" WHERE "organizationId" = 'acme'"#)
            .await
    })
    .expect("the role may write");
    let since = Instant::now();
    drop(cluster);
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "took {:?}",
        since.elapsed()
    );
    assert!(!is_inhabited(&postgres));

    // The same files, the same port, and nothing of the samples is put back.
    let cluster = Cluster::start(&data.0).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cluster.port(), port);
    load(&cluster);
    in_runtime(async {
        let owner = connect("app", "a1", port)
            .await
            .expect("the application's role");
        let count = r#"SELECT count(*) FROM "Property" WHERE "organizationId" = $1"#;
        assert_eq!(
            owner
                .query_one(count, &[&"acme"])
                .await
                .expect("a count")
                .get::<_, i64>(0),
            0
        );
        assert_eq!(
            owner
                .query_one(count, &[&"globex"])
                .await
                .expect("a count")
                .get::<_, i64>(0),
            2
        );
    });
}

#[test]
fn every_published_table_can_be_changed_and_says_its_organisation_when_a_row_goes() {
    let data = DataDir::new("schema");
    let cluster = Cluster::start(&data.0).unwrap_or_else(|error| panic!("{error}"));
    load(&cluster);
    in_runtime(async {
        let owner = connect("app", "a1", cluster.port())
            .await
            .expect("the application's role");
        let published = "SELECT tablename::text FROM pg_publication_tables
                         WHERE pubname = 'tailrace' ORDER BY 1";
        let tables = owner.query(published, &[]).await.expect("the publication");
        let tables: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
        let all = [
            "Activity",
            "Client",
            "Notification",
            "Organization",
            "OrganizationMember",
            "Property",
            "User",
            "revocation",
        ];
        assert_eq!(tables, all);
        let identities = r#"
            SELECT c.relname::text FROM pg_class c
            JOIN pg_index i ON i.indrelid = c.oid AND i.indisreplident
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
            WHERE a.attname = 'organizationId' ORDER BY 1"#;
        let scoped = owner.query(identities, &[]).await.expect("the identities");
        let scoped: Vec<String> = scoped.iter().map(|row| row.get(0)).collect();
        assert_eq!(
            scoped,
            [
                "Activity",
                "Client",
                "Notification",
                "OrganizationMember",
                "Property"
            ]
        );

        let node = connect("tailrace", "b2", cluster.port())
            .await
            .expect("the node's role");
        let member = r#"SELECT "role" FROM "OrganizationMember" WHERE "userId" = 'alice'"#;
        assert_eq!(
            node.query_one(member, &[])
                .await
                .expect("readable")
                .get::<_, &str>(0),
            "owner"
        );
        assert!(node.query("SELECT \"id\" FROM \"User\"", &[]).await.is_ok());
        assert!(
            node.query("SELECT * FROM \"User\"", &[]).await.is_err(),
            "not the node's business"
        );
        assert!(connect("tailrace", "guess", cluster.port()).await.is_err());
        assert!(connect("postgres", "", cluster.port()).await.is_err());
    });
}

#[test]
fn the_buttons_change_rows_of_their_organisation_alone() {
    let data = DataDir::new("rows");
    let cluster = Cluster::start(&data.0).unwrap_or_else(|error| panic!("{error}"));
    load(&cluster);
    in_runtime(async {
        let rows = Rows::new(cluster.superuser());
        let owner = connect("app", "a1", cluster.port())
            .await
            .expect("the application's role");
        let all = r#"SELECT count(*), count(*) FILTER (WHERE "organizationId" = 'acme')
                     FROM "Property""#;
        let counts = async || {
            let row = owner.query_one(all, &[]).await.expect("counts");
            (row.get::<_, i64>(0), row.get::<_, i64>(1))
        };
        rows.change("acme", "alice", Action::Insert)
            .await
            .expect("inserted");
        assert_eq!(counts().await, (5, 3));
        let id = rows
            .change("acme", "alice", Action::Update)
            .await
            .expect("updated");
        let of = r#"SELECT "organizationId" FROM "Property" WHERE "id" = $1"#;
        assert_eq!(
            owner
                .query_one(of, &[&id])
                .await
                .expect("a row")
                .get::<_, &str>(0),
            "acme"
        );
        for left in (0..3).rev() {
            rows.change("acme", "alice", Action::Delete)
                .await
                .expect("deleted");
            assert_eq!(counts().await, (left + 2, left));
        }
        assert!(matches!(
            rows.change("acme", "alice", Action::Delete).await,
            Err(RowsError::NoRow)
        ));
        let foreign = rows.change("nobody", "alice", Action::Insert).await;
        assert!(matches!(foreign, Err(RowsError::Refused(_))), "{foreign:?}");

        for action in [
            Action::Activity,
            Action::Notification,
            Action::Rename,
            Action::Alert,
            Action::Sync,
        ] {
            let done = rows.change("acme", "alice", action).await;
            assert!(done.is_ok(), "{action:?}: {done:?}");
        }
        let members = async || {
            let members = r#"SELECT count(*) FROM "OrganizationMember" WHERE "userId" = 'carol'"#;
            let row = owner.query_one(members, &[]).await.expect("a count");
            row.get::<_, i64>(0)
        };
        for count in [1, 2] {
            let done = rows.change("acme", "alice", Action::Member).await;
            done.expect("she goes and comes");
            assert_eq!(members().await, count);
        }

        // A lost connection is made anew.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE application_name = 'tailrace dev'";
        owner.batch_execute(end).await.expect("ended");
        tokio::time::sleep(Duration::from_millis(200)).await;
        rows.change("acme", "alice", Action::Insert)
            .await
            .expect("inserted again");
    });
}

#[test]
fn a_second_dev_on_the_same_directory_is_refused() {
    let data = DataDir::new("second");
    let cluster = Cluster::start(&data.0).unwrap_or_else(|error| panic!("{error}"));
    let error = Cluster::start(&data.0).expect_err("refused");
    let own = std::process::id().to_string();
    assert!(
        matches!(&error, ClusterError::InUse { process, .. } if *process == own),
        "{error}"
    );
    drop(cluster);
}

#[test]
fn a_server_that_was_killed_and_restarted_by_hand_is_stopped_too() {
    let data = DataDir::new("killed");
    let cluster = Cluster::start(&data.0).unwrap_or_else(|error| panic!("{error}"));
    load(&cluster);
    let postgres = data.0.join("postgres");
    let pid = fs::read_to_string(postgres.join("postmaster.pid")).expect("its number");
    let pid: i32 = pid
        .lines()
        .next()
        .expect("a line")
        .parse()
        .expect("a number");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let since = Instant::now();
    while is_inhabited(&postgres) {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "its children live on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let binaries = super::binaries::Binaries::find(None, None).expect("PostgreSQL");
    let account = super::account::Account::choose().expect("an account");
    let mut command = account.command(&binaries.program("pg_ctl"), "TERM");
    command
        .arg("-D")
        .arg(&postgres)
        .args(["-w", "-l", "/dev/null", "start"]);
    assert!(run(command), "pg_ctl starts it with nothing but its files");
    in_runtime(async {
        connect("app", "a1", cluster.port())
            .await
            .expect("the same address");
    });
    drop(cluster);
    assert!(!is_inhabited(&postgres));
}

fn run(mut command: Command) -> bool {
    command
        .stdout(std::process::Stdio::null())
        .status()
        .expect("it starts")
        .success()
}

#[test]
fn a_data_directory_with_a_long_path_has_its_socket_elsewhere() {
    let data = DataDir::new(&"long".repeat(30));
    let cluster = Cluster::start(&data.0).unwrap_or_else(|error| panic!("{error}"));
    load(&cluster);
    drop(cluster);
}

#[test]
fn a_browser_is_not_sent_to_every_address_at_once() {
    let of = |listen: &str| url(listen.parse().expect("an address"));
    assert_eq!(of("0.0.0.0:4000"), "http://127.0.0.1:4000");
    assert_eq!(of("[::]:4000"), "http://[::1]:4000");
    assert_eq!(of("10.1.2.3:80"), "http://10.1.2.3:80");
}

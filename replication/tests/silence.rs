//! A server that is silent, and one that is impatient.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use replication::Rules;

use crate::cluster::{Cluster, Stop};
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (id serial PRIMARY KEY, "organizationId" text DEFAULT 'acme');
    CREATE PUBLICATION tailrace FOR TABLE "Property";
"#;

const INSERT: &str = r#"INSERT INTO "Property" DEFAULT VALUES"#;

/// A way to the server that can be made to lose everything without a word.
struct Wire {
    directory: PathBuf,
    is_cut: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    fn to(cluster: &Cluster) -> Self {
        let directory = cluster.directory().with_extension("wire");
        std::fs::create_dir(&directory).unwrap();
        let listener = UnixListener::bind(directory.join(".s.PGSQL.5432")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = cluster.directory().join(".s.PGSQL.5432");
        let (is_cut, is_over) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (cut, over) = (Arc::clone(&is_cut), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || carry(&listener, &server, &cut, &over));
        Self {
            directory,
            is_cut,
            is_over,
            thread: Some(thread),
        }
    }

    fn set_cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Carries bytes both ways. What stands when it is cut never carries anything again, and hears of
/// nothing.
fn carry(listener: &UnixListener, server: &Path, is_cut: &AtomicBool, is_over: &AtomicBool) {
    let mut pairs: Vec<(UnixStream, UnixStream, bool)> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let cut = is_cut.load(Ordering::Relaxed);
        if let (Ok((client, _)), false) = (listener.accept(), cut) {
            let server = UnixStream::connect(server).unwrap();
            client.set_nonblocking(true).unwrap();
            server.set_nonblocking(true).unwrap();
            pairs.push((client, server, true));
        }
        for (_, _, lives) in &mut pairs {
            *lives &= !cut;
        }
        let mut any = false;
        for (client, server, lives) in &mut pairs {
            if *lives {
                any |= pass(client, server) | pass(server, client);
            }
        }
        if !any {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn pass(from: &mut UnixStream, to: &mut UnixStream) -> bool {
    let mut buffer = [0; 16 * 1024];
    match from.read(&mut buffer) {
        Ok(0) => {
            let _ = to.shutdown(std::net::Shutdown::Write);
            false
        }
        Ok(len) => {
            to.set_nonblocking(false).unwrap();
            let _ = to.write_all(&buffer[..len]);
            to.set_nonblocking(true).unwrap();
            true
        }
        Err(error) => {
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionReset
                ),
                "{error}"
            );
            false
        }
    }
}

// Case: 60
#[test]
fn a_connection_that_is_half_open_is_noticed_and_nothing_is_lost() {
    let cluster = Cluster::start(SCHEMA);
    let wire = Wire::to(&cluster);
    let mut drive = Drive::new(&cluster, Rules::default());
    drive.go_to(&wire.directory);
    drive.until("streaming", |drive| drive.status().ready);
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    wire.set_cut(true);
    let begun = Instant::now();
    cluster.sql(INSERT);
    drive.until("noticed", |drive| !drive.status().streaming);
    let noticed = begun.elapsed();
    assert!(noticed < Duration::from_secs(15), "{noticed:?}");
    assert!(drive.status().reason.unwrap().contains("silent"));
    wire.set_cut(false);
    drive.until("streaming again", |drive| drive.status().ready);
    drive.catch_up(&cluster);
    assert_eq!((drive.frames.len(), drive.gaps()), (2, vec![]));
    // The server has given up what it had for the dead connection, too.
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE temporary";
    drive.until("tidied", |_| cluster.sql(slots) == "1");
}

// Case: 59
#[test]
fn a_server_that_is_impatient_by_default_waits_for_engines_that_are_full() {
    let cluster = Cluster::start_with(&["wal_sender_timeout=2s"], SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    drive.set_full(true);
    cluster.sql(r#"INSERT INTO "Property" SELECT FROM generate_series(1, 20000)"#);
    drive.pass(Duration::from_secs(10));
    assert_eq!((drive.frames.len(), drive.status().reconnects), (0, 0));
    drive.set_full(false);
    drive.catch_up(&cluster);
    assert_eq!((drive.frames.len(), drive.status().reconnects), (20_000, 0));
}

// Case: 67
#[test]
fn the_age_of_the_feed_grows_while_nothing_is_handed_over_or_heard() {
    let mut cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let age_ms = |drive: &Drive| drive.status().feed_age_ms.expect("it streams");
    drive.catch_up(&cluster);
    assert!(age_ms(&drive) < 1_000, "{}", age_ms(&drive));
    drive.set_full(true);
    cluster.sql(INSERT);
    drive.until("old", |drive| age_ms(drive) > 1_500);
    drive.set_full(false);
    drive.until("young", |drive| age_ms(drive) < 1_000);
    cluster.stop(Stop::Kill);
    drive.until("old", |drive| age_ms(drive) > 1_500);
    cluster.resume();
    drive.until("young", |drive| age_ms(drive) < 1_000);
}

//! Ten thousand streams on one node, and more connects than it has descriptors for: those who stream are
//! served, also when the node has to connect to PostgreSQL again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::support::readers::{Readers, USERS, cpu_share};
use crate::support::{Driver, World, becomes_true, on_both_drivers};

on_both_drivers!(ten_thousand_streams_and_no_descriptors_left);

/// What one process may hold on a small machine.
const DESCRIPTORS: u32 = 20_000;
const STREAMS: usize = 10_000;
/// Of these the last are the node's own. The number is said here again, as operators are told it: these
/// tests know the node by its binary, and use none of its crates.
const RESERVED: usize = 64;
/// Beyond what the node can take, by some thousands that wait in the listeners' queues.
const BEYOND: usize = 12_000;
/// At a time: more requests than the control thread's queue holds would be sent away for some
/// seconds, as they should be.
const STEP: usize = 1_000;
const LIMIT: Duration = Duration::from_secs(120);

/// The share of one core that a node may use which cannot accept and has nothing to send. A loop
/// that spins uses all of one.
const IDLE_SHARE_MAX: f64 = 0.5;

fn ten_thousand_streams_and_no_descriptors_left(driver: Driver) {
    // Two of these at a time would measure each other.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut world = World::with(driver, |mut config| {
        config.descriptors = Some(DESCRIPTORS);
        // Heartbeats of twenty thousand streams are not what is measured.
        config.text("http.heartbeat", "10m")
    });
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    sql.run(&format!(
        r#"INSERT INTO "User" SELECT 'user-' || i, 'U', 'x' FROM generate_series(0, {USERS} - 1) i;
           INSERT INTO "OrganizationMember" ("organizationId", "userId")
           SELECT 'acme', 'user-' || i FROM generate_series(0, {USERS} - 1) i"#
    ));
    let commit = || {
        sql.run(r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'P')"#);
    };
    let address = world.node.address();
    // What the node shows it has read, and the memberships before it.
    commit();
    alice.event();
    drop(alice);

    let mut first = Readers::start(address, 2);
    for opened in (STEP..=STREAMS).step_by(STEP) {
        first.open(STEP);
        first.wait_for(opened, 0, LIMIT);
    }
    commit();
    first.wait_for(STREAMS, 1, LIMIT);

    // More of them, until the node has no descriptor left, and on.
    let mut second = Readers::start(address, 3);
    for _ in 0..BEYOND / STEP {
        second.open(STEP);
        // Those that it can take are answered; when none is left to take, nobody is.
        becomes_true(Duration::from_secs(2), || second.count().waiting == 0);
    }
    let full = DESCRIPTORS as usize - RESERVED - 8;
    let held = world.node.process().descriptors();
    assert!(held >= full, "{held} descriptors: {:?}", second.count());
    let crowded = second.count();
    // Nowhere near an eighth of all descriptors goes at one time, so nobody has to be closed again.
    assert_eq!(crowded.lost, 0, "{crowded:?}");
    assert!(crowded.waiting > 0, "some must wait: {crowded:?}");
    let share = cpu_share(world.node.process(), Duration::from_secs(3));
    println!("{driver:?}: {share:.3} of a core with {crowded:?}");
    assert!(
        share < IDLE_SHARE_MAX,
        "{share:.2} of a core while nothing can be accepted"
    );

    // Those that stream are served meanwhile.
    commit();
    first.wait_for(STREAMS, 2, LIMIT);
    assert_eq!(first.count().lost, 0);

    // So they are when the node has to find its way to PostgreSQL again: no client has that descriptor.
    sql.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'walsender' AND datname = current_database()",
    );
    commit();
    first.wait_for(STREAMS, 3, LIMIT);
    assert_eq!(first.count().lost, 0);

    // Room again: those who waited get in by themselves, and everybody gets what comes. One of them may be
    // in already: the node took a descriptor of its own, and the one it had was a client's to have.
    let streaming = second.count().streaming;
    assert!(streaming <= crowded.streaming + RESERVED, "{streaming}");
    second.close(streaming);
    let waited = BEYOND - streaming;
    second.wait_for(waited, 0, LIMIT);
    assert_eq!(world.node.get("/livez").head.status, 200);
    commit();
    first.wait_for(STREAMS, 4, LIMIT);
    second.wait_for(waited, 1, LIMIT);
    assert_eq!(first.count().lost, 0, "no stream is lost");
    assert_eq!(second.count().lost, 0, "nor anybody who waited");
    assert!(world.node.process().is_running());
}

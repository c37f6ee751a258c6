//! The anchor: what of the log it holds back, why, and for how long there is room.

use replication::SlotMode;
use tokio_postgres::{Client, Row};

use super::Finding;
use crate::config::Config;
use crate::config::units::{human_bytes, human_time};
use crate::database::{DatabaseError, identifier, literal};
use crate::retention::{Kind, Retention, Slot};

/// What PostgreSQL keeps behind a slot anyway, until a checkpoint has passed, in bytes.
const SLACK_BYTES: u64 = 64 << 20;

/// What `init` advises too.
const KEEP_SIZE: &str = "10GB";

/// All of it.
pub(super) async fn findings(
    client: &Client,
    config: &Config,
    retention: &Retention,
) -> Result<Vec<Finding>, DatabaseError> {
    let mut findings = vec![bound(config, retention)];
    let is_temporary = config.slot.mode == SlotMode::Temporary;
    match retention.anchor(config.slot.generation) {
        Some(slot) if is_temporary => findings.push(left_over(slot, retention)),
        None if is_temporary => {
            let says =
                "none, as slot.mode is temporary: what was before a node's start is not known";
            findings.push(Finding::ok("anchor", says));
        }
        Some(slot) => {
            findings.push(anchor(slot, retention));
            findings.extend(beyond_window(slot));
        }
        None => findings.push(
            Finding::ok("anchor", "there is none yet: the first node makes it")
                .because("It waits until every transaction that writes now has ended."),
        ),
    }
    findings.extend(others(config, retention));
    let limit_s = config.history.window.as_secs_f64();
    findings.extend(old_transactions(client, limit_s).await?);
    Ok(findings)
}

/// Whether anything bounds what the slot holds back.
fn bound(config: &Config, retention: &Retention) -> Finding {
    let about = "max_slot_wal_keep_size";
    let window = config.history.wal_bytes;
    match retention.keep_bytes {
        None if config.slot.mode == SlotMode::Temporary => {
            Finding::ok(about, "-1; slot.mode is temporary, so a slot goes with its node")
        }
        None if config.slot.accept_unbounded => {
            Finding::ok(about, "-1: nothing bounds it, which slot.accept_unbounded says is meant")
        }
        None => Finding::warn(about, "it is -1: nothing bounds what is kept for a node that is away")
            .because(
                "A node that stays away fills PostgreSQL's disk, and then PostgreSQL stops. Run this as a \
                 superuser (hosted: in its settings), or say slot.accept_unbounded = true:",
            )
            .mend(format!("ALTER SYSTEM SET max_slot_wal_keep_size = '{KEEP_SIZE}';"))
            .mend("SELECT pg_reload_conf();"),
        Some(bytes) if bytes < window => {
            let says = format!("{}, which is less than history.wal_bytes", human_bytes(bytes));
            Finding::warn(about, says)
                .because("The slot is given up before the window is full: every page then refetches.")
                .mend(format!("ALTER SYSTEM SET max_slot_wal_keep_size = '{KEEP_SIZE}';"))
                .mend("SELECT pg_reload_conf();")
        }
        Some(bytes) => Finding::ok(about, human_bytes(bytes)),
    }
}

fn anchor(slot: &Slot, retention: &Retention) -> Finding {
    let about = "anchor";
    let name = &slot.name;
    if slot.is_lost() {
        let why = match &slot.lost_because {
            Some(reason) => format!(" ({reason})"),
            None => String::new(),
        };
        return Finding::warn(about, format!("the server has given {name} up{why}"))
            .because("What it held back is gone: pages that come back are told to refetch (reset).")
            .because("A node drops it and makes it anew. Where none is to run:")
            .mend(format!(
                "SELECT pg_drop_replication_slot({});",
                literal(name)
            ));
    }
    let outlook = format!("{name} {}", retention.outlook(slot));
    match (slot.status.as_str(), retention.nodes()) {
        ("unreserved", _) => Finding::warn(about, outlook).because(
            "It is beyond its bound, and given up at the next checkpoint. Start a node now.",
        ),
        (_, 0) => Finding::ok(about, outlook)
            .because("No node runs: it grows until one does. `tailrace slots drop` takes it away."),
        (_, nodes) => Finding::ok(
            about,
            format!("{name} holds back {}", human_bytes(slot.kept_bytes)),
        )
        .because(match nodes {
            1 => "The node that runs moves it on.".to_owned(),
            nodes => format!("The {nodes} nodes that run move it on."),
        }),
    }
}

/// An anchor of nodes that were configured otherwise.
fn left_over(slot: &Slot, retention: &Retention) -> Finding {
    let says = format!("{} {}", slot.name, retention.outlook(slot));
    Finding::warn("anchor", says)
        .because("slot.mode is temporary, so nobody moves it. Unless other nodes do, drop it:")
        .mend(format!(
            "SELECT pg_drop_replication_slot({});",
            literal(&slot.name)
        ))
}

/// What the slot keeps beyond its own place: something older than it is still open.
fn beyond_window(slot: &Slot) -> Option<Finding> {
    let beyond = slot.kept_bytes.saturating_sub(slot.window_bytes);
    (beyond > SLACK_BYTES && !slot.is_lost()).then(|| {
        let says = format!("{} are kept beyond the slot's own place", human_bytes(beyond));
        Finding::warn("restart_lsn", says).because(
            "A transaction that was open there is needed from its beginning. Where it is open still, it \
             is named below; else this ends with the next checkpoints.",
        )
    })
}

/// Slots of ours that this configuration does not move.
fn others(config: &Config, retention: &Retention) -> Vec<Finding> {
    let stale = |slot: &&Slot| {
        let is_other = matches!(slot.kind, Kind::Anchor { generation } if generation != config.slot.generation);
        is_other && slot.is_of(&retention.database)
    };
    let finding = |slot: &Slot| {
        let says = format!(
            "{} is of another generation, and {}",
            slot.name,
            retention.outlook(slot)
        );
        Finding::warn("another anchor", says)
            .because("Nobody moves it, unless nodes with that slot.generation run. If none do:")
            .mend(format!(
                "SELECT pg_drop_replication_slot({});",
                literal(&slot.name)
            ))
    };
    retention.slots.iter().filter(stale).map(finding).collect()
}

/// Transactions that have written, or were prepared, for longer than the window.
async fn old_transactions(client: &Client, limit_s: f64) -> Result<Vec<Finding>, DatabaseError> {
    let open = client
        .query(OPEN, &[&limit_s])
        .await
        .map_err(DatabaseError::of)?;
    let prepared = client
        .query(PREPARED, &[&limit_s])
        .await
        .map_err(DatabaseError::of)?;
    let because = "Everything written since then is kept for it, whatever the window says, and vacuum does \
                   not clean up behind it.";
    let opened = |row: &Row| {
        let (pid, user, state): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
        let age = match row.get::<_, Option<f64>>(3) {
            Some(seconds) => format!("for {}", human_time(seconds)),
            // The role may not see it: pg_read_all_stats would.
            None => format!("for {} transactions", row.get::<_, i32>(4)),
        };
        let says = format!("process {pid} of {user} ({state}) has a transaction open {age}");
        Finding::warn("old transaction", says)
            .because(because)
            .because("If nobody waits for it:")
            .mend(format!("SELECT pg_terminate_backend({pid});"))
    };
    let waiting = |row: &Row| {
        let (gid, owner, seconds): (String, String, f64) = (row.get(0), row.get(1), row.get(2));
        let says = format!("{gid} of {owner} is prepared for {}", human_time(seconds));
        Finding::warn("prepared transaction", says)
            .because(because)
            .because(format!(
                "As {}, if its outcome is known to be that:",
                identifier(&owner)
            ))
            .mend(format!("ROLLBACK PREPARED {};", literal(&gid)))
    };
    Ok(open
        .iter()
        .map(opened)
        .chain(prepared.iter().map(waiting))
        .collect())
}

// Where its time is not shown to us, a transaction is old by the number of later ones.
const OPEN: &str = "
SELECT pid, coalesce(usename, '?')::text, coalesce(state, '?'),
    extract(epoch FROM now() - xact_start)::float8, age(backend_xid)
FROM pg_catalog.pg_stat_activity
WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
    AND CASE WHEN xact_start IS NULL THEN age(backend_xid) > 100000
        ELSE extract(epoch FROM now() - xact_start) > $1::float8 END
ORDER BY age(backend_xid) DESC LIMIT 5";

const PREPARED: &str = "
SELECT gid, owner::text, extract(epoch FROM now() - prepared)::float8
FROM pg_catalog.pg_prepared_xacts
WHERE database = current_database() AND extract(epoch FROM now() - prepared) > $1::float8
ORDER BY prepared LIMIT 5";

//! The server: its version, its settings, and what is left of what is scarce.

use replication::{Provider, SlotMode};

use super::Finding;
use crate::catalog::Server;
use crate::config::Slot;
use crate::config::units::human_time;
use crate::retention::Retention;

/// The oldest version whose replication was tried.
const MAJOR_MIN: i32 = 14;

/// The newest.
const MAJOR_TRIED: i32 = 18;

/// The minor releases of May 2025, before which a publication that is changed beside a long
/// transaction may lose what that transaction wrote (PostgreSQL's release notes of them).
const MENDED: [(i32, i32); 4] = [(14, 18), (15, 13), (16, 9), (17, 5)];

/// An anchor that nobody holds is idle, even while nodes move it: a shorter timeout takes it away.
const IDLE_MS_MIN: i64 = 3_600_000;

/// What is advised where there is too little, as the documentation does.
const ADVISED: i64 = 20;

/// A version that is not spoken with at all.
pub(super) fn too_old(server: &Server) -> Option<Finding> {
    (server.major() < MAJOR_MIN).then(|| {
        let says = format!(
            "PostgreSQL {} is too old: 14 is the oldest that works",
            server.release
        );
        Finding::fail("version", says).because("A node does not start. Upgrade PostgreSQL.")
    })
}

/// All of it.
pub(super) fn findings(
    server: &Server,
    retention: &Retention,
    slot: &Slot,
    provider: Provider,
) -> Vec<Finding> {
    let mut findings = vec![version(server)];
    if server.is_in_recovery {
        findings.push(
            Finding::fail("primary", "this server is a standby")
                .because("The slot is made on the primary, and read there: connect to that."),
        );
    }
    findings.push(wal_level(server, provider));
    findings.push(encoding(server));
    // Beside its own, the first node makes the anchor.
    let has_anchor = retention.anchor(slot.generation).is_some();
    let is_enough = has_anchor || slot.mode == SlotMode::Temporary;
    findings.push(slots(server, retention, if is_enough { 1 } else { 2 }));
    findings.push(walsenders(server, retention));
    findings.extend(idle_timeout(server));
    findings
}

fn version(server: &Server) -> Finding {
    let (major, minor) = (server.major(), server.version % 10_000);
    let says = format!("PostgreSQL {}", server.release);
    let mended = MENDED.iter().find(|(of, _)| *of == major);
    match mended {
        Some((_, least)) if minor < *least => Finding::warn("version", says).because(format!(
            "Before {major}.{least} a table that is added to the publication while a transaction writes \
             to it may miss that transaction's changes. Upgrade to the newest {major}."
        )),
        _ if major > MAJOR_TRIED => Finding::note("version", says)
            .because(format!("Newer than {MAJOR_TRIED}, the newest that this version was tried on.")),
        _ => Finding::ok("version", says),
    }
}

fn wal_level(server: &Server, provider: Provider) -> Finding {
    let level = server.text("wal_level");
    if level == "logical" {
        return Finding::ok("wal_level", "logical");
    }
    let finding = Finding::fail("wal_level", format!("it is {level}, and must be logical"))
        .because("The log does not hold the rows, and a node does not start.");
    if server.is_pending("wal_level") {
        return finding.because("It was changed, and waits for a restart of PostgreSQL.");
    }
    match provider {
        Provider::Other => finding
            .because("Run this as a superuser, and restart PostgreSQL:")
            .mend("ALTER SYSTEM SET wal_level = 'logical';"),
        hosted => finding.because(format!("Hosted: {}.", hosted.logical_decoding())),
    }
}

fn encoding(server: &Server) -> Finding {
    match server.encoding.as_str() {
        "UTF8" => Finding::ok("encoding", "UTF8"),
        other => Finding::fail("encoding", format!("{other}, and must be UTF8"))
            .because("Events are UTF-8, and a row that cannot be converted would end the stream.")
            .because("Dump the database and restore it into one that was made so:")
            .mend("CREATE DATABASE app_utf8 ENCODING 'UTF8' TEMPLATE template0;"),
    }
}

fn slots(server: &Server, retention: &Retention, needed: i64) -> Finding {
    let most = server.number("max_replication_slots");
    scarce(&Scarce {
        setting: "max_replication_slots",
        what: "replication slots",
        most,
        used: server.slots,
        needed,
        nodes: retention.nodes(),
        who: "SELECT slot_name, active, database FROM pg_replication_slots shows who has them; what nobody \
              needs can be dropped instead.",
        is_pending: server.is_pending("max_replication_slots"),
    })
}

fn walsenders(server: &Server, retention: &Retention) -> Finding {
    scarce(&Scarce {
        setting: "max_wal_senders",
        what: "walsenders",
        most: server.number("max_wal_senders"),
        used: server.walsenders,
        needed: 1,
        nodes: retention.nodes(),
        who: "SELECT pid, application_name FROM pg_stat_replication shows who has them.",
        is_pending: server.is_pending("max_wal_senders"),
    })
}

/// Something of which the server has so many and no more.
struct Scarce {
    setting: &'static str,
    what: &'static str,
    most: i64,
    used: i64,
    /// How many a node takes that starts now.
    needed: i64,
    /// How many run already.
    nodes: usize,
    who: &'static str,
    is_pending: bool,
}

fn scarce(scarce: &Scarce) -> Finding {
    let Scarce {
        setting,
        what,
        most,
        used,
        needed,
        nodes,
        who,
        is_pending,
    } = scarce;
    let says = format!("{used} of {most} {what} are in use");
    if most - used >= *needed {
        return Finding::ok(*setting, says);
    }
    let finding = match nodes {
        0 => Finding::fail(*setting, says).because(format!(
            "A node needs {needed} more, and waits for that without getting ready."
        )),
        // During a deploy the new node comes before the old one goes.
        _ => Finding::warn(*setting, says)
            .because("One node more, as during a deploy, would wait without getting ready."),
    };
    if *is_pending {
        return finding.because("It was changed, and waits for a restart of PostgreSQL.");
    }
    finding
        .because(*who)
        .because("Or run this as a superuser, and restart PostgreSQL:")
        .mend(format!(
            "ALTER SYSTEM SET {setting} = {};",
            ADVISED.max(most * 2)
        ))
}

/// PostgreSQL 18 can give idle slots up by time.
fn idle_timeout(server: &Server) -> Option<Finding> {
    let setting = "idle_replication_slot_timeout";
    let ms = server.number(setting);
    let time = human_time(ms as f64 / 1_000.0);
    match ms {
        0 => None,
        ms if ms >= IDLE_MS_MIN => Some(
            Finding::note(
                setting,
                format!("{time} without a node, and the slot is given up"),
            )
            .because("Every page is then told to refetch (reset)."),
        ),
        _ => Some(
            Finding::warn(
                setting,
                format!("{time} without a node, and the slot is given up"),
            )
            .because("A longer deploy loses the history: every page is told to refetch (reset).")
            .mend(format!("ALTER SYSTEM SET {setting} = 0;"))
            .mend("SELECT pg_reload_conf();"),
        ),
    }
}

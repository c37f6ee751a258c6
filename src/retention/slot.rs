//! The slots that are named like ours.

use tokio_postgres::{Client, Row};

use crate::database::DatabaseError;

/// A replication slot.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) database: String,
    pub(crate) is_active: bool,
    /// How much of the log is kept for it.
    pub(crate) kept_bytes: u64,
    /// How far behind it is meant to be: the window, with what was written since it last moved.
    pub(crate) window_bytes: u64,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub(crate) status: String,
    /// Why it was given up, where this version says so.
    pub(crate) lost_because: Option<String>,
    /// What may be written until it is in danger; `None` where nothing bounds it, or it is lost.
    pub(crate) safe_bytes: Option<u64>,
}

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The history of a database.
    Anchor { generation: u32 },
    /// What a node streams from, for as long as it is connected.
    Copy,
}

impl Slot {
    /// Whether it belongs to this database.
    pub(crate) fn is_of(&self, database: &str) -> bool {
        self.database == database
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.status == "lost"
    }
}

impl Kind {
    /// What a slot's name says: `tailrace_<oid>[_g<generation>]` and, of a copy, 16 digits more.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let rest = name
            .strip_prefix(replication::Config::SLOT_DEFAULT)?
            .strip_prefix('_')?;
        let mut parts = rest.split('_');
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !parts.next().is_some_and(is_number) {
            return None;
        }
        let mut generation = 0;
        let mut next = parts.next();
        if let Some(number) = next.and_then(|part| part.strip_prefix('g')) {
            generation = number.parse().ok()?;
            next = parts.next();
        }
        match (next, parts.next()) {
            (None, _) => Some(Self::Anchor { generation }),
            (Some(token), None) => {
                let is_token = token.len() == 16 && token.bytes().all(|b| b.is_ascii_hexdigit());
                is_token.then_some(Self::Copy)
            }
            _ => None,
        }
    }
}

/// Reads them.
pub(super) async fn read(client: &Client) -> Result<Vec<Slot>, DatabaseError> {
    let rows = client.query(SLOTS, &[]).await.map_err(DatabaseError::of)?;
    Ok(rows.iter().filter_map(slot).collect())
}

// The reason is a column from PostgreSQL 17 on.
const SLOTS: &str = "
SELECT s.slot_name::text, coalesce(s.database::text, ''), s.active,
    pg_catalog.pg_wal_lsn_diff(now.lsn, s.restart_lsn)::int8,
    pg_catalog.pg_wal_lsn_diff(now.lsn, s.confirmed_flush_lsn)::int8,
    coalesce(s.wal_status, ''), to_jsonb(s) ->> 'invalidation_reason', s.safe_wal_size
FROM pg_catalog.pg_replication_slots AS s, (
    SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
        ELSE pg_catalog.pg_current_wal_lsn() END AS lsn) AS now
ORDER BY 1";

fn slot(row: &Row) -> Option<Slot> {
    let name: String = row.get(0);
    let bytes = |at: usize| row.get::<_, Option<i64>>(at);
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    Some(Slot {
        kind: Kind::of(&name)?,
        name,
        database: row.get(1),
        is_active: row.get(2),
        kept_bytes: bytes(3).map_or(0, positive),
        window_bytes: bytes(4).map_or(0, positive),
        status: row.get(5),
        lost_because: row.get(6),
        safe_bytes: bytes(7).map(positive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_a_slot_is_for() {
        assert_eq!(
            Kind::of("tailrace_16384"),
            Some(Kind::Anchor { generation: 0 })
        );
        assert_eq!(
            Kind::of("tailrace_5_g12"),
            Some(Kind::Anchor { generation: 12 })
        );
        assert_eq!(Kind::of("tailrace_5_0123456789abcdef"), Some(Kind::Copy));
        assert_eq!(Kind::of("tailrace_5_g2_0123456789abcdef"), Some(Kind::Copy));
        for other in [
            "tailrace",
            "tailrace_",
            "tailrace_x",
            "tailrace_5_backup",
            "tailrace_5_gx",
            "tailrace_5_g2_3_4",
            "other_5",
        ] {
            assert_eq!(Kind::of(other), None, "{other}");
        }
    }
}

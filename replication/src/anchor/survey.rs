//! What is asked of the anchor slot, and of what else holds the write-ahead log back.

use wire::Lsn;

use crate::protocol::backend::Row;
use crate::sql::literal;

/// The first major whose slots say why they were given up, and can follow a failover.
pub(crate) const FAILOVER_SINCE: u32 = 170_000;

/// The anchor slot, as the server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotStatus {
    /// Its name.
    pub name: String,
    /// The server's word for how safe it is (`pg_replication_slots.wal_status`): `reserved`,
    /// `extended`, `unreserved` or `lost`; `None` where there is no such slot.
    pub wal_status: Option<String>,
    /// Up to where it was moved.
    pub confirmed: Lsn,
    /// How much of the log is kept because of it, in bytes.
    pub retained_bytes: u64,
    /// How much of that lies before the window: transactions that have been open since then need it.
    pub before_window_bytes: u64,
    /// How much may yet be written before the server gives the slot up; `None` without a bound.
    pub safe_bytes: Option<i64>,
    /// How long the oldest transaction that writes has been open, in seconds, as far as our role may
    /// know (`pg_read_all_stats`).
    pub oldest_transaction_s: Option<u64>,
}

impl SlotStatus {
    /// Whether nobody can read from it any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.wal_status.as_deref() == Some("lost")
    }

    /// Whether it is there, and of use.
    pub(crate) fn is_well(&self) -> bool {
        self.wal_status.is_some() && !self.is_lost()
    }
}

/// What one question tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) slot: SlotStatus,
    /// Why it was given up, where it was and the server says so.
    pub(crate) lost_by: Option<String>,
    /// Whether there is a publication.
    pub(crate) is_published: bool,
    /// Whether a slot that is not used for a while is given up.
    pub(crate) has_idle_timeout: bool,
    /// The end of the log.
    pub(crate) end: Lsn,
}

/// Asks for all of it at once.
pub(crate) fn question(slot: &str, publication: &str, version: u32) -> String {
    let reason = match version {
        FAILOVER_SINCE.. => "s.invalidation_reason",
        _ => "NULL::text",
    };
    let (slot, publication) = (literal(slot), literal(publication));
    format!(
        "SELECT s.wal_status, s.confirmed_flush_lsn, s.restart_lsn, s.safe_wal_size, {reason}, \
         pg_catalog.pg_current_wal_lsn(), EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname \
         = {publication}), coalesce(pg_catalog.current_setting('idle_replication_slot_timeout', \
         true), '0') <> '0', (SELECT pg_catalog.floor(extract(epoch FROM \
         pg_catalog.clock_timestamp() - min(since)))::bigint FROM (SELECT xact_start AS since FROM \
         pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL UNION ALL SELECT prepared FROM \
         pg_catalog.pg_prepared_xacts) AS open) FROM (SELECT) AS one LEFT JOIN \
         pg_catalog.pg_replication_slots s ON s.slot_name = {slot}"
    )
}

/// Reads the answer.
pub(crate) fn parse(rows: &[Row], name: &str) -> Option<Survey> {
    let [row] = rows else { return None };
    let [
        wal_status,
        confirmed,
        restart,
        safe,
        lost_by,
        Some(end),
        Some(published),
        Some(idle_timeout),
        oldest,
    ] = row.as_slice()
    else {
        return None;
    };
    let lsn = |text: &Option<String>| match text {
        Some(text) => text.parse().ok(),
        None => Some(Lsn(0)),
    };
    let (confirmed, restart): (Lsn, Lsn) = (lsn(confirmed)?, lsn(restart)?);
    let end: Lsn = end.parse().ok()?;
    let is_there = wal_status.is_some() && restart != Lsn(0);
    let retained = |from: Lsn, to: Lsn| {
        if is_there {
            to.0.saturating_sub(from.0)
        } else {
            0
        }
    };
    Some(Survey {
        slot: SlotStatus {
            name: name.to_owned(),
            wal_status: wal_status.clone(),
            confirmed,
            retained_bytes: retained(restart, end),
            before_window_bytes: retained(restart, confirmed),
            safe_bytes: safe.as_ref().map(|text| text.parse()).transpose().ok()?,
            oldest_transaction_s: oldest.as_ref().and_then(|text| text.parse().ok()),
        },
        lost_by: lost_by.clone(),
        is_published: published == "t",
        has_idle_timeout: idle_timeout == "t",
        end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(texts: [Option<&str>; 9]) -> Row {
        texts.map(|text| text.map(str::to_owned)).into()
    }

    #[test]
    fn a_slot_is_told_by_what_it_keeps() {
        let texts = [
            Some("reserved"),
            Some("0/500"),
            Some("0/300"),
            Some("-7"),
            None,
            Some("0/900"),
            Some("t"),
            Some("f"),
            Some("90"),
        ];
        let survey = parse(&[row(texts)], "tailrace_1").unwrap();
        let slot = &survey.slot;
        assert_eq!(
            (slot.retained_bytes, slot.before_window_bytes),
            (0x600, 0x200)
        );
        assert_eq!(
            (slot.safe_bytes, slot.oldest_transaction_s),
            (Some(-7), Some(90))
        );
        assert!(slot.is_well() && survey.is_published && !survey.has_idle_timeout);
        let texts = texts.map(|text| {
            if text == Some("reserved") {
                Some("lost")
            } else {
                text
            }
        });
        assert!(!parse(&[row(texts)], "").unwrap().slot.is_well());
    }

    #[test]
    fn a_slot_that_is_not_there_keeps_nothing() {
        let texts = [
            None,
            None,
            None,
            None,
            None,
            Some("0/900"),
            Some("f"),
            Some("f"),
            None,
        ];
        let survey = parse(&[row(texts)], "tailrace_1").unwrap();
        assert_eq!(
            (survey.slot.retained_bytes, survey.slot.is_well()),
            (0, false)
        );
        for rows in [vec![], vec![vec![]], vec![row([Some("x"); 9])]] {
            assert_eq!(parse(&rows, ""), None);
        }
    }
}

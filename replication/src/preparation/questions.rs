//! The questions before streaming, in SQL, and how their answers are read.

use wire::Lsn;

use super::{Obstacle, unexpected};
use crate::Config;
use crate::anchor::FAILOVER_SINCE;
use crate::protocol::backend::Row;
use crate::sql::{identifier, literal};

/// The name of the anchor slot.
pub(super) fn anchor_name(config: &Config, database_oid: u32) -> String {
    match config.generation {
        0 => format!("{}_{database_oid}", config.slot),
        generation => format!("{}_{database_oid}_g{generation}", config.slot),
    }
}

/// One question for all that must be known of the database.
pub(super) fn survey(config: &Config) -> String {
    let suffix = match config.generation {
        0 => String::new(),
        generation => format!("_g{generation}"),
    };
    let (slot, suffix) = (literal(&format!("{}_", config.slot)), literal(&suffix));
    let publication = literal(&config.publication);
    format!(
        "SELECT d.oid, pg_catalog.current_setting('wal_level'), pg_catalog.pg_is_in_recovery(), \
         EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {publication}), s.slot_name, \
         s.wal_status, pg_catalog.current_setting('server_version_num'), CASE WHEN NOT \
         pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn() END FROM \
         pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_replication_slots s ON \
         s.slot_name = {slot} || d.oid || {suffix} WHERE d.datname = pg_catalog.current_database()"
    )
}

/// Makes an anchor: one that follows a failover, where the server knows such.
pub(super) fn create(slot: &str, version: u32) -> String {
    let slot = identifier(slot);
    match version {
        FAILOVER_SINCE.. => format!(
            "CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput (SNAPSHOT 'nothing', FAILOVER true)"
        ),
        _ => format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput NOEXPORT_SNAPSHOT"),
    }
}

/// Makes a slot that ends with its connection.
pub(super) fn create_temporary(slot: &str) -> String {
    let slot = identifier(slot);
    format!("CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT")
}

/// Drops a slot if the server has given it up: another node may have made it anew.
pub(crate) fn drop_lost(slot: &str) -> String {
    format!(
        "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM \
         pg_catalog.pg_replication_slots WHERE slot_name = {} AND wal_status = 'lost'",
        literal(slot)
    )
}

/// The tables that have an organisation, for the publication that is missing.
pub(super) fn candidates(config: &Config) -> String {
    let names: Vec<String> = config
        .rules
        .organisation_columns
        .iter()
        .map(|name| literal(name))
        .collect();
    let names = if names.is_empty() {
        "NULL".to_owned()
    } else {
        names.join(", ")
    };
    format!(
        "SELECT DISTINCT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM \
         pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN \
         pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND NOT \
         c.relispartition AND NOT a.attisdropped AND a.attname IN ({names}) AND n.nspname NOT LIKE \
         'pg\\_%' ORDER BY 1 LIMIT 200"
    )
}

pub(super) fn publication_missing(config: &Config, tables: &[Row]) -> Obstacle {
    let tables: Vec<&str> = tables
        .iter()
        .filter_map(|row| row.first()?.as_deref())
        .collect();
    let tables = match tables.as_slice() {
        [] => "public.\"YourTable\"".to_owned(),
        tables => tables.join(", "),
    };
    let publication = identifier(&config.publication);
    Obstacle {
        reason: format!(
            "there is no publication {publication}; it is the list of the tables that may be read, \
             so make it as their owner, and leave out what no browser may see: CREATE PUBLICATION \
             {publication} FOR TABLE {tables} WITH (publish_via_partition_root = true);"
        ),
        fatal: true,
    }
}

/// Reads a timeline history file: in each line a timeline, the position at which it was left, and
/// why.
pub(super) fn parse_history(text: &str) -> Option<Vec<(u32, Lsn)>> {
    let mut left = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        left.push((words.next()?.parse().ok()?, words.next()?.parse().ok()?));
    }
    left.is_sorted_by_key(|(timeline, lsn): &(u32, Lsn)| (*timeline, *lsn))
        .then_some(left)
}

/// The rows of an answer that must have so many rows of so many columns.
pub(super) fn fields<const ROWS: usize, const COLUMNS: usize>(
    rows: &[Row],
) -> Result<[[Option<String>; COLUMNS]; ROWS], Obstacle> {
    let rows: Option<Vec<[Option<String>; COLUMNS]>> =
        rows.iter().map(|row| row.clone().try_into().ok()).collect();
    rows.and_then(|rows| rows.try_into().ok())
        .ok_or_else(unexpected)
}

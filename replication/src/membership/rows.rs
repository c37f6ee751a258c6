//! What is asked of the database in the snapshot, and how the answers are read. What is asked of its catalog,
//! and what follows from that, is in `catalog`.

use std::collections::BTreeSet;

use wire::Lsn;

use super::Identity;
use super::identity::REVOCATION_TABLE;
use super::visibility::Visibility;
use crate::limits::LOAD_ROWS;
use crate::protocol::backend::Row;
use crate::sql::identifier;

/// The snapshot is taken by the first statement behind this one.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// No lock is held for longer than it takes.
pub(super) const END: &str = "COMMIT";

/// What the snapshot has seen, and how far the log was written and flushed when it was taken.
pub(super) const SNAPSHOT: &str = "SELECT pg_catalog.pg_current_snapshot()::text, CASE WHEN NOT \
     pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_insert_lsn()::text END, CASE WHEN \
     NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn()::text END";

/// Asks for so many more rows.
pub(super) fn fetch() -> String {
    format!("FETCH FORWARD {LOAD_ROWS} FROM rights")
}

/// Behind the snapshot, and before anything is locked.
pub(super) const SAVEPOINT: &str = "SAVEPOINT rights";

/// The next rows are others: closes the cursor, and lets go of what it locked. Who holds one table and waits for
/// another may have a migration aborted that has the other one.
pub(super) const LET_GO: &str = "ROLLBACK TO SAVEPOINT rights";

/// Whether more rows may come after these.
pub(super) fn may_have_more(rows: &[Row]) -> bool {
    rows.len() == LOAD_ROWS
}

/// Reads the answer to [`SNAPSHOT`].
pub(super) fn visibility(rows: &[Row]) -> Result<Visibility, String> {
    let [row] = rows else {
        return Err(unexpected());
    };
    let [Some(snapshot), end, flushed] = row.as_slice() else {
        return Err(unexpected());
    };
    let (Some(end), Some(flushed)) = (end, flushed) else {
        return Err("the server is a standby; connect to the primary".to_owned());
    };
    let place = |text: &String| text.parse::<Lsn>().map_err(|_| unexpected());
    Visibility::parse(snapshot, place(end)?, place(flushed)?).ok_or_else(unexpected)
}

/// The cursor over the revocations that are in force: id, user, session, organisation, issued before, until.
pub(super) fn declare_revocations() -> String {
    let (schema, name) = REVOCATION_TABLE;
    format!(
        "DECLARE rights NO SCROLL CURSOR FOR SELECT id, \"user\", session, organization, \
         issued_before, until FROM {}.{} WHERE until > pg_catalog.clock_timestamp()",
        identifier(schema),
        identifier(name),
    )
}

/// What the role has to be granted that may not read a table.
pub(super) fn grant(identity: &Identity, role: &str) -> String {
    let quoted = |table: &str| match table.split_once('.') {
        Some((schema, name)) => format!("{}.{}", identifier(schema), identifier(name)),
        None => identifier(table),
    };
    let members = identity.members().map(|it| quoted(&it.table));
    let organisation = identity.organisation.as_ref().map(|it| quoted(&it.table));
    let ours = identity.revocation.then(|| {
        let (schema, name) = REVOCATION_TABLE;
        quoted(&format!("{schema}.{name}"))
    });
    let tables: BTreeSet<String> = [members, organisation, ours]
        .into_iter()
        .flatten()
        .collect();
    let tables: Vec<String> = tables.into_iter().collect();
    format!(
        "GRANT SELECT ON {} TO {} (`tailrace check` names the columns that are enough)",
        tables.join(", "),
        identifier(role)
    )
}

pub(super) fn unexpected() -> String {
    "the server's answer is not what was asked for".to_owned()
}

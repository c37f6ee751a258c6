//! What the page's buttons do: rows inserted, updated or deleted by SQL, as the application would do it, and
//! messages in the log. They come back over the stream; nothing is announced from here.

use super::sample;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config};

/// How many changes may wait for the one connection.
const WAITING_MAX: usize = 16;

/// How long a change may take in all, a reconnect included.
const CHANGE_WITHIN: Duration = Duration::from_secs(5);

/// How many rows of a table an organisation may have before a button inserts no more.
const ROWS_MAX: i64 = 1000;

const INSERT: &str = r#"
INSERT INTO "Property" ("organizationId", "name", "price", "status", "notes")
SELECT $1,
       (ARRAY['Harbour View', 'Mill Lane', 'Orchard House', 'Station Road', 'Weir Cottage',
              'Lock Keeper''s House', 'Bridge Street', 'Meadow Court'])[1 + floor(random() * 8)::int]
           || ' ' || 1 + floor(random() * 90)::int,
       round((150000 + random() * 850000)::numeric, -2),
       'available',
       'Added from the page'
WHERE (SELECT count(*) FROM "Property" WHERE "organizationId" = $1) < $2
RETURNING "id""#;

/// The next status and a somewhat different price, so that every press is seen to change something.
const UPDATE: &str = r#"
UPDATE "Property"
SET "status" = CASE "status" WHEN 'available' THEN 'reserved' WHEN 'reserved' THEN 'sold'
               ELSE 'available' END,
    "price" = round(coalesce("price", 250000) * (0.95 + random() * 0.1)::numeric, -2),
    "updatedAt" = CURRENT_TIMESTAMP
WHERE "id" = (SELECT "id" FROM "Property" WHERE "organizationId" = $1 ORDER BY random() LIMIT 1)
RETURNING "id""#;

const DELETE: &str = r#"
DELETE FROM "Property"
WHERE "id" = (SELECT "id" FROM "Property" WHERE "organizationId" = $1 ORDER BY random() LIMIT 1)
RETURNING "id""#;

const ACTIVITY: &str = r#"
INSERT INTO "Activity" ("organizationId", "userId", "action", "entityType")
SELECT $1, $2, 'looked at a property', 'Property'
WHERE (SELECT count(*) FROM "Activity" WHERE "organizationId" = $1) < $3
RETURNING "id""#;

const NOTIFICATION: &str = r#"
INSERT INTO "Notification" ("organizationId", "userId", "title")
SELECT $1, $2, 'A viewing was booked'
WHERE (SELECT count(*) FROM "Notification" WHERE "organizationId" = $1) < $3
RETURNING "id""#;

/// Carol leaves the organisation, or comes back: whoever has her window open sees her stream end.
const MEMBER: &str = r#"
WITH gone AS (
    DELETE FROM "OrganizationMember" WHERE "organizationId" = $1 AND "userId" = 'carol' RETURNING "id"
), come AS (
    INSERT INTO "OrganizationMember" ("organizationId", "userId") SELECT $1, 'carol'
    WHERE NOT EXISTS (
        SELECT FROM "OrganizationMember" WHERE "organizationId" = $1 AND "userId" = 'carol')
    RETURNING "id"
)
SELECT "id" FROM gone UNION ALL SELECT "id" FROM come"#;

const RENAME: &str = r#"
UPDATE "Organization"
SET "name" = CASE WHEN "name" LIKE '% & Co' THEN left("name", -5) ELSE "name" || ' & Co' END
WHERE "id" = $1 RETURNING "id""#;

/// To everybody, of whatever organisation.
const ALERT: &str = "
SELECT pg_logical_emit_message(true, 'tailrace', json_build_object(
    'type', 'system.alert', 'channel', 'system', 'global', true,
    'data', json_build_object('message', 'Maintenance at noon'))::text)::text";

const SYNC: &str = "
SELECT pg_logical_emit_message(true, 'tailrace', json_build_object(
    'type', 'data.sync', 'channel', 'system', 'organizationId', $1::text,
    'data', json_build_object('message', 'Imported from the other system'))::text)::text";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// A new property with a name made up.
    Insert,
    /// Some property of the organisation.
    Update,
    /// Some property of the organisation.
    Delete,
    /// What the user did, for their organisation to see.
    Activity,
    /// Something for the user alone.
    Notification,
    /// Carol leaves, or comes back.
    Member,
    /// The organisation has another name.
    Rename,
    /// A message to everybody.
    Alert,
    /// A message to the organisation.
    Sync,
}

impl Action {
    fn sql(self) -> &'static str {
        match self {
            Self::Insert => INSERT,
            Self::Update => UPDATE,
            Self::Delete => DELETE,
            Self::Activity => ACTIVITY,
            Self::Notification => NOTIFICATION,
            Self::Member => MEMBER,
            Self::Rename => RENAME,
            Self::Alert => ALERT,
            Self::Sync => SYNC,
        }
    }
}

/// Why no row was changed.
#[derive(Debug)]
pub(crate) enum RowsError {
    /// Too many changes wait already.
    Busy,
    /// The database did not answer in time, or not at all.
    Away,
    /// There is no row to update or delete.
    NoRow,
    /// There are [`ROWS_MAX`] rows.
    Full,
    /// The database refused; its own words.
    Refused(String),
}

/// The application's connection to its database, made when it is first needed and again when it is
/// lost.
pub(crate) struct Rows {
    config: Config,
    client: Mutex<Option<Client>>,
    waiting: Semaphore,
}

impl Rows {
    /// `config` says where the cluster is; the role and the database are the application's.
    pub(crate) fn new(mut config: Config) -> Self {
        config.user(sample::APPLICATION).dbname(sample::APPLICATION);
        config.options("-c statement_timeout=3s -c lock_timeout=2s");
        Self {
            config,
            client: Mutex::new(None),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// Does it for this user of an organisation, and names the row or the message's place.
    pub(crate) async fn change(
        &self,
        organization: &str,
        user: &str,
        action: Action,
    ) -> Result<String, RowsError> {
        let _place = self.waiting.try_acquire().map_err(|_| RowsError::Busy)?;
        let change = self.change_in_turn(organization, user, action);
        tokio::time::timeout(CHANGE_WITHIN, change)
            .await
            .map_err(|_| RowsError::Away)?
    }

    async fn change_in_turn(
        &self,
        organization: &str,
        user: &str,
        action: Action,
    ) -> Result<String, RowsError> {
        let mut client = self.client.lock().await;
        let usable = client.take().filter(|client| !client.is_closed());
        let client = match usable {
            Some(usable) => client.insert(usable),
            None => client.insert(sample::connect(&self.config).await.map_err(fault)?),
        };
        let parameters: &[&(dyn ToSql + Sync)] = match action {
            Action::Alert => &[],
            Action::Insert => &[&organization, &ROWS_MAX],
            Action::Activity | Action::Notification => &[&organization, &user, &ROWS_MAX],
            _ => &[&organization],
        };
        let changed = client.query_opt(action.sql(), parameters).await;
        match (changed.map_err(fault)?, action) {
            (Some(row), _) => Ok(row.get(0)),
            (None, Action::Update | Action::Delete | Action::Rename) => Err(RowsError::NoRow),
            (None, _) => Err(RowsError::Full),
        }
    }
}

fn fault(error: tokio_postgres::Error) -> RowsError {
    match error.as_db_error() {
        Some(error) => RowsError::Refused(error.message().to_owned()),
        None => RowsError::Away,
    }
}

//! What the page's buttons do: a row of `"Property"` inserted, updated or deleted by SQL, as the
//! application would do it. The change comes back over the stream; nothing is announced from here.

use super::sample;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio_postgres::{Client, Config};

/// How many changes may wait for the one connection.
const WAITING_MAX: usize = 16;

/// How long a change may take in all, a reconnect included.
const CHANGE_WITHIN: Duration = Duration::from_secs(5);

/// How many properties an organisation may have before the button inserts no more.
const PROPERTIES_MAX: i64 = 1000;

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

/// What to do to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// A new property with a name made up.
    Insert,
    /// Some property of the organisation.
    Update,
    /// Some property of the organisation.
    Delete,
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
    /// There are `PROPERTIES_MAX` rows.
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

    /// Changes a row and names it.
    pub(crate) async fn change(
        &self,
        organization: &str,
        action: Action,
    ) -> Result<String, RowsError> {
        let _place = self.waiting.try_acquire().map_err(|_| RowsError::Busy)?;
        let change = self.change_in_turn(organization, action);
        tokio::time::timeout(CHANGE_WITHIN, change)
            .await
            .map_err(|_| RowsError::Away)?
    }

    async fn change_in_turn(
        &self,
        organization: &str,
        action: Action,
    ) -> Result<String, RowsError> {
        let mut client = self.client.lock().await;
        let usable = client.take().filter(|client| !client.is_closed());
        let client = match usable {
            Some(usable) => client.insert(usable),
            None => client.insert(sample::connect(&self.config).await.map_err(fault)?),
        };
        let changed = match action {
            Action::Insert => {
                client
                    .query_opt(INSERT, &[&organization, &PROPERTIES_MAX])
                    .await
            }
            Action::Update => client.query_opt(UPDATE, &[&organization]).await,
            Action::Delete => client.query_opt(DELETE, &[&organization]).await,
        };
        match (changed.map_err(fault)?, action) {
            (Some(row), _) => Ok(row.get(0)),
            (None, Action::Insert) => Err(RowsError::Full),
            (None, Action::Update | Action::Delete) => Err(RowsError::NoRow),
        }
    }
}

fn fault(error: tokio_postgres::Error) -> RowsError {
    match error.as_db_error() {
        Some(error) => RowsError::Refused(error.message().to_owned()),
        None => RowsError::Away,
    }
}

//! The server and the database: its version, its settings, how much of what is scarce is in use.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::database::DatabaseError;

/// A server, and the database that was connected to.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// As `server_version_num` has it.
    pub(crate) version: i32,
    /// As a person writes it: `15.18`.
    pub(crate) release: String,
    pub(crate) database: String,
    pub(crate) encoding: String,
    /// As whom we are connected.
    pub(crate) user: String,
    pub(crate) is_superuser: bool,
    /// Whether it is a standby.
    pub(crate) is_in_recovery: bool,
    /// Whether whoever may log in may connect to the database.
    pub(crate) is_open_to_public: bool,
    pub(crate) slots: i64,
    pub(crate) walsenders: i64,
    settings: HashMap<String, Setting>,
}

#[derive(Clone, Debug)]
struct Setting {
    value: i64,
    text: String,
    is_pending: bool,
}

/// The settings that are looked at.
const SETTINGS: [&str; 8] = [
    "wal_level",
    "max_replication_slots",
    "max_wal_senders",
    "max_slot_wal_keep_size",
    "wal_sender_timeout",
    "idle_replication_slot_timeout",
    "synchronous_standby_names",
    "wal_segment_size",
];

impl Server {
    /// Asks it.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn read(client: &Client) -> Result<Self, DatabaseError> {
        let row = client
            .query_one(SERVER, &[])
            .await
            .map_err(DatabaseError::of)?;
        let names: Vec<&str> = SETTINGS.to_vec();
        let sql = "SELECT name, setting, coalesce(unit, ''), pending_restart
                   FROM pg_catalog.pg_settings WHERE name = ANY($1::text[])";
        let settings = client
            .query(sql, &[&names])
            .await
            .map_err(DatabaseError::of)?;
        let setting = |row: &tokio_postgres::Row| {
            let text: String = row.get(1);
            let setting = Setting {
                value: in_base_units(text.parse().unwrap_or(0), row.get(2)),
                text,
                is_pending: row.get(3),
            };
            (row.get(0), setting)
        };
        Ok(Self {
            version: row.get(0),
            release: row.get(1),
            database: row.get(2),
            encoding: row.get(3),
            user: row.get(4),
            is_superuser: row.get(5),
            is_in_recovery: row.get(6),
            is_open_to_public: row.get(7),
            slots: row.get(8),
            walsenders: row.get(9),
            settings: settings.iter().map(setting).collect(),
        })
    }

    /// Its version, as `SHOW server_version` counts it: 14, 15 …
    pub(crate) fn major(&self) -> i32 {
        self.version / 10_000
    }

    /// A setting as a number, in bytes or milliseconds where it has a unit; -1 means no bound. 0
    /// where this version does not have it.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.settings.get(name).map_or(0, |setting| setting.value)
    }

    /// A setting as text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| &setting.text)
    }

    /// Whether the setting was changed, and waits for a restart.
    pub(crate) fn is_pending(&self, name: &str) -> bool {
        self.settings
            .get(name)
            .is_some_and(|setting| setting.is_pending)
    }
}

const SERVER: &str = "
SELECT current_setting('server_version_num')::int, split_part(current_setting('server_version'), ' ', 1),
    current_database()::text, pg_catalog.pg_encoding_to_char(d.encoding)::text,
    current_user::text, (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
    pg_catalog.pg_is_in_recovery(), pg_catalog.has_database_privilege('public', d.oid, 'CONNECT'),
    (SELECT count(*) FROM pg_catalog.pg_replication_slots),
    (SELECT count(*) FROM pg_catalog.pg_stat_replication)
FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()";

/// PostgreSQL's units ("Setting Parameters") as bytes or milliseconds.
fn in_base_units(value: i64, unit: &str) -> i64 {
    let factor = match unit {
        "kB" => 1 << 10,
        "8kB" => 8 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => 1,
    };
    // -1 says that there is no bound, in whatever unit.
    if value < 0 {
        value
    } else {
        value.saturating_mul(factor)
    }
}

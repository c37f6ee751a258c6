//! A role, and what it may do.

use replication::RDS_REPLICATION;
use tokio_postgres::Client;

use crate::database::DatabaseError;

/// A role of the server.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) is_superuser: bool,
    /// Whether it may open a connection that replicates, by itself or as a member of a host's role.
    pub(crate) may_replicate: bool,
}

impl Role {
    /// Reads the role of this name; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn read(client: &Client, name: &str) -> Result<Option<Self>, DatabaseError> {
        let sql = "SELECT r.rolsuper, r.rolsuper OR r.rolreplication OR EXISTS (
                       SELECT FROM pg_catalog.pg_auth_members AS m
                       JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
                       WHERE m.member = r.oid AND g.rolname = $2::text)
                   FROM pg_catalog.pg_roles AS r WHERE r.rolname = $1::text";
        let row = client.query_opt(sql, &[&name, &RDS_REPLICATION]).await;
        Ok(row.map_err(DatabaseError::of)?.map(|row| Self {
            name: name.to_owned(),
            is_superuser: row.get(0),
            may_replicate: row.get(1),
        }))
    }

    /// Whether the server is one of Amazon's.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn is_rds(client: &Client) -> Result<bool, DatabaseError> {
        Ok(Self::read(client, RDS_REPLICATION).await?.is_some())
    }

    /// What of these columns of a table it may not read.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn rights(
        &self,
        client: &Client,
        oid: u32,
        columns: &[String],
    ) -> Result<Rights, DatabaseError> {
        let sql = "SELECT pg_catalog.has_schema_privilege($1::text::name, c.relnamespace, 'USAGE'),
                       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
                           WHERE a.attrelid = c.oid AND a.attname::text = ANY ($3)
                               AND NOT pg_catalog.has_column_privilege(
                                   $1::text::name, c.oid, a.attnum, 'SELECT')
                           ORDER BY a.attnum)
                   FROM pg_catalog.pg_class AS c WHERE c.oid = $2";
        let row = client
            .query_one(sql, &[&self.name, &oid, &columns])
            .await
            .map_err(DatabaseError::of)?;
        Ok(Rights {
            schema: row.get(0),
            unreadable: row.get(1),
        })
    }

    /// Everybody, as the server calls them: what they may, a role may that is only to be made.
    pub(crate) fn public() -> Self {
        Self {
            name: "public".to_owned(),
            is_superuser: false,
            may_replicate: false,
        }
    }
}

/// What a role may read of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Whether it may look into the schema at all.
    pub(crate) schema: bool,
    /// The columns that it was asked for and may not.
    pub(crate) unreadable: Vec<String>,
}

impl Rights {
    /// Whether nothing is lacking.
    pub(crate) fn suffice(&self) -> bool {
        self.schema && self.unreadable.is_empty()
    }
}

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

    /// Whether it may read the table, and the schema that it is in.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn may_select(
        &self,
        client: &Client,
        oid: u32,
    ) -> Result<Rights, DatabaseError> {
        let sql = "SELECT pg_catalog.has_table_privilege($1::text::name, c.oid, 'SELECT'),
                       pg_catalog.has_schema_privilege($1::text::name, c.relnamespace, 'USAGE')
                   FROM pg_catalog.pg_class AS c WHERE c.oid = $2";
        let row = client
            .query_one(sql, &[&self.name, &oid])
            .await
            .map_err(DatabaseError::of)?;
        Ok(Rights {
            table: row.get(0),
            schema: row.get(1),
        })
    }

    /// What everybody may do with the table.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn of_public(client: &Client, oid: u32) -> Result<Rights, DatabaseError> {
        let everybody = Self {
            name: "public".to_owned(),
            is_superuser: false,
            may_replicate: false,
        };
        everybody.may_select(client, oid).await
    }
}

/// Whether a table can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) table: bool,
    pub(crate) schema: bool,
}

//! The table that says who belongs where: whether the node can read it, and whether the log says who
//! leaves.

use tokio_postgres::Client;

use super::{Finding, publication};
use crate::catalog::{Catalog, Identities, Publication, Role, Server, Table};
use crate::config::Membership;
use crate::database::{DatabaseError, identifier};

/// What is looked at.
pub(super) struct Look<'a> {
    pub(super) client: &'a Client,
    pub(super) membership: &'a Membership,
    pub(super) catalog: &'a Catalog,
    pub(super) publication: Option<&'a Publication>,
    pub(super) server: &'a Server,
}

impl Look<'_> {
    /// All of it.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(super) async fn findings(&self) -> Result<Vec<Finding>, DatabaseError> {
        let Some(table) = self.table() else {
            return Ok(vec![
                Finding::fail(self.about(), "there is no such table in this database").because(
                    "A node does not start. membership.table has the name as PostgreSQL holds it, \
                              in lower and upper case.",
                ),
            ]);
        };
        let mut findings = Vec::new();
        findings.extend(self.columns(table));
        findings.extend(self.rights(table).await?);
        findings.extend(self.published(table));
        findings.extend(self.identity(table));
        if findings.is_empty() {
            findings.push(Finding::ok(
                self.about(),
                "it can be read, and the log says who leaves",
            ));
        }
        Ok(findings)
    }

    fn about(&self) -> String {
        format!("membership {}", self.membership.table)
    }

    fn table(&self) -> Option<&Table> {
        match &self.membership.schema {
            Some(schema) => self
                .catalog
                .called(&format!("{schema}.{}", self.membership.table)),
            None => self.catalog.called(&self.membership.table),
        }
    }

    fn columns(&self, table: &Table) -> Option<Finding> {
        let membership = self.membership;
        let named = [
            Some(&membership.user),
            Some(&membership.organization),
            membership.role.as_ref(),
        ];
        let missing = named
            .into_iter()
            .flatten()
            .filter(|name| table.column(name).is_none());
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        let has: Vec<&str> = table
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        (!missing.is_empty()).then(|| {
            Finding::fail(
                self.about(),
                format!("it has no column {}", missing.join(", ")),
            )
            .because(format!(
                "A node does not start. [membership] names them; it has {}.",
                has.join(", ")
            ))
        })
    }

    async fn rights(&self, table: &Table) -> Result<Option<Finding>, DatabaseError> {
        let user = &self.server.user;
        let Some(role) = Role::read(self.client, user).await? else {
            return Ok(None);
        };
        let rights = role.may_select(self.client, table.oid).await?;
        if rights.table && rights.schema {
            return Ok(None);
        }
        let name = identifier(user);
        let mut finding = Finding::fail(self.about(), format!("{user} may not read it"))
            .because("Nobody who comes with a session gets a stream. As its owner:");
        if !rights.schema {
            let schema = identifier(&table.schema);
            finding = finding.mend(format!("GRANT USAGE ON SCHEMA {schema} TO {name};"));
        }
        if !rights.table {
            finding = finding.mend(format!("GRANT SELECT ON {} TO {name};", table.sql()));
        }
        Ok(Some(finding))
    }

    fn published(&self, table: &Table) -> Option<Finding> {
        let publication = self.publication?;
        publication.table(table.oid).is_none().then(|| {
            Finding::warn(self.about(), "it is not in the publication")
                .because("The log does not say who leaves an organisation, so their streams live on until \
                          their sessions end. As its owner:")
                .mends(Identities::with(table, &self.needed(table)).statements())
                .mend(publication::add(publication, &table.sql()))
        })
    }

    /// An old row names its member by whatever its identity is; where that is nothing, `tables` has
    /// said so.
    fn identity(&self, table: &Table) -> Option<Finding> {
        self.publication?.table(table.oid)?;
        let needed = self.needed(table);
        let is_told = table.identity_has(&needed) || !table.is_writable_when_published();
        (!is_told).then(|| {
            Finding::note(
                self.about(),
                "a deleted row names its key alone, not who left what",
            )
            .because("A node knows the key of every row it has read. To have it in the log:")
            .mends(Identities::with(table, &needed).statements())
        })
    }

    fn needed(&self, table: &Table) -> Vec<&str> {
        let named = [
            self.membership.organization.as_str(),
            self.membership.user.as_str(),
        ];
        named
            .into_iter()
            .filter(|name| table.column(name).is_some())
            .collect()
    }
}

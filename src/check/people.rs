//! The tables that say who somebody is and where they belong: whether they are there, whether a node can
//! read what it asks for, and whether the log says who goes.

use replication::{Route, Rules};
use tokio_postgres::Client;

use super::{Finding, publication};
use crate::catalog::{Catalog, Identities, Kind, Part, Publication, Role, Server, Table, parts};
use crate::database::{DatabaseError, identifier};
use crate::init;

/// What is looked at.
pub(super) struct Look<'a> {
    pub(super) client: &'a Client,
    pub(super) part: &'a Part,
    /// All of them, this one too.
    pub(super) parts: &'a [Part],
    pub(super) rules: &'a Rules,
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
        let Some(table) = self.part.find(self.catalog) else {
            let key = self.part.key();
            return Ok(vec![
                Finding::fail(self.about(), "there is no such table in this database").because(
                    format!(
                        "A node does not start. {key} has the name as PostgreSQL holds it, in lower and \
                         upper case."
                    ),
                ),
            ]);
        };
        let mut findings = Vec::new();
        findings.extend(self.columns(table));
        findings.extend(self.rights(table).await?);
        findings.extend(self.published(table));
        findings.extend(self.sent(table));
        findings.extend(self.some_only(table));
        findings.extend(self.identity(table));
        if findings.is_empty() {
            let says = match self.part.read.is_empty() {
                true => "the log says who goes",
                false => "it can be read, and the log says who goes",
            };
            findings.push(Finding::ok(self.about(), says));
        }
        Ok(findings)
    }

    fn about(&self) -> String {
        format!("{} {}", self.part.kind.name(), self.part.table.text())
    }

    fn columns(&self, table: &Table) -> Option<Finding> {
        let missing = self.part.missing(table);
        let missing: Vec<&str> = missing.iter().map(|named| named.column.as_str()).collect();
        let has = table.columns.iter().map(|column| column.name.as_str());
        let has: Vec<&str> = has.collect();
        let kind = self.part.kind.name();
        (!missing.is_empty()).then(|| {
            Finding::fail(
                self.about(),
                format!("it has no column {}", missing.join(", ")),
            )
            .because(format!(
                "A node does not start. [{kind}] names them; it has {}.",
                has.join(", ")
            ))
        })
    }

    async fn rights(&self, table: &Table) -> Result<Option<Finding>, DatabaseError> {
        let user = &self.server.user;
        let Some(role) = Role::read(self.client, user).await? else {
            return Ok(None);
        };
        if self.part.read.is_empty() {
            return Ok(None);
        }
        let read = self.part.columns_read(table);
        let rights = role.rights(self.client, table.oid, &read).await?;
        if rights.suffice() {
            return Ok(None);
        }
        let says = match rights.unreadable.len() == read.len() || !rights.schema {
            true => format!("{user} may not read it"),
            false => format!("{user} may not read {}", rights.unreadable.join(", ")),
        };
        Ok(Some(
            Finding::fail(self.about(), says)
                .because("A node does not start. As its owner:")
                .mends(self.part.grants(table, &rights, user)),
        ))
    }

    /// A node that does not hear who leaves lets nobody in; of the others only a guarantee is lost.
    fn published(&self, table: &Table) -> Option<Finding> {
        let publication = self.publication?;
        if publication.table(table.oid).is_some() {
            return None;
        }
        let (says, loss) = ("it is not in the publication", self.part.kind.loss());
        let finding = match self.part.kind {
            Kind::Membership => Finding::fail(self.about(), says)
                .because(format!("A node does not start: {loss}. As its owner:")),
            Kind::Session | Kind::User | Kind::Organization => Finding::warn(self.about(), says)
                .because(format!(
                    "The log does not say who goes, so {loss}. As its owner:"
                )),
        };
        Some(
            finding
                .mends(Identities::with(table, &self.told(table)).statements())
                .mend(publication::add(publication, &self.entry(table))),
        )
    }

    /// A publication may have a list of columns.
    fn sent(&self, table: &Table) -> Option<Finding> {
        let publication = self.publication?;
        let unsent = self.part.unsent(table, publication);
        (!unsent.is_empty()).then(|| {
            let says = format!("the publication leaves out {}", unsent.join(", "));
            let finding = match self.part.kind {
                Kind::Membership => Finding::fail(self.about(), says),
                Kind::Session | Kind::User | Kind::Organization => {
                    Finding::warn(self.about(), says)
                }
            };
            let more: Vec<&str> = unsent.iter().map(String::as_str).collect();
            finding
                .because(format!(
                    "Without it {}. As its owner:",
                    self.part.kind.loss()
                ))
                .mends(publication::with_columns(publication, table, &more))
        })
    }

    /// What a publication does not send, a node cannot know: a condition on rows, a kind of change.
    fn some_only(&self, table: &Table) -> Option<Finding> {
        let publication = self.publication?;
        let published = publication.table(table.oid)?;
        let sql = table.sql();
        let (says, mends) = if published.filter.is_some() {
            let mends = vec![
                "BEGIN;".to_owned(),
                publication::take_out(publication, &sql),
                publication::add(publication, &self.entry(table)),
                "COMMIT;".to_owned(),
            ];
            ("only some of its rows are published", mends)
        } else if !(publication.inserts
            && publication.updates
            && publication.deletes
            && publication.truncates)
        {
            let name = identifier(&publication.name);
            let mends = vec![init::set_everything(&name)];
            ("not every kind of change to it is published", mends)
        } else {
            return None;
        };
        let finding = match self.part.kind {
            Kind::Membership => Finding::fail(self.about(), says).because(format!(
                "Nobody is let in, because {}.",
                self.part.kind.loss()
            )),
            Kind::Session | Kind::User | Kind::Organization => {
                Finding::warn(self.about(), says).because(format!("So {}.", self.part.kind.loss()))
            }
        };
        Some(finding.because("As its owner:").mends(mends))
    }

    /// An old row says whom it concerned by whatever its identity is; where that is nothing, `tables`
    /// has said so.
    fn identity(&self, table: &Table) -> Option<Finding> {
        self.publication?.table(table.oid)?;
        let told = self.told(table);
        if table.identity_has(&told) || !table.is_writable_when_published() {
            return None;
        }
        let mends = Identities::with(table, &told).statements();
        Some(match self.part.kind {
            Kind::Membership => Finding::note(
                self.about(),
                "a deleted row names its key alone, not who left what",
            )
            .because("A node knows the key of every row it has read. To have it in the log:")
            .mends(mends),
            Kind::Session | Kind::User | Kind::Organization => Finding::warn(
                self.about(),
                format!("a deleted row does not say its {}", told.join(", ")),
            )
            .because(
                "Nobody can tell whom it concerned, so that every stream closes. As its owner:",
            )
            .mends(mends),
        })
    }

    /// The table as it goes into the publication.
    fn entry(&self, table: &Table) -> String {
        let is_routed = |route: &Route| route.concerns(&table.schema, &table.name);
        match self.rules.routes.iter().any(is_routed) {
            // Its route says what leaves.
            true => table.sql(),
            false => parts::entry(self.parts, table, self.server.version),
        }
    }

    fn told(&self, table: &Table) -> Vec<&str> {
        let told = self.part.told.iter().map(String::as_str);
        told.filter(|name| table.column(name).is_some()).collect()
    }
}

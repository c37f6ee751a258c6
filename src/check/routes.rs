//! The routes of the configuration: whether what they name is there.

use replication::{Organisation, Route, Rules};

use super::{Finding, publication};
use crate::catalog::{Catalog, Identities, Publication, Table};

/// A finding for each route that does nothing, or less than it says.
pub(super) fn findings(
    rules: &Rules,
    publication: &Publication,
    catalog: &Catalog,
) -> Vec<Finding> {
    let look = |route: &Route| one(route, rules, publication, catalog);
    rules.routes.iter().flat_map(look).collect()
}

fn one(route: &Route, rules: &Rules, publication: &Publication, catalog: &Catalog) -> Vec<Finding> {
    let about = format!("route {}", route.table);
    let is_meant = |table: &&Table| route.concerns(&table.schema, &table.name);
    let Some(table) = catalog.tables.iter().find(is_meant) else {
        return vec![
            Finding::warn(about, "there is no such table in this database").because(
                "The route does nothing. Names are compared exactly, in lower and upper case.",
            ),
        ];
    };
    let mut findings = Vec::new();
    if publication.table(table.oid).is_none() {
        let identities = Identities::with(table, &whose(route, rules, table));
        findings.push(
            Finding::warn(about.clone(), "its table is not in the publication")
                .because("The route does nothing. If its changes may leave, as the owner:")
                .mends(identities.statements())
                .mend(publication::add(publication, &table.sql())),
        );
    }
    let missing = missing(route, table);
    if !missing.is_empty() {
        findings.push(
            Finding::warn(
                about.clone(),
                format!("its table has no column {}", missing.join(", ")),
            )
            .because(
                "A route whose organisation or user is missing sends nothing; other columns are \
                          merely absent. Write the names as the table has them.",
            ),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(about, "its table and columns are there"));
    }
    findings
}

/// The columns that say whose a deleted row was.
fn whose<'a>(route: &'a Route, rules: &'a Rules, table: &Table) -> Vec<&'a str> {
    let organisation = match &route.organisation {
        Some(Organisation::Column(name)) => Some(name.as_str()),
        Some(Organisation::Constant(_)) => None,
        None => table.first_of(&rules.organisation_columns),
    };
    let named = organisation.into_iter().chain(route.user.as_deref());
    named.filter(|name| table.column(name).is_some()).collect()
}

/// The columns that a route names and its table does not have.
fn missing<'a>(route: &'a Route, table: &Table) -> Vec<&'a str> {
    let columns = route
        .columns
        .iter()
        .flatten()
        .map(|column| column.name.as_str());
    let organisation = match &route.organisation {
        Some(Organisation::Column(name)) => Some(name.as_str()),
        _ => None,
    };
    let named = columns.chain(organisation).chain(route.user.as_deref());
    named.filter(|name| table.column(name).is_none()).collect()
}

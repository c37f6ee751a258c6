//! The published tables, one by one: whose their rows are, whether a delete says so, whether the
//! application can still write, and what of a row leaves.

use replication::{Organisation, Route, Rules};

use super::{Finding, publication};
use crate::catalog::{Catalog, Identities, Publication, Published, Table};
use crate::init;

/// A finding or more for each table.
pub(super) fn findings(
    rules: &Rules,
    publication: &Publication,
    catalog: &Catalog,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for published in &publication.tables {
        let table = catalog.table(published.oid);
        // Of our own table nothing leaves.
        let Some(table) = table.filter(|table| !init::is_revocation(table)) else {
            continue;
        };
        let look = Look {
            rules,
            publication,
            published,
            table,
            route: rules
                .routes
                .iter()
                .find(|route| route.concerns(&table.schema, &table.name)),
        };
        findings.extend(look.findings());
    }
    findings
}

/// One table, and what is said of it.
struct Look<'a> {
    rules: &'a Rules,
    publication: &'a Publication,
    published: &'a Published,
    table: &'a Table,
    route: Option<&'a Route>,
}

/// Whose a table's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home<'a> {
    /// This column says the organisation.
    Organisation(&'a str),
    /// A route says it, the same for all rows.
    Constant,
    /// Nobody's: identity is read from it.
    Identity,
    /// Nothing says it, but a route names its user.
    User,
    /// Nothing says it.
    Nowhere,
}

impl Look<'_> {
    fn findings(&self) -> Vec<Finding> {
        let home = self.home();
        let mut findings = Vec::new();
        findings.extend(self.broken_writes(home));
        findings.extend(self.without_home(home));
        findings.extend(self.unscoped_deletes(home));
        findings.extend(self.unsent_home(home));
        if findings.is_empty() {
            findings.push(self.well(home));
        }
        findings.extend(self.generated());
        findings
    }

    fn about(&self) -> String {
        format!("table {}", self.table.label())
    }

    fn home(&self) -> Home<'_> {
        let table = self.table;
        if self.route.is_none() && self.rules.is_identity(&table.name) {
            return Home::Identity;
        }
        let own = self.route.and_then(|route| route.organisation.as_ref());
        let user = self.route.and_then(|route| route.user.as_deref());
        match own {
            Some(Organisation::Constant(_)) => return Home::Constant,
            Some(Organisation::Column(name)) if table.column(name).is_some() => {
                return Home::Organisation(name);
            }
            Some(Organisation::Column(_)) => return Home::Nowhere,
            None => {}
        }
        match (table.first_of(&self.rules.organisation_columns), user) {
            (Some(name), _) => Home::Organisation(name),
            (None, Some(name)) if table.column(name).is_some() => Home::User,
            (None, _) => Home::Nowhere,
        }
    }

    /// The columns that an old row has to be logged with.
    fn needed(&self, home: Home<'_>) -> Vec<&str> {
        let mut needed = Vec::new();
        if let Home::Organisation(name) = home {
            // The same name, for as long as the table is.
            needed.extend(self.table.column(name).map(|column| column.name.as_str()));
        }
        let user = self.route.and_then(|route| route.user.as_deref());
        for name in user.into_iter().filter_map(|name| self.table.column(name)) {
            if !needed.contains(&name.name.as_str()) {
                needed.push(&name.name);
            }
        }
        needed
    }

    /// PostgreSQL refuses updates and deletes of published rows that nothing identifies.
    fn broken_writes(&self, home: Home<'_>) -> Option<Finding> {
        if !self.publication.needs_identities() {
            return None;
        }
        if !self.table.is_writable_when_published() {
            let finding = Finding::fail(self.about(), "it has no usable replica identity").because(
                "While it is in the publication, the application's own updates and deletes FAIL.",
            );
            return Some(match home {
                Home::Nowhere => finding
                    .because("Nothing says whose its rows are, so take it out:")
                    .mend(self.take_out()),
                _ => self.with_identity(finding, home),
            });
        }
        let named = |numbers: &[i16]| -> Vec<&str> {
            let columns = self.table.columns.iter();
            let is_one = |number: i16| numbers.contains(&number);
            columns
                .filter(|column| is_one(column.number))
                .map(|column| column.name.as_str())
                .collect()
        };
        let filtered = named(&self.published.filter_columns);
        if !self.table.identity_has(&filtered) {
            let finding = Finding::fail(
                self.about(),
                "its row filter asks for columns that are not in the replica identity",
            )
            .because(
                "While it is in the publication, the application's own updates and deletes FAIL.",
            );
            let mut needed = self.needed(home);
            needed.extend(
                filtered
                    .iter()
                    .filter(|name| !self.needed(home).contains(name)),
            );
            return Some(with_mend(finding, Identities::with(self.table, &needed)));
        }
        let listed = named(self.published.columns.as_deref()?);
        let identity = self.table.identity_columns().unwrap_or_default();
        let lacks = identity.iter().any(|name| !listed.contains(name));
        lacks.then(|| {
            Finding::fail(
                self.about(),
                "its column list leaves out columns of the replica identity",
            )
            .because(
                "While it is in the publication, the application's own updates and deletes FAIL.",
            )
            .mends(publication::with_columns(
                self.publication,
                self.table,
                &identity,
            ))
        })
    }

    fn without_home(&self, home: Home<'_>) -> Option<Finding> {
        (home == Home::Nowhere && self.is_writable()).then(|| {
            let columns = self.rules.organisation_columns.join(", ");
            Finding::warn(self.about(), "nothing says whose its rows are")
                .because(format!(
                    "Its changes reach nobody: it has none of the columns {columns}, and no [[route]] that \
                     says otherwise. Give it the column, or a route; or take it out:"
                ))
                .mend(self.take_out())
        })
    }

    fn unscoped_deletes(&self, home: Home<'_>) -> Option<Finding> {
        let needed = self.needed(home);
        if !self.publication.deletes
            || !self.is_writable()
            || matches!(home, Home::Identity | Home::Nowhere)
            || self.table.identity_has(&needed)
        {
            return None;
        }
        let names = needed.join(" and ");
        let finding = Finding::warn(
            self.about(),
            format!("a deleted row does not say its {names}"),
        )
        .because("Deletes of it reach nobody: they are counted and logged, and never broadcast.")
        .because("Nor does a row that moves leave its old organisation's pages.");
        Some(self.with_identity(finding, home))
    }

    /// A column list without the organisation.
    fn unsent_home(&self, home: Home<'_>) -> Option<Finding> {
        let listed = self.published.columns.as_deref()?;
        let Home::Organisation(name) = home else {
            return None;
        };
        let column = self.table.column(name)?;
        (!listed.contains(&column.number)).then(|| {
            Finding::warn(self.about(), format!("its column list leaves out {name}"))
                .because("Nothing says whose its rows are, so they reach nobody.")
                .mends(publication::with_columns(
                    self.publication,
                    self.table,
                    &[name],
                ))
        })
    }

    fn well(&self, home: Home<'_>) -> Finding {
        let says = match home {
            Home::Organisation(name) => format!("to the organisation in {name}"),
            Home::Constant => "to one organisation, as its route says".to_owned(),
            Home::User => "to the user that its route names".to_owned(),
            Home::Identity => "identity is read from it, and no row leaves".to_owned(),
            Home::Nowhere => unreachable!("that is a warning"),
        };
        let named = |name: &str| {
            let columns = self.route.and_then(|route| route.columns.as_ref());
            columns.is_some_and(|columns| columns.iter().any(|column| column.name == name))
        };
        let names = self.table.columns.iter().map(|column| column.name.as_str());
        let withheld: Vec<&str> = names
            .filter(|name| home != Home::Identity && self.rules.is_withheld(name) && !named(name))
            .collect();
        let finding = Finding::ok(self.about(), says);
        match withheld.is_empty() {
            true => finding,
            false => finding.because(format!("Withheld: {}.", withheld.join(", "))),
        }
    }

    /// Generated columns are not in the log before PostgreSQL 18, and later only if asked for.
    fn generated(&self) -> Option<Finding> {
        let generated = self
            .table
            .columns
            .iter()
            .filter(|column| column.is_generated);
        let names: Vec<&str> = generated.map(|column| column.name.as_str()).collect();
        (!names.is_empty()).then(|| {
            let says = format!("generated columns: {}", names.join(", "));
            Finding::note(self.about(), says).because(
                "PostgreSQL sends them only from 18 on, where the publication says so; else they are not in \
                 events.",
            )
        })
    }

    fn is_writable(&self) -> bool {
        self.table.is_writable_when_published() || !self.publication.needs_identities()
    }

    fn take_out(&self) -> String {
        publication::take_out(self.publication, &self.table.sql())
    }

    fn with_identity(&self, finding: Finding, home: Home<'_>) -> Finding {
        with_mend(finding, Identities::with(self.table, &self.needed(home)))
    }
}

fn with_mend(finding: Finding, identities: Identities) -> Finding {
    let finding = match identities.is_full {
        true => finding.because(
            "It has no key, or columns of it may be null: no index can stand for the row, so the whole old \
             row has to be logged with every change:",
        ),
        false => finding,
    };
    finding.mends(identities.statements())
}

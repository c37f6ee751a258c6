//! What may leave, and to whom: the rules as an operator writes them.
//!
//! They are applied to a table when the server describes it: that is `routing`. How the type of an
//! event is made is in `event_types`.

use std::fmt;

use wire::{Name, NameError};

use crate::{EventTypes, Identity, Style};

/// What may leave, and to whom.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The names of columns that say which organisation a row belongs to; the first that a table has
    /// counts. Compared exactly.
    pub organisation_columns: Vec<String>,
    /// The tables that are not routed by default (`[[route]]`), at most one entry for each.
    pub routes: Vec<Route>,
    /// Tables, beside the well-known ones, that identity is read from: their rows leave only by a
    /// route that names the columns one by one.
    pub identity_tables: Vec<String>,
    /// Where the rights of users come from: of none of these tables do rows leave but by a route that
    /// names the columns.
    pub identity: Identity,
    /// A column whose name contains one of these words is withheld, unless a route's `columns` names
    /// it. Compared without regard to case and underscores.
    pub withheld: Vec<String>,
    /// The largest event, in bytes: a larger row leaves as its key and `"truncated": true`. At most
    /// [`crate::limits::ROW_BYTES_MAX`].
    pub event_bytes_max: usize,
    /// How the values are written that a browser is easily wrong about.
    pub style: Style,
    /// More changes than this of one type, for one organisation and channel in one transaction, become
    /// batch events; 0 is never.
    pub batch_over: u32,
}

impl Default for Rules {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        Self {
            organisation_columns: words(&[
                "organizationId",
                "organization_id",
                "tenantId",
                "tenant_id",
            ]),
            routes: Vec::new(),
            identity_tables: Vec::new(),
            identity: Identity::default(),
            withheld: words(&[
                "password",
                "passwd",
                "hash",
                "salt",
                "secret",
                "token",
                "apikey",
                "api_key",
                "private_key",
                "otp",
                "ssn",
            ]),
            event_bytes_max: 1024 * 1024,
            style: Style::default(),
            batch_over: 0,
        }
    }
}

/// How the rows of one table leave.
#[derive(Clone, Debug)]
pub struct Route {
    /// The table, with or without its schema: `Property` or `public.Property`.
    pub table: String,
    /// The types of its events.
    pub types: EventTypes,
    /// The channel of its events; the table's name in lower case where it is `None`.
    pub channel: Option<Name>,
    /// The only columns that leave; `None` is all that are not withheld.
    pub columns: Option<Vec<Column>>,
    /// Where the organisation comes from; `None` is one of [`Rules::organisation_columns`].
    pub organisation: Option<Organisation>,
    /// The column that names the one user who receives the row.
    pub user: Option<String>,
    /// The roles that may see it; `None` is all.
    pub roles: Option<Vec<Name>>,
}

impl Route {
    /// A route that says nothing but the defaults.
    pub fn new(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            types: EventTypes::default(),
            channel: None,
            columns: None,
            organisation: None,
            user: None,
            roles: None,
        }
    }

    /// Whether the route is about this table.
    pub fn concerns(&self, schema: &str, table: &str) -> bool {
        is_named(&self.table, schema, table)
    }
}

/// A column that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the table.
    pub name: String,
    /// Its name in the event, where that is another.
    pub renamed: Option<String>,
}

/// Where the organisation of a row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Organisation {
    /// This column.
    Column(String),
    /// Always this one: the table of a single tenant.
    Constant(String),
}

impl Rules {
    /// Looks for what cannot be meant.
    ///
    /// # Errors
    ///
    /// The first rule that contradicts another.
    pub fn check(&self) -> Result<(), RuleError> {
        for (at, route) in self.routes.iter().enumerate() {
            if self.routes[..at]
                .iter()
                .any(|other| other.table == route.table)
            {
                return Err(RuleError::TwoRoutes(route.table.clone()));
            }
            let table = route.table.rsplit('.').next().unwrap_or(&route.table);
            if route.columns.is_none() && self.is_identity(table) {
                return Err(RuleError::IdentityWithoutColumns(route.table.clone()));
            }
            if route.columns.as_ref().is_some_and(Vec::is_empty) {
                return Err(RuleError::NoColumns(route.table.clone()));
            }
        }
        Ok(())
    }

    /// Whether the table is one that identity is read from.
    pub fn is_identity(&self, table: &str) -> bool {
        let name = singular(table);
        IDENTITY_TABLES.contains(&name.as_str())
            || name.ends_with("member")
            || name.ends_with("membership")
            || self
                .identity_tables
                .iter()
                .map(String::as_str)
                .chain(self.identity.tables())
                .any(|configured| {
                    singular(configured.rsplit('.').next().unwrap_or(configured)) == name
                })
    }

    /// Whether a column of this name is withheld where no route names it.
    pub fn is_withheld(&self, column: &str) -> bool {
        let name = folded(column);
        self.withheld
            .iter()
            .any(|word| name.contains(&folded(word)))
    }
}

/// A rule that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// Two routes for one table: a change has one position, so it is one event.
    TwoRoutes(String),
    /// A route for a table of identity that does not name the columns.
    IdentityWithoutColumns(String),
    /// A route whose list of columns is empty.
    NoColumns(String),
    /// A template with an unclosed brace or an unknown placeholder.
    Template,
    /// The type would be no name.
    Name(NameError),
    /// The type is a word of the stream itself.
    Reserved(String),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoRoutes(table) => {
                write!(f, "two routes for the table {table:?}; keep one")
            }
            Self::IdentityWithoutColumns(table) => write!(
                f,
                "the table {table:?} holds identities, so its route must name the columns that may \
                 leave: columns = [\"id\", \"name\"]"
            ),
            Self::NoColumns(table) => {
                write!(
                    f,
                    "the route for {table:?} names no column; leave `columns` out for all"
                )
            }
            Self::Template => f.write_str(
                "a type may hold {channel}, {table}, {action} and three or four words for the \
                 actions, such as {created|updated|deleted|emptied}",
            ),
            Self::Name(error) => write!(f, "an event type cannot be made from this: {error}"),
            Self::Reserved(word) => {
                write!(
                    f,
                    "{word:?} is an event of the stream itself; choose another type"
                )
            }
        }
    }
}

impl std::error::Error for RuleError {}

/// The tables of Auth.js, Better Auth and their like, folded and in the singular; all that end in
/// `member` or `membership` count too.
const IDENTITY_TABLES: [&str; 22] = [
    "account",
    "apikey",
    "authenticator",
    "credential",
    "identity",
    "invitation",
    "invite",
    "jwk",
    "organisation",
    "organisationinvitation",
    "organization",
    "organizationinvitation",
    "passkey",
    "session",
    "tenant",
    "twofactor",
    "user",
    "useraccount",
    "usersession",
    "verification",
    "verificationrequest",
    "verificationtoken",
];

/// Whether a name, with or without a schema, is that of a table.
pub(crate) fn is_named(name: &str, schema: &str, table: &str) -> bool {
    let within = name
        .strip_prefix(schema)
        .and_then(|rest| rest.strip_prefix('.'));
    within.unwrap_or(name) == table
}

fn folded(name: &str) -> String {
    name.chars()
        .filter(|c| *c != '_')
        .flat_map(char::to_lowercase)
        .collect()
}

fn singular(table: &str) -> String {
    let mut name = folded(table);
    if let Some(stem) = name.strip_suffix("ies") {
        name = format!("{stem}y");
    } else if name.ends_with('s') {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_identity_are_known_in_any_spelling() {
        let mut rules = Rules::default();
        rules.identity_tables.push("auth.Crew".to_owned());
        let identity = [
            "Session",
            "sessions",
            "ACCOUNT",
            "verification_tokens",
            "VerificationToken",
            "users",
            "OrganizationMember",
            "organization_members",
            "Membership",
            "memberships",
            "Member",
            "Organization",
            "organisations",
            "Invitation",
            "api_keys",
            "jwks",
            "identities",
            "crews",
        ];
        for table in identity {
            assert!(rules.is_identity(table), "{table}");
        }
        for table in [
            "Property",
            "Client",
            "remember_list",
            "UserActivity",
            "Notification",
        ] {
            assert!(!rules.is_identity(table), "{table}");
        }
    }

    #[test]
    fn columns_that_sound_secret_are_withheld() {
        let rules = Rules::default();
        let withheld = [
            "password",
            "passwordHash",
            "PASSWD",
            "hashed",
            "salt",
            "clientSecret",
            "access_token",
            "apiKey",
            "api_key",
            "APIKEY",
            "privateKey",
            "totpCode",
            "ssn",
        ];
        for column in withheld {
            assert!(rules.is_withheld(column), "{column}");
        }
        for column in ["id", "name", "price", "keyboard", "organizationId"] {
            assert!(!rules.is_withheld(column), "{column}");
        }
    }

    #[test]
    fn rules_that_contradict_each_other_are_refused() {
        let check = |routes: Vec<Route>| {
            Rules {
                routes,
                ..Rules::default()
            }
            .check()
        };
        assert_eq!(
            check(vec![Route::new("Property"), Route::new("Client")]),
            Ok(())
        );
        let twice = vec![Route::new("Property"), Route::new("Property")];
        assert_eq!(
            check(twice),
            Err(RuleError::TwoRoutes("Property".to_owned()))
        );
        let bare = vec![Route::new("public.User")];
        assert_eq!(
            check(bare),
            Err(RuleError::IdentityWithoutColumns("public.User".to_owned()))
        );
        let none = vec![Route {
            columns: Some(vec![]),
            ..Route::new("Property")
        }];
        assert_eq!(
            check(none),
            Err(RuleError::NoColumns("Property".to_owned()))
        );
    }

    #[test]
    fn a_route_may_name_the_schema() {
        assert!(Route::new("Property").concerns("public", "Property"));
        assert!(Route::new("public.Property").concerns("public", "Property"));
        assert!(!Route::new("public.Property").concerns("other", "Property"));
        assert!(!Route::new("property").concerns("public", "Property"));
    }
}

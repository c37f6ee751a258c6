//! `tailrace init`: the statements and the configuration for a given database, printed. Nothing is
//! changed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use replication::ConnectInfo;
use tokio_postgres::Client;

use crate::config::Environment;
use crate::database::{self, DatabaseError, identifier};

/// The command line of `tailrace init`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The database; without it, TAILRACE_DATABASE_URL, DIRECT_URL or DATABASE_URL, also from `.env`.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The name of the publication.
    #[arg(long, default_value = "tailrace")]
    publication: String,
}

/// A table whose rows belong to organisations.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    schema: String,
    name: String,
    /// The column of the organisation, and whether it is never null.
    organisation: String,
    is_organisation_not_null: bool,
    /// The columns of the primary key; none where it has none.
    key: Vec<String>,
    identity: Identity,
    /// The column of a user, where it has one.
    user: Option<String>,
}

/// What of an old row is written to the log (PostgreSQL, "ALTER TABLE", REPLICA IDENTITY).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// The primary key.
    Default,
    /// These columns of an index.
    Index(Vec<String>),
    /// The whole row.
    Full,
    /// Nothing.
    Nothing,
}

/// Prints the statements and a configuration.
///
/// # Errors
///
/// Where the database cannot be found or asked.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let environment = Environment::of_process().with_env_file(Path::new(".env"));
    let url = arguments
        .database_url
        .clone()
        .or_else(|| environment.database_url());
    let url = url.ok_or("say which database: --database-url postgresql://…, or DATABASE_URL")?;
    let info: ConnectInfo = url
        .parse()
        .map_err(|error| format!("--database-url: {error}"))?;
    let columns = replication::Rules::default().organisation_columns;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let tables = runtime.map_err(|error| error.to_string())?.block_on(async {
        let client = database::connect(&info).await?;
        tables(&client, &columns).await
    });
    let tables = tables.map_err(|error| error.to_string())?;
    let publication = &arguments.publication;
    let text = format!(
        "-- Statements for PostgreSQL, to be read and then run by the owner of the tables:\n\n{}\n\
         # A configuration, tailrace.toml:\n\n{}",
        statements(&tables, publication),
        configuration(&tables, publication),
    );
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| error.to_string())
}

/// The tables that have a column of one of these names.
///
/// # Errors
///
/// Where the database cannot be asked.
pub(crate) async fn tables(
    client: &Client,
    organisation_columns: &[String],
) -> Result<Vec<Table>, DatabaseError> {
    let rows = client
        .query(TABLES, &[&organisation_columns])
        .await
        .map_err(DatabaseError::of)?;
    let table = |row: &tokio_postgres::Row| Table {
        schema: row.get(0),
        name: row.get(1),
        organisation: row.get(2),
        is_organisation_not_null: row.get(3),
        key: row.get(4),
        identity: match row.get(5) {
            "d" => Identity::Default,
            "i" => Identity::Index(row.get(6)),
            "f" => Identity::Full,
            _ => Identity::Nothing,
        },
        user: row.get(7),
    };
    Ok(rows.iter().map(table).collect())
}

/// Every permanent table with an organisation's column, partitioned ones as a whole.
const TABLES: &str = "
WITH candidates AS (
    SELECT c.oid, n.nspname, c.relname, c.relreplident,
        (SELECT a.attnum FROM pg_attribute AS a
            JOIN unnest($1::text[]) WITH ORDINALITY AS wanted(name, place) ON a.attname = wanted.name
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY wanted.place LIMIT 1) AS organisation
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
), index_columns AS (
    SELECT i.indrelid, i.indisprimary, i.indisreplident, array_agg(a.attname::text) AS names
    FROM pg_index AS i CROSS JOIN LATERAL unnest(i.indkey) AS place(attnum)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = place.attnum
    WHERE i.indisprimary OR i.indisreplident
    GROUP BY i.indexrelid, i.indrelid, i.indisprimary, i.indisreplident
)
SELECT c.nspname::text, c.relname::text, o.attname::text, o.attnotnull,
    coalesce((SELECT names FROM index_columns WHERE indrelid = c.oid AND indisprimary), '{}'),
    c.relreplident::text,
    coalesce((SELECT names FROM index_columns WHERE indrelid = c.oid AND indisreplident), '{}'),
    (SELECT u.attname::text FROM pg_attribute AS u WHERE u.attrelid = c.oid
        AND u.attname IN ('userId', 'user_id') AND NOT u.attisdropped LIMIT 1)
FROM candidates AS c
JOIN pg_attribute AS o ON o.attrelid = c.oid AND o.attnum = c.organisation
ORDER BY 1, 2";

/// The statements: replica identities first, so that no write of the application ever fails, then
/// the publication.
pub(crate) fn statements(tables: &[Table], publication: &str) -> String {
    let mut text = String::new();
    for table in tables {
        text.push_str(&table.mend());
    }
    let listed: Vec<String> = tables
        .iter()
        .filter(|table| table.is_publishable())
        .map(Table::sql)
        .collect();
    let publication = identifier(publication);
    match listed.as_slice() {
        [] => {
            text.push_str(
                "-- No table has a key and a column such as \"organizationId\": name yours.\n",
            );
            let _ = writeln!(text, "-- CREATE PUBLICATION {publication} FOR TABLE …;");
        }
        listed => {
            text.push_str("-- Leave out what no browser needs.\n");
            let list = listed.join(",\n    ");
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "CREATE PUBLICATION {publication} FOR TABLE\n    {list};"
            );
        }
    }
    text
}

fn configuration(tables: &[Table], publication: &str) -> String {
    let is_member_table = |table: &&Table| {
        let name = table.name.to_lowercase();
        table.user.is_some() && (name.contains("member") || name.ends_with("memberships"))
    };
    let (table, user, organisation) = match tables.iter().find(is_member_table) {
        Some(table) => (
            table.name.as_str(),
            table.user.as_deref().unwrap_or("userId"),
            table.organisation.as_str(),
        ),
        None => ("OrganizationMember", "userId", "organizationId"),
    };
    format!(
        "[database]\n# url = \"postgresql://…\"   # or TAILRACE_DATABASE_URL, DIRECT_URL, \
         DATABASE_URL\npublication = {publication:?}\n\n[auth]\n# The secret your application signs \
         its sessions with; better in TAILRACE_AUTH_SECRET.\n# secret = \"…\"\ncookie = \
         \"session\"\n\n[membership]\ntable = {table:?}\nuser = {user:?}\norganization = \
         {organisation:?}\nrole = \"role\"\n"
    )
}

impl Table {
    fn sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    /// Whether an update or delete still works once the table is published.
    fn is_publishable(&self) -> bool {
        match &self.identity {
            Identity::Default => !self.key.is_empty(),
            Identity::Index(columns) => !columns.is_empty(),
            Identity::Full => true,
            Identity::Nothing => false,
        }
    }

    /// Whether a deleted row says which organisation it belonged to.
    fn names_organisation(&self) -> bool {
        match &self.identity {
            Identity::Default => self.key.contains(&self.organisation),
            Identity::Index(columns) => columns.contains(&self.organisation),
            Identity::Full => true,
            Identity::Nothing => false,
        }
    }

    /// The statements after which deletes reach their organisation; none where they do already.
    fn mend(&self) -> String {
        let table = self.sql();
        if !self.is_publishable() && self.key.is_empty() {
            return format!(
                "-- {table} is left out: it has no primary key, so publishing it would make the\n\
                 -- application's updates and deletes fail.\n\n"
            );
        }
        if self.names_organisation() {
            return String::new();
        }
        if !self.is_organisation_not_null {
            return format!(
                "-- {table}: a delete must say whose row it was, and {} may be null, so no index\n\
                 -- can stand for the row: the whole old row is logged.\n\
                 ALTER TABLE {table} REPLICA IDENTITY FULL;\n\n",
                identifier(&self.organisation)
            );
        }
        let index = identifier(&format!("{}_tailrace_identity", self.name));
        let columns: Vec<String> = [&self.organisation]
            .into_iter()
            .chain(&self.key)
            .map(|name| identifier(name))
            .collect();
        format!(
            "-- {table}: a delete must say whose row it was.\n\
             CREATE UNIQUE INDEX CONCURRENTLY {index} ON {table} ({});\n\
             ALTER TABLE {table} REPLICA IDENTITY USING INDEX {index};\n\n",
            columns.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        Table {
            schema: "public".into(),
            name: name.into(),
            organisation: "organizationId".into(),
            is_organisation_not_null: true,
            key: vec!["id".into()],
            identity: Identity::Default,
            user: None,
        }
    }

    #[test]
    fn identities_come_before_the_publication() {
        let mended = table("Property");
        let full = Table {
            identity: Identity::Full,
            ..table("Client")
        };
        assert_eq!(
            statements(&[mended, full], "tailrace"),
            "-- \"public\".\"Property\": a delete must say whose row it was.\n\
             CREATE UNIQUE INDEX CONCURRENTLY \"Property_tailrace_identity\" ON \
             \"public\".\"Property\" (\"organizationId\", \"id\");\n\
             ALTER TABLE \"public\".\"Property\" REPLICA IDENTITY USING INDEX \
             \"Property_tailrace_identity\";\n\n\
             -- Leave out what no browser needs.\n\
             CREATE PUBLICATION \"tailrace\" FOR TABLE\n    \"public\".\"Property\",\n    \
             \"public\".\"Client\";\n"
        );
    }

    #[test]
    fn a_table_that_would_break_the_application_is_left_out() {
        let keyless = Table {
            key: Vec::new(),
            ..table("Log")
        };
        let text = statements(&[keyless], "tailrace");
        assert!(text.contains("No table has"), "{text}");
        let nullable = Table {
            is_organisation_not_null: false,
            ..table("Note")
        };
        assert!(nullable.mend().contains("REPLICA IDENTITY FULL"));
        let index = Identity::Index(vec!["organizationId".into(), "id".into()]);
        assert_eq!(
            Table {
                identity: index,
                ..table("Deal")
            }
            .mend(),
            ""
        );
    }

    #[test]
    fn the_configuration_finds_the_table_of_members() {
        let member = Table {
            user: Some("user_id".into()),
            ..table("team_members")
        };
        let text = configuration(&[table("Property"), member], "tailrace");
        assert!(
            text.contains("table = \"team_members\"\nuser = \"user_id\"\n"),
            "{text}"
        );
    }
}

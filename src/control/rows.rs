//! The rows that say who somebody is: a session by what its cookie presents, and a user by the id. One
//! statement answers for all who wait.

use std::collections::{HashMap, HashSet};

use auth::SessionRow;
use tokio_postgres::{Client, Row, Statement};

use super::columns::{ColumnType, Columns};
use crate::config::{SessionTable, UserTable};
use crate::database::{DatabaseError, identifier};

/// What the rows say, by what a cookie presents. A session that has no row, or whose user may not come
/// in, is not in it.
pub(super) type Sessions = HashMap<String, SessionRow>;

/// The users who may come in: there is a row, and no ban.
pub(super) type Users = HashSet<String>;

/// The sessions that have a row which has not ended, by its id.
pub(super) type SessionIds = HashSet<String>;

/// The tables whose rows are asked for.
#[derive(Clone, Default)]
pub(super) struct Tables {
    /// Whose rows are sessions.
    pub(super) session: Option<SessionTable>,
    /// Whose rows are there as long as the sessions of tokens that name them.
    pub(super) session_id: Option<SessionTable>,
    /// Whose rows are users.
    pub(super) user: Option<UserTable>,
}

impl Tables {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.session.is_some() || self.session_id.is_some() || self.user.is_some()
    }
}

/// The statements for the configured tables.
pub(super) struct RowSql {
    session: Option<Asked>,
    session_id: Option<Asked>,
    user: Option<Asked>,
}

/// A statement, and what it takes.
struct Asked {
    statement: Statement,
    argument: ColumnType,
}

impl RowSql {
    /// Looks the tables up and prepares what is asked of them.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked, or has no such table or column.
    pub(super) async fn prepare(client: &Client, tables: &Tables) -> Result<Self, DatabaseError> {
        let welcome = match &tables.user {
            None => None,
            Some(user) => {
                let columns = Columns::read(client, &user.table.sql(), "user").await?;
                Some((Welcome::of(user, &columns)?, user))
            }
        };
        let mut sql = Self {
            session: None,
            session_id: None,
            user: None,
        };
        if let Some((welcome, user)) = &welcome {
            let text = user_statement(welcome, user);
            sql.user = Some(Asked::prepare(client, &text, welcome.id).await?);
        }
        if let Some(session) = &tables.session_id {
            let columns = Columns::read(client, &session.table.sql(), "session").await?;
            let text = session_id_statement(session, &columns)?;
            let argument = columns.of(&session.id)?;
            sql.session_id = Some(Asked::prepare(client, &text, argument).await?);
        }
        if let Some(session) = &tables.session {
            let columns = Columns::read(client, &session.table.sql(), "session").await?;
            let text = session_statement(session, &columns, welcome.as_ref())?;
            let argument = columns.of(&session.token)?;
            sql.session = Some(Asked::prepare(client, &text, argument).await?);
        }
        Ok(sql)
    }

    /// The sessions that these tokens name.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub(super) async fn sessions(
        &self,
        client: &Client,
        tokens: &[String],
    ) -> Result<Sessions, DatabaseError> {
        let rows = Asked::query(self.session.as_ref(), client, tokens).await?;
        let session = |row: &Row| {
            let expires_ms: Option<i64> = row.get(3);
            let session = SessionRow {
                id: row.get(1),
                user: row.get(2),
                // A session without an end, or of before 1970, is none.
                expires_ms: Some(expires_ms.and_then(|ms| ms.try_into().ok()).unwrap_or(0)),
                active_organisation: row.get(4),
            };
            (row.get(0), session)
        };
        Ok(rows.iter().map(session).collect())
    }

    /// Which of these sessions, by the ids of their rows, have not ended.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub(super) async fn session_ids(
        &self,
        client: &Client,
        ids: &[String],
    ) -> Result<SessionIds, DatabaseError> {
        let rows = Asked::query(self.session_id.as_ref(), client, ids).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Which of these users may come in.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub(super) async fn users(
        &self,
        client: &Client,
        users: &[String],
    ) -> Result<Users, DatabaseError> {
        let rows = Asked::query(self.user.as_ref(), client, users).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

impl Asked {
    async fn prepare(
        client: &Client,
        text: &str,
        argument: ColumnType,
    ) -> Result<Self, DatabaseError> {
        let statement = client.prepare(text).await.map_err(DatabaseError::of)?;
        Ok(Self {
            statement,
            argument,
        })
    }

    async fn query(
        asked: Option<&Self>,
        client: &Client,
        questions: &[String],
    ) -> Result<Vec<Row>, DatabaseError> {
        let Some(asked) = asked else {
            return Ok(Vec::new());
        };
        // What is no value of the column's type is nobody's, and must not fail the others.
        let questions: Vec<&String> = questions
            .iter()
            .filter(|question| asked.argument.admits(question))
            .collect();
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        client
            .query(&asked.statement, &[&questions])
            .await
            .map_err(DatabaseError::of)
    }
}

/// How a row of the table of users says that its user may come in.
struct Welcome {
    id: ColumnType,
    /// SQL over the row `u`.
    condition: String,
}

impl Welcome {
    fn of(user: &UserTable, columns: &Columns) -> Result<Self, DatabaseError> {
        let id = columns.of(&user.id)?;
        let until = match &user.banned_until {
            None => None,
            Some(until) => {
                columns.expect(
                    until,
                    ColumnType::Timestamp,
                    "timestamp (user.banned_until)",
                )?;
                Some(format!("u.{}", identifier(until)))
            }
        };
        if let Some(banned) = &user.banned {
            columns.expect(banned, ColumnType::Boolean, "boolean (user.banned)")?;
        }
        let condition = match (&user.banned, &until) {
            (None, None) => "true".to_owned(),
            (None, Some(until)) => format!("coalesce({}, true)", is_over(until)),
            (Some(banned), None) => format!("NOT coalesce(u.{}, false)", identifier(banned)),
            (Some(banned), Some(until)) => format!(
                "(NOT coalesce(u.{}, false) OR coalesce({}, false))",
                identifier(banned),
                is_over(until)
            ),
        };
        Ok(Self { id, condition })
    }
}

/// SQL: whether this time has come. `extract` takes a time without a zone for one of UTC.
fn is_over(until: &str) -> String {
    format!("extract(epoch FROM {until}) <= extract(epoch FROM statement_timestamp())")
}

fn user_statement(welcome: &Welcome, user: &UserTable) -> String {
    let (table, id) = (user.table.sql(), identifier(&user.id));
    format!(
        "SELECT q.u FROM unnest($1::text[]) AS q(u) JOIN {table} AS u ON {} WHERE {}",
        welcome.id.equals(&format!("u.{id}"), "q.u"),
        welcome.condition,
    )
}

fn session_id_statement(
    session: &SessionTable,
    columns: &Columns,
) -> Result<String, DatabaseError> {
    let timestamp = "timestamp (session.expires)";
    columns.expect(&session.expires, ColumnType::Timestamp, timestamp)?;
    let (table, id) = (session.table.sql(), identifier(&session.id));
    let expires = format!("s.{}", identifier(&session.expires));
    // A session without an end is none, as where its row is read.
    Ok(format!(
        "SELECT q.i FROM unnest($1::text[]) AS q(i) JOIN {table} AS s ON {} \
         WHERE isfinite({expires}) AND NOT {}",
        columns.of(&session.id)?.equals(&format!("s.{id}"), "q.i"),
        is_over(&expires),
    ))
}

fn session_statement(
    session: &SessionTable,
    columns: &Columns,
    welcome: Option<&(Welcome, &UserTable)>,
) -> Result<String, DatabaseError> {
    let column = |name: &str| -> Result<String, DatabaseError> {
        columns.of(name)?;
        Ok(format!("s.{}", identifier(name)))
    };
    let timestamp = "timestamp (session.expires)";
    columns.expect(&session.expires, ColumnType::Timestamp, timestamp)?;
    let (id, user) = (column(&session.id)?, column(&session.user)?);
    let (token, expires) = (column(&session.token)?, column(&session.expires)?);
    let active = match &session.active_organization {
        Some(name) => format!("{}::text", column(name)?),
        None => "NULL::text".to_owned(),
    };
    let same_token = columns.of(&session.token)?.equals(&token, "q.t");
    let user_row = match welcome {
        None => String::new(),
        Some((welcome, table)) => {
            let (name, key, condition) =
                (table.table.sql(), identifier(&table.id), &welcome.condition);
            // The two columns have one type, or the application's own joins would not work.
            format!(" JOIN {name} AS u ON u.{key} = {user} WHERE {condition}")
        }
    };
    let table = session.table.sql();
    // `extract` takes a time without a zone for one of UTC; an endless one is no end.
    Ok(format!(
        "SELECT q.t, {id}::text, {user}::text, \
         CASE WHEN isfinite({expires}) THEN (extract(epoch FROM {expires}) * 1000)::bigint END, \
         {active} FROM unnest($1::text[]) AS q(t) JOIN {table} AS s ON {same_token}{user_row}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TableName;

    fn table(name: &str) -> TableName {
        TableName {
            schema: None,
            name: name.to_owned(),
        }
    }

    fn columns(types: &[(&str, &str)]) -> Columns {
        let types = types.iter().map(|(name, of)| (*name, ColumnType::of(of)));
        Columns::of_table("t", types)
    }

    #[test]
    fn names_stand_quoted_and_values_are_compared_by_their_type() {
        let session = SessionTable {
            table: table("session"),
            id: "id".into(),
            token: "token".into(),
            user: "user\"Id".into(),
            expires: "expiresAt".into(),
            active_organization: Some("activeOrganizationId".into()),
        };
        let user = UserTable {
            table: table("user"),
            id: "id".into(),
            banned: Some("banned".into()),
            banned_until: None,
        };
        let of_session = columns(&[
            ("id", "text"),
            ("token", "text"),
            ("user\"Id", "text"),
            ("expiresAt", "timestamptz"),
            ("activeOrganizationId", "uuid"),
        ]);
        let of_user = columns(&[("id", "uuid"), ("banned", "bool")]);
        let welcome = Welcome::of(&user, &of_user).map_err(|error| error.to_string());
        let welcome = (welcome.unwrap(), &user);
        assert_eq!(
            user_statement(&welcome.0, &user),
            "SELECT q.u FROM unnest($1::text[]) AS q(u) JOIN \"user\" AS u ON u.\"id\" = q.u::uuid \
             WHERE NOT coalesce(u.\"banned\", false)"
        );
        let statement = session_statement(&session, &of_session, Some(&welcome));
        assert_eq!(
            statement.map_err(|error| error.to_string()).unwrap(),
            "SELECT q.t, s.\"id\"::text, s.\"user\"\"Id\"::text, CASE WHEN \
             isfinite(s.\"expiresAt\") THEN (extract(epoch FROM s.\"expiresAt\") * 1000)::bigint END, \
             s.\"activeOrganizationId\"::text FROM unnest($1::text[]) AS q(t) JOIN \"session\" AS s \
             ON s.\"token\" = q.t JOIN \"user\" AS u ON u.\"id\" = s.\"user\"\"Id\" \
             WHERE NOT coalesce(u.\"banned\", false)"
        );
    }

    #[test]
    fn a_column_of_the_wrong_type_is_named() {
        let session = SessionTable {
            table: table("session"),
            id: "id".into(),
            token: "id".into(),
            user: "id".into(),
            expires: "expires".into(),
            active_organization: None,
        };
        let of_session = columns(&[("id", "text"), ("expires", "text")]);
        let error = session_statement(&session, &of_session, None).unwrap_err();
        assert!(error.to_string().contains("session.expires"), "{error}");
        let error = session_id_statement(&session, &of_session).unwrap_err();
        assert!(error.to_string().contains("session.expires"), "{error}");
        let error = session_statement(&session, &columns(&[]), None).unwrap_err();
        assert!(error.to_string().contains("\"expires\""), "{error}");
    }
}

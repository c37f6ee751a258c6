//! Who belongs to which organisation: the questions that wait, and the SQL that answers them.
//!
//! Whoever asks the same waits for the same answer, and all who wait are asked for in one statement;
//! one is under way at a time. Nothing is remembered: an answer is given to those who asked before
//! the statement was sent, and to nobody else.

use std::collections::HashMap;

use tokio_postgres::Client;
use wire::ConnectionId;

use super::request::Wanted;
use crate::config::Membership;
use crate::database::{DatabaseError, identifier, literal};

/// The most questions of one statement.
const QUESTIONS_MAX: usize = 500;

/// The most connections that wait for an answer. Whoever comes then is refused for now.
const WAITING_MAX: usize = 16_384;

/// Is this user a member of this organisation; or, without one, of which?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) user: String,
    pub(super) organization: Option<String>,
}

/// A membership, as the database spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) user: String,
    pub(super) organization: String,
    /// The role, or several with commas between them.
    pub(super) role: Option<String>,
}

/// The memberships that answer each question. One that has none is not in it.
pub(super) type Answers = HashMap<Question, Vec<Member>>;

/// Somebody who waits for an answer.
pub(super) struct Waiter {
    pub(super) connection: ConnectionId,
    pub(super) address: Option<std::net::IpAddr>,
    pub(super) identity: auth::Identity,
    pub(super) wanted: Box<Wanted>,
}

/// The questions that wait, and those that are under way.
#[derive(Default)]
pub(super) struct Questions {
    waiting: HashMap<Question, Vec<Waiter>>,
    asked: HashMap<Question, Vec<Waiter>>,
    count: usize,
}

impl Questions {
    /// Lines up.
    ///
    /// # Errors
    ///
    /// Gives the waiter back where too many wait already.
    pub(super) fn push(&mut self, question: Question, waiter: Waiter) -> Result<(), Box<Waiter>> {
        if self.count >= WAITING_MAX {
            return Err(Box::new(waiter));
        }
        self.count += 1;
        self.waiting.entry(question).or_default().push(waiter);
        Ok(())
    }

    /// The next statement's questions, where none is under way and somebody waits.
    pub(super) fn next_batch(&mut self) -> Option<Vec<Question>> {
        if !self.asked.is_empty() || self.waiting.is_empty() {
            return None;
        }
        let batch: Vec<Question> = self.waiting.keys().take(QUESTIONS_MAX).cloned().collect();
        self.asked = batch
            .iter()
            .filter_map(|question| self.waiting.remove_entry(question))
            .collect();
        if self.waiting.is_empty() {
            // A storm's table is not kept for calmer days.
            self.waiting = HashMap::new();
        }
        Some(batch)
    }

    /// Those whose questions were under way: the statement has come back.
    pub(super) fn finish(&mut self) -> HashMap<Question, Vec<Waiter>> {
        let asked = std::mem::take(&mut self.asked);
        self.count -= asked.values().map(Vec::len).sum::<usize>();
        asked
    }
}

/// The statements for the configured table, with its columns' types as the database has them.
pub(crate) struct MembershipSql {
    /// For questions that name an organisation.
    one: String,
    /// For those that do not: at most two of a user's organisations.
    any: String,
    user: ColumnType,
    organization: ColumnType,
}

/// How a column is compared with text, so that its index is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ColumnType {
    Text,
    Uuid,
    Integer,
    /// Compared by its text, without an index.
    Other,
}

impl MembershipSql {
    /// Looks the table's columns up.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked, or has no such table or column.
    pub(crate) async fn prepare(
        client: &Client,
        membership: &Membership,
    ) -> Result<Self, DatabaseError> {
        let table = crate::preflight::membership_table(membership);
        let types = column_types(client, &table).await?;
        let of = |column: &String| {
            types
                .get(column)
                .copied()
                .ok_or_else(|| DatabaseError::Refused {
                    message: format!("the table {table} has no column {column:?}"),
                    is_temporary: false,
                    mend: Vec::new(),
                })
        };
        let (user, organization) = (of(&membership.user)?, of(&membership.organization)?);
        membership.role.as_ref().map(of).transpose()?;
        Ok(Self::new(&table, membership, user, organization))
    }

    fn new(
        table: &str,
        membership: &Membership,
        user: ColumnType,
        organization: ColumnType,
    ) -> Self {
        let user_column = identifier(&membership.user);
        let organization_column = identifier(&membership.organization);
        let role = match &membership.role {
            Some(role) => format!("m.{}::text", identifier(role)),
            None => "NULL::text".to_owned(),
        };
        let columns = format!("m.{user_column}::text, m.{organization_column}::text, {role}");
        let same_user = user.equals(&format!("m.{user_column}"), "q.u");
        let same_organization = organization.equals(&format!("m.{organization_column}"), "q.o");
        Self {
            one: format!(
                "SELECT q.u, q.o, {columns} FROM unnest($1::text[], $2::text[]) AS q(u, o) \
                 JOIN {table} AS m ON {same_user} AND {same_organization}"
            ),
            // Two different organisations are enough to know that there are several; of each, all roles.
            any: format!(
                "SELECT q.u, NULL::text, f.* FROM unnest($1::text[]) AS q(u) CROSS JOIN LATERAL \
                 (SELECT m.{user_column}::text, m.{organization_column}::text, \
                 string_agg({role}, ',') FROM {table} AS m WHERE {same_user} \
                 GROUP BY 1, 2 ORDER BY 2 LIMIT 2) AS f"
            ),
            user,
            organization,
        }
    }

    /// Answers the questions with at most two statements.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub(super) async fn answer(
        &self,
        client: &Client,
        questions: &[Question],
    ) -> Result<Answers, DatabaseError> {
        let (mut users, mut organizations, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for Question { user, organization } in questions {
            // What is no value of the column's type is nobody's, and must not fail the others.
            match organization {
                _ if !self.user.admits(user) => {}
                None => alone.push(user.as_str()),
                Some(organization) if self.organization.admits(organization) => {
                    users.push(user.as_str());
                    organizations.push(organization.as_str());
                }
                Some(_) => {}
            }
        }
        let mut rows = Vec::new();
        if !users.is_empty() {
            rows = client
                .query(&self.one, &[&users, &organizations])
                .await
                .map_err(DatabaseError::of)?;
        }
        if !alone.is_empty() {
            rows.extend(
                client
                    .query(&self.any, &[&alone])
                    .await
                    .map_err(DatabaseError::of)?,
            );
        }
        let mut answers = Answers::new();
        for row in rows {
            let question = Question {
                user: row.get(0),
                organization: row.get(1),
            };
            let member = Member {
                user: row.get(2),
                organization: row.get(3),
                role: row.get(4),
            };
            answers.entry(question).or_default().push(member);
        }
        Ok(answers)
    }
}

impl ColumnType {
    fn of(type_name: &str) -> Self {
        match type_name {
            "text" | "varchar" => Self::Text,
            "uuid" => Self::Uuid,
            "int2" | "int4" | "int8" => Self::Integer,
            _ => Self::Other,
        }
    }

    fn equals(self, column: &str, value: &str) -> String {
        match self {
            Self::Text => format!("{column} = {value}"),
            Self::Uuid => format!("{column} = {value}::uuid"),
            Self::Integer => format!("{column} = {value}::bigint"),
            Self::Other => format!("{column}::text = {value}"),
        }
    }

    /// Whether PostgreSQL takes the text for a value of this type.
    fn admits(self, text: &str) -> bool {
        match self {
            Self::Text | Self::Other => !text.contains('\0'),
            Self::Uuid => {
                let is_hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
                text.len() == 36
                    && text
                        .bytes()
                        .enumerate()
                        .all(|(at, byte)| match is_hyphen(at) {
                            true => byte == b'-',
                            false => byte.is_ascii_hexdigit(),
                        })
            }
            // One spelling only: the answer is found again by the text of its question.
            Self::Integer => text
                .parse::<i64>()
                .is_ok_and(|number| number.to_string() == text),
        }
    }
}

async fn column_types(
    client: &Client,
    table: &str,
) -> Result<HashMap<String, ColumnType>, DatabaseError> {
    let sql = format!(
        "SELECT a.attname::text, t.typname::text FROM pg_attribute AS a \
         JOIN pg_type AS t ON t.oid = a.atttypid \
         WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped",
        literal(table)
    );
    let rows = client.query(&sql, &[]).await.map_err(DatabaseError::of)?;
    if rows.is_empty() {
        let message = format!("there is no table {table} (membership.table)");
        return Err(DatabaseError::Refused {
            message,
            is_temporary: false,
            mend: Vec::new(),
        });
    }
    let column = |row: &tokio_postgres::Row| (row.get(0), ColumnType::of(row.get(1)));
    Ok(rows.iter().map(column).collect())
}

#[cfg(test)]
mod tests {
    use wire::Resume;
    use wire::http::Fields;

    use super::super::request::{Caller, Manner};
    use super::*;

    fn question(user: &str) -> Question {
        Question {
            user: user.to_owned(),
            organization: Some("acme".to_owned()),
        }
    }

    fn waiter(slot: u32) -> Waiter {
        let manner = Manner {
            fields: Fields::new(),
            format: wire::Format::Event,
            is_soft: true,
            last_event_id: None,
        };
        let wanted = Wanted {
            caller: Caller::Service,
            organization: None,
            channels: Vec::new(),
            types: Vec::new(),
            resume: Resume::Live,
            manner,
        };
        Waiter {
            connection: ConnectionId {
                boot: 0,
                engine: 0,
                slot,
                generation: 0,
            },
            address: None,
            identity: auth::Identity {
                user: String::new(),
                session: String::new(),
                expires_ms: None,
                issued_ms: None,
                active_organisation: None,
                organisations: None,
            },
            wanted: Box::new(wanted),
        }
    }

    fn push(questions: &mut Questions, user: &str, slot: u32) -> bool {
        questions.push(question(user), waiter(slot)).is_ok()
    }

    #[test]
    fn who_asks_the_same_waits_for_the_same_answer() {
        let mut questions = Questions::default();
        assert!(questions.next_batch().is_none());
        assert!(push(&mut questions, "ada", 1) && push(&mut questions, "ada", 2));
        assert_eq!(questions.next_batch(), Some(vec![question("ada")]));
        // What is asked after the statement was sent is not answered by it.
        assert!(push(&mut questions, "ada", 3));
        assert!(questions.next_batch().is_none(), "one is under way");
        assert_eq!(questions.finish()[&question("ada")].len(), 2);
        assert_eq!(questions.next_batch(), Some(vec![question("ada")]));
        assert_eq!(questions.finish()[&question("ada")][0].connection.slot, 3);
        assert_eq!(questions.count, 0);
    }

    #[test]
    fn a_statement_and_a_queue_have_an_end() {
        let mut questions = Questions::default();
        let max = WAITING_MAX as u32;
        assert!((0..max).all(|slot| push(&mut questions, &slot.to_string(), slot)));
        assert!(!push(&mut questions, "one more", max));
        let mut statements = 0;
        while let Some(batch) = questions.next_batch() {
            assert!(batch.len() <= QUESTIONS_MAX);
            questions.finish();
            statements += 1;
        }
        assert_eq!(statements, WAITING_MAX.div_ceil(QUESTIONS_MAX));
        assert!(push(&mut questions, "one more", max));
    }

    #[test]
    fn only_values_of_a_columns_type_are_asked_for() {
        assert!(ColumnType::Uuid.admits("6f1c7b1e-0000-4000-8000-000000000001"));
        for text in [
            "",
            "ada",
            "6f1c7b1e-0000-4000-8000-00000000000g",
            "6f1c7b1e000040008000000000000001",
        ] {
            assert!(!ColumnType::Uuid.admits(text), "{text:?}");
        }
        assert!(ColumnType::Integer.admits("42") && ColumnType::Integer.admits("-1"));
        for text in ["", "042", "+1", "1.0", "99999999999999999999", " 1"] {
            assert!(!ColumnType::Integer.admits(text), "{text:?}");
        }
        assert!(ColumnType::Text.admits("anything 'at' all"));
        assert!(!ColumnType::Text.admits("nul\0"));
    }

    #[test]
    fn names_stand_quoted_and_values_are_compared_by_their_type() {
        let membership = Membership {
            schema: Some("app".into()),
            table: "Member".into(),
            user: "userId".into(),
            organization: "org\"Id".into(),
            role: None,
            active: None,
            max: 0,
        };
        let table = crate::preflight::membership_table(&membership);
        let sql = MembershipSql::new(&table, &membership, ColumnType::Uuid, ColumnType::Text);
        assert_eq!(
            sql.one,
            "SELECT q.u, q.o, m.\"userId\"::text, m.\"org\"\"Id\"::text, NULL::text FROM \
             unnest($1::text[], $2::text[]) AS q(u, o) JOIN \"app\".\"Member\" AS m ON \
             m.\"userId\" = q.u::uuid AND m.\"org\"\"Id\" = q.o"
        );
    }
}

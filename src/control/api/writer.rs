//! The one connection that writes: application messages, and revocations. One statement at a time; what
//! several calls want to publish meanwhile goes into the next one together, in the order of the calls.

use std::time::Duration;

use replication::{ConnectInfo, EMIT};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_postgres::Statement;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;
use wire::Lsn;

use super::super::connection::{Connection, Session};
use super::revoke::Revocation;
use crate::database::{self, DatabaseError};

/// How many calls are written together: bodies are bounded, so a statement is, too.
const TOGETHER_MAX: usize = 64;

/// How long a statement may take, its connection included.
const WRITE_MS: u64 = 5_000;

/// Nothing is written where no node would hear of it.
const REVOKE: &str = "\
    INSERT INTO tailrace.revocation (\"user\", session, organization, issued_before, until) \
    SELECT $1::text, $2::text, $3::text, \
        coalesce($4::text::timestamptz, timestamptz 'epoch' + $5::int8 * interval '1 millisecond'), \
        coalesce($6::text::timestamptz, timestamptz 'epoch' + $7::int8 * interval '1 millisecond') \
    WHERE EXISTS (SELECT FROM pg_catalog.pg_publication_tables WHERE pubname = $8::text \
        AND schemaname = 'tailrace' AND tablename = 'revocation') \
    RETURNING id";

/// After a commit: where the log ends, so that whoever has read up to there has read it.
const END: &str = "SELECT pg_current_wal_insert_lsn()::text";

/// What is to be written.
pub(super) enum Job {
    /// Messages, all or none.
    Emit {
        contents: Vec<Vec<u8>>,
        reply: oneshot::Sender<Result<(), Failure>>,
    },
    /// A revocation.
    Revoke {
        revocation: Box<Revocation>,
        reply: oneshot::Sender<Result<Revoked, Failure>>,
    },
}

/// A revocation that was written.
pub(super) struct Revoked {
    /// The id of its row.
    pub(super) id: i64,
    /// It lies before this position of the log.
    pub(super) end: Lsn,
}

/// Why something was not written, or may not have been.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Before the commit.
    Before(String),
    /// Nobody knows.
    Unknown,
    /// The table of revocations is not there, or is not published, or not ours to write: the mend.
    NotSetUp(&'static str),
    /// A time is none.
    NoTime(String),
}

/// The connection.
pub(super) struct Writer {
    connect: ConnectInfo,
    publication: String,
    connection: Connection<Statement>,
    /// Whether the last statement did not go well, so that it is said once.
    is_troubled: bool,
}

impl Writer {
    pub(super) fn new(connect: ConnectInfo, publication: String) -> Self {
        Self {
            connect,
            publication,
            connection: Connection::new(),
            is_troubled: false,
        }
    }

    /// Writes until nobody asks any more.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut taken = Vec::with_capacity(TOGETHER_MAX);
        while jobs.recv_many(&mut taken, TOGETHER_MAX).await > 0 {
            let (mut contents, mut replies) = (Vec::new(), Vec::new());
            for job in taken.drain(..) {
                match job {
                    // Nobody waits for it any more, and it has not begun.
                    Job::Emit { reply, .. } if reply.is_closed() => {}
                    Job::Emit {
                        contents: more,
                        reply,
                    } => {
                        contents.extend(more);
                        replies.push(reply);
                    }
                    Job::Revoke { revocation, reply } => {
                        let outcome = self.limited(async |writer| writer.revoke(&revocation).await);
                        let _ = reply.send(outcome.await);
                    }
                }
            }
            if contents.is_empty() {
                continue;
            }
            let outcome = self
                .limited(async |writer| writer.emit(&contents).await)
                .await;
            for reply in replies {
                let _ = reply.send(outcome.clone());
            }
        }
    }

    async fn emit(&mut self, contents: &[Vec<u8>]) -> Result<(), Failure> {
        let session = self.session().await.map_err(before)?;
        let written = session
            .client
            .query_one(&session.prepared, &[&contents])
            .await;
        written.map(drop).map_err(failure)
    }

    async fn revoke(&mut self, revocation: &Revocation) -> Result<Revoked, Failure> {
        let publication = self.publication.clone();
        let session = self.session().await.map_err(before)?;
        let (issued_text, issued_ms) = revocation.issued_before.parts();
        let (until_text, until_ms) = revocation.until.parts();
        let said: [&(dyn ToSql + Sync); 8] = [
            &revocation.user,
            &revocation.session,
            &revocation.organization,
            &issued_text,
            &issued_ms,
            &until_text,
            &until_ms,
            &publication,
        ];
        let rows = session.client.query(REVOKE, &said).await;
        let rows = rows.map_err(revoke_failure)?;
        let Some(row) = rows.first() else {
            return Err(Failure::NotSetUp(
                "the table tailrace.revocation is not in the publication, so that no node would \
                 hear of it: run `tailrace init`",
            ));
        };
        // It is written by now: whatever fails from here on leaves that as it is.
        let unknown = |_| Failure::Unknown;
        let end = session.client.query_one(END, &[]).await.map_err(unknown)?;
        let end: String = end.get(0);
        Ok(Revoked {
            id: row.get(0),
            end: end.parse().map_err(|_| Failure::Unknown)?,
        })
    }

    /// Does something in bounded time, and begins the next with a connection that surely works where
    /// this one is in doubt.
    async fn limited<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let limit = Duration::from_millis(WRITE_MS);
        let outcome = timeout(limit, work(self)).await;
        let outcome = outcome.unwrap_or(Err(Failure::Unknown));
        let trouble = match &outcome {
            Ok(_) | Err(Failure::NotSetUp(_) | Failure::NoTime(_)) => None,
            Err(Failure::Before(error)) => Some(error.as_str()),
            Err(Failure::Unknown) => Some("PostgreSQL was lost while it wrote"),
        };
        match trouble {
            Some(error) if !self.is_troubled => {
                tracing::warn!("what is published cannot be written: {error}");
            }
            None if self.is_troubled => tracing::info!("what is published can be written again"),
            _ => {}
        }
        self.is_troubled = trouble.is_some();
        if self.is_troubled {
            self.connection.close();
        }
        outcome
    }

    async fn session(&mut self) -> Result<&Session<Statement>, DatabaseError> {
        let open = async {
            let client = database::connect_to_write(&self.connect).await?;
            let prepared = client.prepare(EMIT).await.map_err(DatabaseError::of)?;
            Ok(Session { client, prepared })
        };
        self.connection.session(open).await
    }
}

fn before(error: DatabaseError) -> Failure {
    Failure::Before(error.to_string())
}

/// Whether a statement that failed was committed: the server says no by an error of its own, and where
/// it ends, or is silent, nobody says anything.
fn failure(error: tokio_postgres::Error) -> Failure {
    let severity = error.as_db_error().and_then(|db| db.parsed_severity());
    match severity {
        Some(Severity::Error) => before(DatabaseError::of(error)),
        _ => Failure::Unknown,
    }
}

/// The same of a revocation, where the server's words say what is to be done.
fn revoke_failure(error: tokio_postgres::Error) -> Failure {
    let code = error.code().cloned();
    let is = |codes: &[SqlState]| code.as_ref().is_some_and(|code| codes.contains(code));
    if is(&[SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME]) {
        Failure::NotSetUp("there is no table tailrace.revocation: run `tailrace init`")
    } else if is(&[SqlState::INSUFFICIENT_PRIVILEGE]) {
        Failure::NotSetUp(
            "the node's role may not write to tailrace.revocation: run `tailrace init`",
        )
    } else if is(&[
        SqlState::INVALID_DATETIME_FORMAT,
        SqlState::DATETIME_FIELD_OVERFLOW,
    ]) {
        Failure::NoTime(DatabaseError::of(error).to_string())
    } else {
        failure(error)
    }
}

//! The one connection for ordinary SQL: asks for the control loop, one thing at a time, and connects
//! anew when it must.

use std::time::Duration;

use replication::ConnectInfo;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::Lsn;

use super::connection::{Connection, Session};
use super::rows::{RowSql, SessionIds, Sessions, Tables, Users};
use crate::database::{self, DatabaseError};

/// How long a job may take, its connection included.
const JOB_MS: u64 = 5_000;

/// What is to be asked.
pub(super) enum Job {
    /// Whose sessions these are, by what their cookies present.
    Sessions(Vec<String>),
    /// Which of these sessions have a row.
    SessionIds(Vec<String>),
    /// Which of these users may come in.
    Users(Vec<String>),
    /// How far the write-ahead log is flushed.
    FlushedLsn,
    /// Whether the database can be asked again.
    Probe,
}

/// What came of it.
pub(super) enum Outcome {
    /// The answer to `Sessions`.
    Sessions(Result<Sessions, DatabaseError>),
    /// The answer to `SessionIds`.
    SessionIds(Result<SessionIds, DatabaseError>),
    /// The answer to `Users`.
    Users(Result<Users, DatabaseError>),
    /// The answer to `FlushedLsn`.
    FlushedLsn(Result<Lsn, DatabaseError>),
    /// The answer to `Probe`.
    Probe(Result<(), DatabaseError>),
}

impl Outcome {
    fn is_failure(&self) -> bool {
        match self {
            Self::Sessions(answer) => answer.is_err(),
            Self::SessionIds(answer) => answer.is_err(),
            Self::Users(answer) => answer.is_err(),
            Self::FlushedLsn(answer) => answer.is_err(),
            Self::Probe(answer) => answer.is_err(),
        }
    }
}

/// The connection, and what it was prepared for.
pub(super) struct Sql {
    connect: ConnectInfo,
    tables: Tables,
    connection: Connection<RowSql>,
}

impl Sql {
    pub(super) fn new(connect: ConnectInfo, tables: Tables) -> Self {
        Self {
            connect,
            tables,
            connection: Connection::new(),
        }
    }

    /// Does one job after the other until nobody asks any more. Both channels hold at most one job
    /// of each kind: the control loop asks for the next when it has the answer.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>, out: mpsc::Sender<Outcome>) {
        while let Some(job) = jobs.recv().await {
            let outcome = match job {
                Job::Sessions(tokens) => Outcome::Sessions(limited(self.sessions(&tokens)).await),
                Job::SessionIds(ids) => Outcome::SessionIds(limited(self.session_ids(&ids)).await),
                Job::Users(users) => Outcome::Users(limited(self.users(&users)).await),
                Job::FlushedLsn => Outcome::FlushedLsn(limited(self.flushed_lsn()).await),
                Job::Probe => Outcome::Probe(limited(self.probe()).await),
            };
            if outcome.is_failure() {
                self.connection.close();
            }
            if out.send(outcome).await.is_err() {
                return;
            }
        }
    }

    async fn sessions(&mut self, tokens: &[String]) -> Result<Sessions, DatabaseError> {
        let Session {
            client,
            prepared: rows,
        } = self.session().await?;
        rows.sessions(client, tokens).await
    }

    async fn session_ids(&mut self, ids: &[String]) -> Result<SessionIds, DatabaseError> {
        let Session {
            client,
            prepared: rows,
        } = self.session().await?;
        rows.session_ids(client, ids).await
    }

    async fn users(&mut self, users: &[String]) -> Result<Users, DatabaseError> {
        let Session {
            client,
            prepared: rows,
        } = self.session().await?;
        rows.users(client, users).await
    }

    async fn flushed_lsn(&mut self) -> Result<Lsn, DatabaseError> {
        let session = self.session().await?;
        // A standby has no place to which it flushes WAL of its own.
        let sql = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() \
                   ELSE pg_current_wal_flush_lsn() END::text";
        let row = session
            .client
            .query_one(sql, &[])
            .await
            .map_err(DatabaseError::of)?;
        let text: String = row.try_get(0).map_err(DatabaseError::of)?;
        text.parse()
            .map_err(|_| DatabaseError::Unreachable(format!("{text:?} is no LSN")))
    }

    async fn probe(&mut self) -> Result<(), DatabaseError> {
        let session = self.session().await?;
        session
            .client
            .simple_query("")
            .await
            .map(drop)
            .map_err(DatabaseError::of)
    }

    async fn session(&mut self) -> Result<&Session<RowSql>, DatabaseError> {
        let open = async {
            let client = database::connect(&self.connect).await?;
            let prepared = RowSql::prepare(&client, &self.tables).await?;
            Ok(Session { client, prepared })
        };
        self.connection.session(open).await
    }
}

/// A job's work, in bounded time.
async fn limited<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    timeout(Duration::from_millis(JOB_MS), work)
        .await
        .unwrap_or(Err(DatabaseError::Silent))
}

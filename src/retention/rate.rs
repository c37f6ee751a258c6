//! How fast the write-ahead log grows.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::database::DatabaseError;

/// How long is watched.
const WATCHED: Duration = Duration::from_secs(1);

/// The growth of the log, in bytes a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// While we watched.
    recent: f64,
    /// Since the server's statistics begin; 0 where that is a moment ago.
    average: f64,
}

/// An average over less than this says nothing, in seconds.
const AVERAGE_SECONDS_MIN: f64 = 60.0;

impl Rate {
    /// Watches the log grow.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn measure(client: &Client) -> Result<Self, DatabaseError> {
        let (started, before) = (Instant::now(), position(client).await?);
        let average = average(client).await?;
        tokio::time::sleep(WATCHED).await;
        let after = position(client).await?;
        let grown = (after - before).max(0.0);
        Ok(Self {
            recent: grown / started.elapsed().as_secs_f64(),
            average,
        })
    }

    /// The larger of the two: a disk is full at the worse of them, and a quiet second says little.
    pub(crate) fn per_second(self) -> f64 {
        self.recent.max(self.average)
    }
}

async fn position(client: &Client) -> Result<f64, DatabaseError> {
    let sql = "SELECT pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery()
                   THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn()
                   END, '0/0')::float8";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(DatabaseError::of)?;
    Ok(row.get::<_, Option<f64>>(0).unwrap_or(0.0))
}

async fn average(client: &Client) -> Result<f64, DatabaseError> {
    let sql = "SELECT wal_bytes::float8, extract(epoch FROM now() - stats_reset)::float8
               FROM pg_catalog.pg_stat_wal";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(DatabaseError::of)?;
    let seconds = row.get::<_, Option<f64>>(1).unwrap_or(0.0);
    Ok(match seconds >= AVERAGE_SECONDS_MIN {
        true => row.get::<_, f64>(0) / seconds,
        false => 0.0,
    })
}

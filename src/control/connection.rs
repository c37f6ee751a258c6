//! A connection of ordinary SQL, made when it is wanted and anew when it broke, with what was prepared on
//! it. What is asked over it is in `sql` and in `api::writer`.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::database::DatabaseError;

/// How long after a connection failed the next is tried: a storm of requests must not become a storm
/// of connections.
const RECONNECT_MS: u64 = 500;

/// The connection, if there is one.
pub(super) struct Connection<T> {
    session: Option<Session<T>>,
    failed_at: Option<Instant>,
}

/// A connection that stands, and what was prepared on it.
pub(super) struct Session<T> {
    pub(super) client: Client,
    pub(super) prepared: T,
}

impl<T> Connection<T> {
    pub(super) fn new() -> Self {
        Self {
            session: None,
            failed_at: None,
        }
    }

    /// The connection; `open` makes it, and runs only where there is none that works.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, or could not be a moment ago.
    pub(super) async fn session(
        &mut self,
        open: impl Future<Output = Result<Session<T>, DatabaseError>>,
    ) -> Result<&Session<T>, DatabaseError> {
        let is_usable = |session: &Session<T>| !session.client.is_closed();
        if !self.session.as_ref().is_some_and(is_usable) {
            let pause = Duration::from_millis(RECONNECT_MS);
            if self.failed_at.is_some_and(|at| at.elapsed() < pause) {
                let message = "the last attempt failed a moment ago".to_owned();
                return Err(DatabaseError::Unreachable(message));
            }
            self.session = None;
            // Set until proven otherwise, so that an attempt that is cut off counts as failed.
            self.failed_at = Some(Instant::now());
            let session = open.await?;
            self.failed_at = None;
            self.session = Some(session);
        }
        Ok(self
            .session
            .as_ref()
            .expect("it was just made, or is usable"))
    }

    /// Closes it: the next use begins with one that surely works, or says why not.
    pub(super) fn close(&mut self) {
        self.session = None;
    }
}

//! Ordinary SQL, as the application beside the node sends it: one blocking connection.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage, SimpleQueryRow};

/// One connection to a database.
pub(crate) struct Sql {
    runtime: Runtime,
    client: Client,
}

impl Sql {
    /// Connects, or says why not.
    pub(crate) fn connect(url: &str) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime on the current thread needs only descriptors");
        let connect = tokio_postgres::connect(url, NoTls);
        let (client, connection) = runtime.block_on(connect)?;
        // Polled whenever a statement is waited for. Its end is seen by the next statement.
        runtime.spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { runtime, client })
    }

    /// Runs statements; several without `BEGIN` are one transaction.
    pub(crate) fn run(&self, statements: &str) {
        self.try_run(statements)
            .unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// Runs statements that may fail.
    pub(crate) fn try_run(&self, statements: &str) -> Result<(), Error> {
        self.runtime.block_on(self.client.batch_execute(statements))
    }

    /// The first column of the first row, as text.
    pub(crate) fn value(&self, query: &str) -> String {
        self.optional(query)
            .unwrap_or_else(|| panic!("{query}: no row, or NULL"))
    }

    /// The first column of the first row, as text; `None` without a row, and for NULL.
    pub(crate) fn optional(&self, query: &str) -> Option<String> {
        let rows = self.try_rows(query);
        let rows = rows.unwrap_or_else(|error| panic!("{query}: {error}"));
        rows.into_iter().next()?.into_iter().next()?
    }

    /// All rows, as text; an error where the server goes away.
    pub(crate) fn try_rows(&self, query: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let messages = self.runtime.block_on(self.client.simple_query(query))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let fields = |row: &SimpleQueryRow| {
            (0..row.len())
                .map(|column| row.get(column).map(String::from))
                .collect()
        };
        Ok(rows.map(fields).collect())
    }

    /// Waits until a query answers `t`; a panic after `limit`.
    pub(crate) fn wait_for(&self, query: &str, limit: Duration) {
        super::wait_until(query, limit, || {
            self.optional(query).as_deref() == Some("t")
        });
    }
}

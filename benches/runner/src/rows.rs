//! Publishing by SQL: every event is a row that is inserted, as an application would.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Statement};

use crate::contestant::{Event, Publisher};

/// Up to so many events of a tick each row is a transaction of its own, as applications write; above, all
/// rows of the tick are one. In ticks of 1 ms that is 4,000 transactions a second.
pub(crate) const TRANSACTIONS_MAX: usize = 4;

/// How many statements may be unanswered.
const UNANSWERED_MAX: usize = 1_024;

/// The events' table.
pub(crate) const TABLE: &str = "\
CREATE TABLE \"Note\" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
\"organizationId\" text NOT NULL, body text NOT NULL);
CREATE UNIQUE INDEX \"Note_key\" ON \"Note\" (\"organizationId\", id);
ALTER TABLE \"Note\" REPLICA IDENTITY USING INDEX \"Note_key\";
";

const ONE: &str = "INSERT INTO \"Note\" (\"organizationId\", body) VALUES ($1, $2)";

// The order is that of the events.
const MANY: &str = "INSERT INTO \"Note\" (\"organizationId\", body) \
SELECT organisation, body FROM unnest($1::text[], $2::text[]) \
WITH ORDINALITY AS rows (organisation, body, place) ORDER BY place";

/// An answer that has not come.
type Answer = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send>>;

/// A connection that inserts.
pub(crate) struct RowsPublisher {
    runtime: Runtime,
    inserts: Inserts,
    text_bytes: usize,
}

struct Inserts {
    client: std::sync::Arc<Client>,
    one: Statement,
    many: Statement,
    /// In the order in which the statements went out, which is that of the answers.
    unanswered: VecDeque<Answer>,
}

impl RowsPublisher {
    /// Connects; each event's text is so many bytes.
    pub(crate) fn connect(url: &str, text_bytes: usize) -> Result<Self> {
        let runtime = crate::postgres::runtime()?;
        let inserts = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            anyhow::Ok(Inserts {
                one: client.prepare(ONE).await?,
                many: client.prepare(MANY).await?,
                client: std::sync::Arc::new(client),
                unanswered: VecDeque::new(),
            })
        });
        Ok(Self {
            runtime,
            inserts: inserts.context("cannot insert rows")?,
            text_bytes,
        })
    }
}

impl Publisher for RowsPublisher {
    fn publish(&mut self, events: &[Event]) -> io::Result<()> {
        let text = |event: &Event| {
            let mut text = Vec::new();
            event.write_text(self.text_bytes, &mut text);
            String::from_utf8(text).expect("it is letters and digits")
        };
        let row = |event: &Event| (format!("o{}", event.organisation), text(event));
        let rows: Vec<(String, String)> = events.iter().map(row).collect();
        let inserts = &mut self.inserts;
        let published = self.runtime.block_on(async {
            if rows.len() <= TRANSACTIONS_MAX {
                for (organisation, body) in rows {
                    let (client, one) = (inserts.client.clone(), inserts.one.clone());
                    let answer = async move { client.execute(&one, &[&organisation, &body]).await };
                    inserts.begin(Box::pin(answer)).await?;
                }
            } else {
                let (organisations, bodies): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
                let (client, many) = (inserts.client.clone(), inserts.many.clone());
                let answer = async move { client.execute(&many, &[&organisations, &bodies]).await };
                inserts.begin(Box::pin(answer)).await?;
            }
            // The connection's own task writes what was begun.
            tokio::task::yield_now().await;
            inserts.settle(UNANSWERED_MAX).await
        });
        published.map_err(io::Error::other)
    }

    fn settle(&mut self) -> io::Result<()> {
        let settled = self.runtime.block_on(self.inserts.settle(0));
        settled.map_err(io::Error::other)
    }
}

impl Inserts {
    /// Sends a statement: it goes out when its answer is asked for the first time.
    async fn begin(&mut self, mut answer: Answer) -> Result<(), tokio_postgres::Error> {
        let first = std::future::poll_fn(|context| Poll::Ready(answer.as_mut().poll(context)));
        match first.await {
            Poll::Pending => self.unanswered.push_back(answer),
            Poll::Ready(answer) => drop(answer?),
        }
        Ok(())
    }

    /// Takes the answers that are there, and waits until no more than so many are missing.
    async fn settle(&mut self, unanswered_max: usize) -> Result<(), tokio_postgres::Error> {
        loop {
            let is_awaited = self.unanswered.len() > unanswered_max;
            let Some(answer) = self.unanswered.front_mut() else {
                return Ok(());
            };
            if is_awaited {
                answer.await?;
            } else {
                let now =
                    std::future::poll_fn(|context| Poll::Ready(answer.as_mut().poll(context)));
                match now.await {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(answer) => drop(answer?),
                }
            }
            self.unanswered.pop_front();
        }
    }
}

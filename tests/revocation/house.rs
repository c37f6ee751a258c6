//! What a run stands on: a database with people to revoke, two nodes of two engines each, and on each
//! node somebody who may see everything, so that nothing can be missing unnoticed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{self, Client, Kind};
use crate::oracle;
use crate::support::pair::Pair;
use crate::support::sql::Sql;
use crate::support::{Config, Database, Node, Request};

/// What the schema of the tests lacks: sessions in a table, a ban, and organisations that can be deleted
/// alone. Identities are the primary keys, as in the tables of most applications: a DELETE carries the id
/// of the row and nothing else.
const SCHEMA: &str = r#"
CREATE TABLE "Session" (
    id text PRIMARY KEY,
    "sessionToken" text NOT NULL UNIQUE,
    "userId" text NOT NULL,
    expires timestamp(3) NOT NULL
);
ALTER TABLE "User" ADD banned boolean NOT NULL DEFAULT false;
ALTER TABLE "OrganizationMember"
    DROP CONSTRAINT "OrganizationMember_organizationId_fkey",
    REPLICA IDENTITY DEFAULT;
ALTER PUBLICATION tailrace ADD TABLE "Session";
GRANT SELECT ON "Session" TO tailrace;
"#;

/// How long what was written last may take to reach everybody at the end.
const END_MAX: Duration = Duration::from_secs(30);

/// The row with which a run ends.
const END: &str = "the-end";

pub(crate) struct House {
    pair: Pair,
}

impl House {
    /// A house whose people are made by these statements.
    pub(crate) fn new(people: &str, change: impl FnOnce(Config) -> Config) -> Self {
        let database = Database::new();
        let sql = database.connect();
        sql.run(SCHEMA);
        sql.run(people);
        oracle::create_slot(&sql);
        Self {
            pair: Pair::on(database, change),
        }
    }

    /// A connection of the application's.
    pub(crate) fn connect(&self) -> Sql {
        self.pair.database.connect()
    }

    /// One of the two nodes.
    pub(crate) fn node(&mut self, node: usize) -> &mut Node {
        &mut self.pair.nodes[node]
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        [self.pair.nodes[0].address(), self.pair.nodes[1].address()]
    }

    /// Writes the last event of a run.
    pub(crate) fn write_end(&self) {
        self.connect().run(&insert(END, "acme"));
    }
}

/// The statement that makes an event for an organisation.
pub(crate) fn insert(id: &str, organisation: &str) -> String {
    format!(
        r#"INSERT INTO "Property" (id, "organizationId", name)
           VALUES ('{id}', '{organisation}', 'P');"#
    )
}

/// The streams of somebody who may see every organisation.
pub(crate) struct Witnesses {
    threads: Vec<JoinHandle<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Witnesses {
    /// Opens a stream on each node.
    pub(crate) fn start(addresses: [SocketAddr; 2]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = addresses.into_iter().enumerate().map(|(node, address)| {
            let request = Request::stream("organizationId=*").service();
            let mut witness = [Client::dial(node, address, Kind::Established, &request)];
            witness[0].send();
            let stands = client::pump_until(&mut witness, END_MAX, Client::is_connected);
            assert!(stands, "the witness has no stream: {:?}", witness[0].status);
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || watch(witness, &is_over))
        });
        Self {
            threads: threads.collect(),
            is_over: Arc::clone(&is_over),
        }
    }

    /// Waits for the end of the run, and returns what each saw.
    pub(crate) fn finish(self) -> Vec<Vec<String>> {
        self.is_over.store(true, Ordering::Relaxed);
        let seen = self.threads.into_iter().map(JoinHandle::join);
        seen.map(|seen| seen.expect("a witness does not fail"))
            .collect()
    }
}

/// Reads until the last event, or until it does not come.
fn watch(mut witness: [Client; 1], is_over: &AtomicBool) -> Vec<String> {
    let mut deadline = None;
    while !witness[0].has_ended_with(END) && witness[0].ended.is_none() {
        client::pump(&mut witness, Duration::from_millis(50));
        if is_over.load(Ordering::Relaxed) {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + END_MAX);
            if Instant::now() > deadline {
                break;
            }
        }
    }
    let [witness] = witness;
    witness.seen
}

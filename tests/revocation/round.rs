//! One round: the streams of one person, and two connections of the application's that commit at the
//! same moment, the one the revocation, the other an event, while further streams are being opened and
//! resumed.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{self, Client, Kind};
use crate::random::Random;
use crate::revocations::{Person, Revocation};
use crate::support::Request;
use crate::support::sql::Sql;

/// How long anything that has to happen may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Within this time around the commit everything is let loose.
const MOMENT: Duration = Duration::from_millis(4);

/// How often a stream is opened again until both engines of a node hold some.
const ATTEMPTS_MAX: usize = 24;

/// Streams that stand on each node; with those that are opened and resumed, eight in all.
const ESTABLISHED: usize = 3;

/// The connections of the application's that a worker has.
pub(crate) struct Application {
    pub(crate) revoker: Sql,
    pub(crate) writer: Sql,
}

/// What a round leaves for the verdict.
pub(crate) struct Outcome {
    pub(crate) round: usize,
    /// The transaction that revoked, and the one that gave the right back.
    pub(crate) revoked: u64,
    pub(crate) returned: Option<u64>,
    /// When the application heard that the revocation was committed.
    pub(crate) committed: Instant,
    pub(crate) clients: Vec<Client>,
    /// The stream of another session of the same user.
    pub(crate) other: Option<Client>,
    /// The status that each node answered afterwards.
    pub(crate) statuses: Vec<u16>,
}

/// What the round does.
pub(crate) struct Round<'a> {
    pub(crate) revocation: Revocation,
    pub(crate) round: usize,
    pub(crate) nodes: [SocketAddr; 2],
    pub(crate) application: &'a Application,
}

/// The names of a round's rows.
pub(crate) fn row(revocation: Revocation, round: usize, which: &str) -> String {
    format!("{}-{round}-{which}", revocation.name())
}

impl Round<'_> {
    pub(crate) fn play(&self, random: &mut Random) -> Outcome {
        let person = self.revocation.person(self.round);
        let mut clients = self.settle(&person);
        let mut other = self.open_other(&person);
        let racers = self.racers(&person, &clients, random);
        if self.revocation == Revocation::Absent {
            clients.iter_mut().for_each(Client::hang_up);
            clients.clear();
        }
        self.application.writer.run(&self.event("before", &person));
        let mut due: Vec<Duration> = vec![Duration::ZERO; clients.len()];
        for (client, delay) in racers {
            clients.push(client);
            due.push(delay);
        }
        let (revoked, returned, committed) = self.race(&person, &mut clients, &due, random);
        self.finish(&person, &mut clients, other.as_mut());
        let statuses = self.ask_again(&person);
        clients
            .iter_mut()
            .chain(&mut other)
            .for_each(Client::hang_up);
        Outcome {
            round: self.round,
            revoked,
            returned,
            committed,
            clients,
            other,
            statuses,
        }
    }

    fn event(&self, which: &str, person: &Person) -> String {
        let id = row(self.revocation, self.round, which);
        self.revocation.event(&id, &person.organisation)
    }

    fn request(person: &Person) -> Request {
        let query = format!("organizationId={}", person.organisation);
        Request::stream(&query).field("cookie", &person.cookie)
    }

    /// Opens streams until both engines of both nodes hold some, and as many as are wanted.
    fn settle(&self, person: &Person) -> Vec<Client> {
        let request = Self::request(person);
        let mut all = Vec::new();
        for (node, address) in self.nodes.into_iter().enumerate() {
            let mut streams: Vec<Client> = Vec::new();
            for _ in 0..ATTEMPTS_MAX {
                while streams.len() < ESTABLISHED {
                    let kind = Kind::Established;
                    let mut client = Client::dial(node, address, kind, &request);
                    client.send();
                    streams.push(client);
                }
                let stand = client::pump_until(&mut streams, LIMIT, Client::is_connected);
                assert!(stand, "{} got no streams: {streams:#?}", person.user);
                let first = streams[0].engine();
                if streams.iter().any(|client| client.engine() != first) {
                    break;
                }
                streams.pop();
            }
            assert_eq!(streams.len(), ESTABLISHED, "a node spreads its connections");
            all.extend(streams);
        }
        all
    }

    /// The stream of a session that stays.
    fn open_other(&self, person: &Person) -> Option<Client> {
        let cookie = person.other_cookie.as_ref()?;
        let query = format!("organizationId={}", person.organisation);
        let request = Request::stream(&query).field("cookie", cookie);
        let node = self.round % self.nodes.len();
        let mut other = [Client::dial(
            node,
            self.nodes[node],
            Kind::Established,
            &request,
        )];
        other[0].send();
        assert!(client::pump_until(&mut other, LIMIT, Client::is_connected));
        let [other] = other;
        Some(other)
    }

    /// The streams that will be asked for at the moment of the commit, and when.
    fn racers(
        &self,
        person: &Person,
        established: &[Client],
        random: &mut Random,
    ) -> Vec<(Client, Duration)> {
        let (opened, resumed) = match self.revocation {
            // What somebody who was away may not be shown is what they resume from.
            Revocation::Absent | Revocation::Returned => (0, 8),
            _ => (1, 1),
        };
        let kinds = std::iter::repeat_n(Kind::Opened, opened)
            .chain(std::iter::repeat_n(Kind::Resumed, resumed));
        let racer = |(place, kind): (usize, Kind)| {
            let node = (self.round + place) % self.nodes.len();
            let mut request = Self::request(person);
            if kind == Kind::Resumed {
                let of_node = |client: &&Client| client.node == node;
                let known = established.iter().find(of_node);
                request = request.last_event_id(&known.expect("three stand there").last_id);
            }
            let client = Client::dial(node, self.nodes[node], kind, &request);
            (client, random.duration(2 * MOMENT))
        };
        kinds.enumerate().map(racer).collect()
    }

    /// The moment itself. Returns the transactions, and when the revocation was known to be committed.
    fn race(
        &self,
        person: &Person,
        clients: &mut [Client],
        due: &[Duration],
        random: &mut Random,
    ) -> (u64, Option<u64>, Instant) {
        let barrier = Barrier::new(3);
        let (first, second) = (random.duration(MOMENT), random.duration(MOMENT));
        thread::scope(|scope| {
            let revoker = scope.spawn(|| self.revoke(person, &barrier, first));
            let writer = scope.spawn(|| self.write(person, &barrier, second));
            barrier.wait();
            let began = Instant::now();
            loop {
                let passed = began.elapsed();
                let late = clients.iter_mut().zip(due);
                let late = late.filter(|(client, due)| !client.is_sent && **due <= passed);
                late.for_each(|(client, _)| client.send());
                let next = clients.iter().zip(due);
                let next = next
                    .filter(|(client, _)| !client.is_sent)
                    .map(|(_, due)| *due);
                match next.min() {
                    Some(next) => client::pump(clients, next.saturating_sub(passed)),
                    // Whoever is told to end meanwhile is seen to.
                    None if !revoker.is_finished() => {
                        client::pump(clients, Duration::from_micros(500));
                    }
                    None => break,
                }
            }
            writer.join().expect("the writer writes");
            revoker.join().expect("the revoker revokes")
        })
    }

    /// Takes the right away, and at once writes what must not be seen any more.
    fn revoke(
        &self,
        person: &Person,
        barrier: &Barrier,
        delay: Duration,
    ) -> (u64, Option<u64>, Instant) {
        let sql = &self.application.revoker;
        let statement = self.revocation.statement(person, self.round);
        let canary = self.event("canary", person);
        sql.run(&format!("BEGIN; {statement} {canary}"));
        let revoked = xid(sql);
        barrier.wait();
        thread::sleep(delay);
        sql.run("COMMIT");
        let committed = Instant::now();
        sql.run(&self.event("after", person));
        let returned = self.revocation.return_statement(person).map(|statement| {
            sql.run(&format!("BEGIN; {statement}"));
            let returned = xid(sql);
            sql.run("COMMIT");
            returned
        });
        (revoked, returned, committed)
    }

    /// Commits an event at the same moment: before the revocation or after it, as it comes.
    fn write(&self, person: &Person, barrier: &Barrier, delay: Duration) {
        let sql = &self.application.writer;
        sql.run(&format!("BEGIN; {}", self.event("race", person)));
        barrier.wait();
        thread::sleep(delay);
        sql.run("COMMIT");
    }

    /// Reads until every stream has ended or was given rights of its own, and what those may see.
    fn finish(&self, person: &Person, clients: &mut [Client], other: Option<&mut Client>) {
        let may_stay = self.revocation.refusals().is_none();
        let is_settled = |client: &Client| {
            client.ended.is_some()
                || may_stay && client.kind != Kind::Established && client.connected.is_some()
        };
        // The verdict says who did not end.
        let _ = client::pump_until(clients, LIMIT, is_settled);
        let last = row(self.revocation, self.round, "last");
        let statement = crate::house::insert(&last, &person.organisation);
        self.application.writer.run(&statement);
        let _ = client::pump_until(clients, LIMIT, |client| {
            client.ended.is_some() || client.has_seen(&last)
        });
        if let Some(other) = other {
            let others = std::slice::from_mut(other);
            let _ = client::pump_until(others, LIMIT, |client| client.has_seen(&last));
        }
    }

    /// Asks both nodes once more, which must know by now.
    fn ask_again(&self, person: &Person) -> Vec<u16> {
        let ask = |address: SocketAddr| {
            let mut client = [Client::dial(
                0,
                address,
                Kind::Opened,
                &Self::request(person),
            )];
            client[0].send();
            let is_answered = |client: &Client| client.status.is_some();
            assert!(client::pump_until(&mut client, LIMIT, is_answered));
            client[0].status.expect("it was answered")
        };
        self.nodes.into_iter().map(ask).collect()
    }
}

/// The number of the transaction that is open.
pub(crate) fn xid(sql: &Sql) -> u64 {
    let xid = sql.value("SELECT pg_current_xact_id()::text");
    xid.parse().expect("a transaction has a number")
}

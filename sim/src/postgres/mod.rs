//! A cluster that speaks the protocol of PostgreSQL: commit log, slots, walsenders, and what may befall it.
//!
//! It is driven like the other side of a socket: bytes of clients come in by [`Postgres::receive`], what it
//! says is in [`Postgres::outbox`], and time is an argument. What it answers is what the reader asks; it
//! panics where it is asked anything else, so that nothing is answered by chance. The application writes
//! to it by calls (`writing`), since what an application says to PostgreSQL is not under test.

mod backend;
mod messages;
mod rows;
pub mod schema;
mod slots;
mod statements;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod trouble;
mod wal;
mod walsender;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use replication::{
    Identity, MembershipSource, MembershipTable, OrganisationTable, Route, Rules, SessionTable,
    UserTable,
};
use wire::{Keys, Name};

use crate::random::Random;
use crate::sometimes::Sometimes;
use crate::swarm;
use crate::time::Time;
use backend::Backend;
use rows::Rows;
use schema::{SESSION, USER, Value};
use slots::Slots;
use wal::Wal;
use writing::Open;

pub(crate) use messages::is_long;
pub use wal::{Change, CommitLog, LooseMessage, Meaning, Record, Transaction, What};
pub use writing::{Refusal, Savepoint, Xid};

/// A connection. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineId(pub u32);

/// The server is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down;

/// A row of the table of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its key, by which it is known.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A persistent slot was moved on by SQL: what lies before its new place is nobody's any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Where it was.
    pub from: u64,
    /// Where it is.
    pub to: u64,
}

/// The longest event that the readers make of a row, in bytes.
pub const EVENT_BYTES_MAX: usize = 4_096;

/// The oid of the database.
const DATABASE_OID: u32 = 16_384;

/// The name of the publication.
const PUBLICATION: &str = "tailrace";

/// A version of PostgreSQL.
#[derive(Clone, Copy, Debug)]
struct Version {
    major: u32,
    name: &'static str,
    number: &'static str,
}

const VERSIONS: [Version; 5] = [
    Version {
        major: 14,
        name: "14.23",
        number: "140023",
    },
    Version {
        major: 15,
        name: "15.18 (Debian 15.18-1)",
        number: "150018",
    },
    Version {
        major: 16,
        name: "16.14",
        number: "160014",
    },
    Version {
        major: 17,
        name: "17.10",
        number: "170010",
    },
    Version {
        major: 18,
        name: "18.4",
        number: "180004",
    },
];

/// Whether the server is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Up,
    /// It waits for its walsenders.
    Stopping {
        back_at: Time,
    },
    Down {
        back_at: Time,
    },
}

/// The cluster.
#[derive(Debug)]
pub struct Postgres {
    random: Random,
    version: Version,
    system: u64,
    phase: Phase,
    wal: Wal,
    rows: Rows,
    slots: Slots,
    next_xid: u64,
    /// The number of each transaction, and the end of the log when it was given out.
    begun: Vec<(u64, u64)>,
    /// Transactions that have not ended.
    open: BTreeMap<u64, Open>,
    /// Transactions that were committed and are not seen yet, and when they will be.
    hidden: BTreeMap<u64, Time>,
    backends: BTreeMap<LineId, Backend>,
    /// How persistent slots were moved, until somebody asks.
    advances: Vec<Advance>,
    /// The outbox of a line that there is not any more.
    nothing: Vec<u8>,
    next_line: u32,
    checkpoint_ms: u64,
    next_checkpoint: Time,
    batch_over: u32,
    window_ms: u64,
    follows_sessions: bool,
    /// `wal_sender_timeout` of the server, in milliseconds, and whether a connection's own is lost on its way.
    sender_timeout_ms: u64,
    drops_settings: bool,
    /// Members that were removed: the user and the organisation.
    removed: BTreeSet<(Value, Value)>,
    reached: Sometimes,
}

impl Postgres {
    /// A cluster with empty tables, whose server is up.
    pub fn new(mut random: Random, swarm: &swarm::Database, now: Time) -> Self {
        // Near the ends of 32 bits, now and then, where places and numbers of transactions come around.
        let begin = *random.pick(&[0x0150_0028, 0xffff_e000, 0x1_0000_0028]);
        let next_xid = *random.pick(&[740, (1 << 32) - 30, (5 << 32) + 3]);
        Self {
            version: *random.pick(&VERSIONS),
            system: random.next_u64() >> 1,
            random,
            phase: Phase::Up,
            wal: Wal::new(begin),
            rows: Rows::default(),
            slots: Slots::default(),
            next_xid,
            begun: Vec::new(),
            open: BTreeMap::new(),
            hidden: BTreeMap::new(),
            backends: BTreeMap::new(),
            advances: Vec::new(),
            nothing: Vec::new(),
            next_line: 0,
            checkpoint_ms: swarm.checkpoint_ms,
            next_checkpoint: now + Time::from_ms(swarm.checkpoint_ms),
            batch_over: 0,
            window_ms: replication::Config::WINDOW_MS_DEFAULT,
            follows_sessions: true,
            sender_timeout_ms: swarm.sender_timeout_ms,
            drops_settings: swarm.drops_settings,
            removed: BTreeSet::new(),
            reached: Sometimes::default(),
        }
    }

    /// What the readers of this world are configured with beside the schema.
    pub fn set_reader(&mut self, batch_over: u32, window_ms: u64) {
        (self.batch_over, self.window_ms) = (batch_over, window_ms);
    }

    /// The readers are told of no tables of sessions and users: whoever has a token is somebody.
    pub fn forget_sessions(&mut self) {
        self.follows_sessions = false;
    }

    /// For how long a commit may wait for a standby: nobody sees it meanwhile but who reads the log. A node
    /// that starts then must still find it there, so that it is no longer than half the window.
    pub fn hidden_max(&self) -> Time {
        Time::from_ms(self.window_ms.min(16_000) / 2)
    }

    /// How a reader of this cluster is configured.
    pub fn reader_config(&self, keys: Keys) -> replication::Config {
        let connect = "postgresql://tailrace@localhost/app".parse();
        let connect = connect.expect("it is a URL");
        let mut config = replication::Config::new(connect, keys);
        config.publication = PUBLICATION.to_owned();
        config.window_ms = self.window_ms;
        config.visit_ms = 3_000;
        config.rules = Rules {
            routes: routes(),
            identity: identity(self.follows_sessions),
            event_bytes_max: EVENT_BYTES_MAX,
            batch_over: self.batch_over,
            ..Rules::default()
        };
        config.rules.check().expect("the rules can be meant");
        config
    }

    /// A client connects; `None` where nobody listens.
    pub fn connect(&mut self, now: Time) -> Option<LineId> {
        self.settle(now);
        if let Phase::Down { back_at } = self.phase {
            // A server that starts listens before it lets anybody in.
            let is_starting = now + Time::from_ms(200) >= back_at;
            if !is_starting {
                return None;
            }
        }
        let line = LineId(self.next_line);
        self.next_line += 1;
        self.backends.insert(line, Backend::default());
        Some(line)
    }

    /// Whether the server has closed a line: nothing comes after what is in the outbox.
    pub fn is_closed(&self, line: LineId) -> bool {
        self.backends
            .get(&line)
            .is_none_or(|backend| backend.is_closed)
    }

    /// The client has closed a line, or the network has broken it. What is in its outbox is lost.
    pub fn hang_up(&mut self, now: Time, line: LineId) {
        self.settle(now);
        self.backends.remove(&line);
        self.slots.on_end(line);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.settle(now);
        match self.phase {
            Phase::Up => self.look_after_senders(now),
            Phase::Stopping { .. } => {
                self.look_after_senders(now);
                self.dismiss_senders(now);
            }
            Phase::Down { back_at } if now >= back_at => self.come_back(now),
            Phase::Down { .. } => {}
        }
        self.continue_creating(now);
        if self.is_up() && now >= self.next_checkpoint {
            self.slots.persist();
            self.wal.write(64);
            self.wal.flush();
            self.next_checkpoint = now + Time::from_ms(self.checkpoint_ms);
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let phase = match self.phase {
            Phase::Up => self.next_checkpoint,
            Phase::Stopping { .. } => now + Time::from_ms(100),
            Phase::Down { back_at } => back_at,
        };
        let backends = self.backends.values().flat_map(|backend| {
            let sender = backend.sender.as_ref();
            let sender = sender.map(|sender| sender.deadline(backend.sender_timeout_ms));
            let creating = backend.creating.as_ref().and_then(|it| it.until);
            sender.into_iter().chain(creating)
        });
        let hidden = self.hidden.values().copied();
        backends.chain(hidden).chain([phase]).min()
    }

    /// Up to where the log is on disk, as an ordinary statement finds it.
    ///
    /// # Errors
    ///
    /// Where the server is down.
    pub fn flushed(&self) -> Result<u64, Down> {
        if self.is_up() {
            Ok(self.wal.flushed)
        } else {
            Err(Down)
        }
    }

    /// A session, as an ordinary statement finds it that also looks whether its user is there and not
    /// banned. That its end may have come is for who asks.
    ///
    /// # Errors
    ///
    /// Where the server is down.
    pub fn session(&self, token: &str) -> Result<Option<SessionRow>, Down> {
        if !self.is_up() {
            return Err(Down);
        }
        let snapshot = self.snapshot();
        let Some(row) = self.rows.seen(SESSION, token, &snapshot) else {
            return Ok(None);
        };
        let user = row[1].as_deref().unwrap_or_default();
        let found = self.rows.seen(USER, user, &snapshot);
        let is_let_in = found.is_some_and(|user| user[1].as_deref() != Some("t"));
        Ok(is_let_in.then(|| SessionRow {
            id: token.to_owned(),
            user: user.to_owned(),
            expires_ms: row[2].as_deref().map_or(u64::MAX, unix_ms),
        }))
    }

    /// The connections that the server knows of and their clients do not any more, and the slots beyond the anchor:
    /// where everybody has just hung up, there are none of either.
    pub fn left_over(&self, lines: &BTreeSet<LineId>) -> (usize, usize) {
        let known = self.backends.keys().filter(|line| !lines.contains(line));
        (known.count(), self.slots.beyond(lines))
    }

    /// Everything that was ever committed.
    pub fn log(&self) -> &CommitLog {
        &self.wal.history
    }

    /// The timeline that the server writes.
    pub fn timeline(&self) -> u32 {
        self.wal.timeline
    }

    /// How the anchor was moved since somebody asked.
    pub fn take_advances(&mut self) -> Vec<Advance> {
        std::mem::take(&mut self.advances)
    }

    /// The furthest place that the anchor was ever moved to; `None` where there is none of use.
    pub fn anchor(&self) -> Option<u64> {
        let mut anchors = self.slots.persistent();
        let anchor = anchors.find(|slot| slot.lost_by.is_none())?;
        Some(anchor.furthest)
    }

    /// The states that were reached since somebody asked.
    pub fn take_reached(&mut self) -> Sometimes {
        std::mem::take(&mut self.reached)
    }

    /// Whether the server lets anybody in.
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// What was committed long enough ago is seen by everybody.
    pub(super) fn settle(&mut self, now: Time) {
        self.hidden.retain(|_, until| *until > now);
    }
}

/// A time that [`schema::moment`] has printed, in milliseconds since 1970.
pub(crate) fn unix_ms(text: &str) -> u64 {
    let number = |range: std::ops::Range<usize>| -> u64 {
        text.get(range)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_default()
    };
    if number(0..4) < 1970 {
        return 0;
    }
    let days = schema::days(number(0..4), number(5..7), number(8..10));
    let seconds = days * 86_400 + number(11..13) * 3_600 + number(14..16) * 60 + number(17..19);
    seconds * 1_000 + number(20..23)
}

fn routes() -> Vec<Route> {
    let role = Name::new(schema::REPORT_ROLE).expect("it is a name");
    vec![
        Route {
            user: Some("userId".to_owned()),
            ..Route::new("Notification")
        },
        Route {
            roles: Some(vec![role]),
            ..Route::new("public.Report")
        },
    ]
}

fn identity(follows_sessions: bool) -> Identity {
    let all = Identity {
        membership: MembershipSource::Table(MembershipTable {
            role: Some("role".to_owned()),
            ..MembershipTable::new("Member", "userId", "organizationId")
        }),
        session: Some(SessionTable {
            table: "Session".to_owned(),
            id: "id".to_owned(),
            user: "userId".to_owned(),
            expires: Some("expires".to_owned()),
        }),
        user: Some(UserTable {
            table: "User".to_owned(),
            id: "id".to_owned(),
            banned: Some("banned".to_owned()),
            banned_until: None,
        }),
        organisation: Some(OrganisationTable {
            table: "Organization".to_owned(),
            id: "id".to_owned(),
        }),
        revocation: true,
    };
    match follows_sessions {
        true => all,
        false => Identity {
            session: None,
            user: None,
            ..all
        },
    }
}

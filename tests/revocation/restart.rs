//! A node is killed and reads its window again, and somebody is removed before, meanwhile or after: on
//! the way back nothing is shown that their membership no longer covers. Some are members again a
//! moment later, and still are not shown what was committed in between.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{self, Client, Kind};
use crate::house::{House, insert};
use crate::oracle::Order;
use crate::random::Random;
use crate::round::xid;
use crate::support::sql::Sql;
use crate::support::{Request, session};
use crate::verdict::LEAKED;

/// How many people lose their membership around a restart, and how many of them get it back.
pub(crate) const PEOPLE: usize = 13;
const RETURNING: usize = 3;

/// The removals lie within this time; the node is killed a third into it.
const SPREAD: Duration = Duration::from_millis(1_200);

/// How long a client waits before it comes back.
const BACK_OFF: Duration = Duration::from_millis(20);

/// How long after the last removal everybody may take to be where they belong.
const LIMIT: Duration = Duration::from_secs(60);

/// The statements that make everybody.
pub(crate) fn people(restarts: usize) -> String {
    let last = (restarts * PEOPLE).saturating_sub(1);
    format!(
        r#"INSERT INTO "User" SELECT 'person-' || n, 'U', 'x' FROM generate_series(0, {last}) n;
           INSERT INTO "OrganizationMember" (id, "organizationId", "userId")
           SELECT 'm-person-' || n, 'acme', 'person-' || n FROM generate_series(0, {last}) n;"#
    )
}

/// What came of one person.
pub(crate) struct Story {
    user: String,
    revoked: u64,
    returned: Option<u64>,
    slots: Vec<Slot>,
}

/// One tab of a browser: a stream, and the ones after it.
struct Slot {
    node: usize,
    streams: Vec<Client>,
    /// When it comes back.
    next_at: Instant,
    /// Its user is a member again after a moment, and keeps on asking.
    returns: bool,
    is_refused: bool,
}

/// Kills one node of the house and starts it again; the removals come by the plan of `random`.
pub(crate) fn play(house: &mut House, restart: usize, random: &mut Random) -> Vec<Story> {
    let addresses = house.addresses();
    let users: Vec<String> = (0..PEOPLE)
        .map(|person| format!("person-{}", restart * PEOPLE + person))
        .collect();
    let killed = restart % addresses.len();
    let mut tabs: Vec<Vec<Slot>> = (0..PEOPLE)
        .map(|person| slots(killed, person < RETURNING))
        .collect();
    let come_back = |tabs: &mut Vec<Vec<Slot>>| {
        for (slots, user) in tabs.iter_mut().zip(&users) {
            slots
                .iter_mut()
                .for_each(|slot| slot.tend(user, addresses[slot.node]));
        }
    };
    let before = format!("before-{restart}");
    let (revoker, writer) = (house.connect(), house.connect());
    settle(&mut tabs, come_back, |slot| {
        slot.last().is_some_and(Client::is_connected)
    });
    writer.run(&insert(&before, "acme"));
    settle(&mut tabs, come_back, |slot| {
        slot.last().is_some_and(|last| last.has_seen(&before))
    });

    let plan: Vec<Duration> = users.iter().map(|_| random.duration(SPREAD)).collect();
    let (transactions, ()) = thread::scope(|scope| {
        let removals = scope.spawn(|| remove(&revoker, &users, &plan));
        let strike = scope.spawn(|| {
            thread::sleep(SPREAD / 3);
            let node = house.node(killed);
            node.kill_and_launch();
            node.wait_ready();
        });
        while !removals.is_finished() || !strike.is_finished() {
            come_back(&mut tabs);
            pump(&mut tabs, Duration::from_millis(2));
        }
        (joined(removals), joined(strike))
    });
    let returned: Vec<bool> = transactions
        .iter()
        .map(|(_, returned)| returned.is_some())
        .collect();
    // Whoever begins anew is shown nothing of before, so the last event is written when all have.
    await_all(&mut tabs, &returned, come_back, |slot| {
        slot.has_begun_anew() && slot.last().is_some_and(Client::is_connected)
    });
    let last = format!("last-{restart}");
    writer.run(&insert(&last, "acme"));
    await_all(&mut tabs, &returned, come_back, |slot| {
        slot.last().is_some_and(|stream| stream.has_seen(&last))
    });
    let stories = users.into_iter().zip(transactions).zip(tabs);
    stories
        .map(|((user, (revoked, returned)), mut slots)| {
            let streams = slots.iter_mut().flat_map(|slot| &mut slot.streams);
            streams.for_each(Client::hang_up);
            Story {
                user,
                revoked,
                returned,
                slots,
            }
        })
        .collect()
}

/// Removes everybody at their time, and returns the transactions.
fn remove(sql: &Sql, users: &[String], plan: &[Duration]) -> Vec<(u64, Option<u64>)> {
    let began = Instant::now();
    let mut order: Vec<usize> = (0..users.len()).collect();
    order.sort_by_key(|person| plan[*person]);
    let mut transactions = vec![(0, None); users.len()];
    for person in order {
        thread::sleep(plan[person].saturating_sub(began.elapsed()));
        let user = &users[person];
        let delete = format!(r#"DELETE FROM "OrganizationMember" WHERE "userId" = '{user}';"#);
        let canary = insert(&format!("canary-{user}"), "acme");
        sql.run(&format!("BEGIN; {delete} {canary}"));
        let revoked = xid(sql);
        sql.run("COMMIT");
        sql.run(&insert(&format!("after-{user}"), "acme"));
        let returned = (person < RETURNING).then(|| {
            sql.run(&format!(
                r#"BEGIN; INSERT INTO "OrganizationMember" ("organizationId", "userId")
                   VALUES ('acme', '{user}')"#
            ));
            let returned = xid(sql);
            sql.run("COMMIT");
            returned
        });
        transactions[person] = (revoked, returned);
    }
    transactions
}

/// Two tabs on the node that will be killed, and one on the other.
fn slots(killed: usize, returns: bool) -> Vec<Slot> {
    let slot = |node| Slot {
        node,
        streams: Vec::new(),
        next_at: Instant::now(),
        returns,
        is_refused: false,
    };
    [killed, killed, 1 - killed].map(slot).into()
}

/// Reads until something is so of every tab.
fn settle(
    tabs: &mut Vec<Vec<Slot>>,
    come_back: impl Fn(&mut Vec<Vec<Slot>>),
    is_so: impl Fn(&Slot) -> bool,
) {
    let deadline = Instant::now() + LIMIT;
    while !tabs.iter().flatten().all(&is_so) {
        assert!(Instant::now() < deadline, "not everybody got a stream");
        come_back(tabs);
        pump(tabs, Duration::from_millis(5));
    }
}

/// Reads until who is removed is refused, and something is so of who is a member again; not for ever, as
/// the verdict says who is not where they belong.
fn await_all(
    tabs: &mut Vec<Vec<Slot>>,
    returned: &[bool],
    come_back: impl Fn(&mut Vec<Vec<Slot>>),
    is_so: impl Fn(&Slot) -> bool,
) {
    let deadline = Instant::now() + LIMIT;
    let is_done = |tabs: &[Vec<Slot>]| {
        tabs.iter().zip(returned).all(|(slots, returned)| {
            let is_where_it_belongs = |slot: &Slot| match returned {
                true => is_so(slot),
                false => slot.is_refused,
            };
            slots.iter().all(is_where_it_belongs)
        })
    };
    while !is_done(tabs) && Instant::now() < deadline {
        come_back(tabs);
        pump(tabs, Duration::from_millis(2));
    }
}

fn pump(tabs: &mut [Vec<Slot>], pause: Duration) {
    let streams = tabs.iter_mut().flatten();
    let streams = streams.filter_map(|slot| slot.streams.last_mut());
    client::pump_each(streams, pause);
}

impl Slot {
    fn last(&self) -> Option<&Client> {
        self.streams.last()
    }

    /// Whether one of its streams was told to begin anew.
    fn has_begun_anew(&self) -> bool {
        let is_reset = |stream: &Client| stream.verdict() == Some("reset");
        self.streams.iter().any(is_reset)
    }

    /// Opens the next stream where the last has ended, as a browser does.
    fn tend(&mut self, user: &str, address: std::net::SocketAddr) {
        if self.is_refused || self.next_at > Instant::now() {
            return;
        }
        let mut request = Request::stream("organizationId=acme");
        let mut kind = Kind::Established;
        if let Some(last) = self.last() {
            if last.ended.is_none() {
                return;
            }
            if last.status == Some(403) && !self.returns {
                self.is_refused = true;
                return;
            }
            kind = Kind::Resumed;
            let id = self.streams.iter().rev().map(|stream| &stream.last_id);
            if let Some(id) = id.into_iter().find(|id| !id.is_empty()) {
                request = request.last_event_id(id);
            }
        }
        self.next_at = Instant::now() + BACK_OFF;
        let cookie = format!("session={}", session::token(user));
        let request = request.field("cookie", &cookie);
        if let Some(mut stream) = Client::try_dial(self.node, address, kind, &request) {
            stream.send();
            // Attempts that came to nothing tell nothing.
            self.streams.retain(|stream| stream.connected.is_some());
            self.streams.push(stream);
        }
    }
}

/// Everything that is wrong.
pub(crate) fn judge(stories: &[Story], order: &Order) -> Vec<String> {
    stories
        .iter()
        .flat_map(|story| story.judge(order))
        .collect()
}

/// How it went, in one line.
pub(crate) fn summary(restarts: usize, stories: &[Story]) -> String {
    let streams = stories.iter().flat_map(|story| &story.slots);
    let streams: usize = streams.map(|slot| slot.streams.len()).sum();
    let returned = stories
        .iter()
        .filter(|story| story.returned.is_some())
        .count();
    format!(
        "restart: {restarts} restarts; {} people removed, {returned} of them back again; {streams} streams",
        stories.len()
    )
}

impl Story {
    fn judge(&self, order: &Order) -> Vec<String> {
        let mut wrong = Vec::new();
        let user = &self.user;
        let revoked = order.transaction(self.revoked);
        let returned = self
            .returned
            .map_or(usize::MAX, |xid| order.transaction(xid));
        for (number, slot) in self.slots.iter().enumerate() {
            let mut say = |what: String| wrong.push(format!("{user}, tab {number}: {what}"));
            for stream in &slot.streams {
                // What was told to go saw nothing after; what was cut off may be either.
                let until = match stream.farewell.as_deref() {
                    Some("membership_revoked") => usize::MAX,
                    _ => returned,
                };
                for seen in &stream.seen {
                    match order.row(seen) {
                        Some(place) if (revoked..until).contains(&place) => {
                            say(format!(
                                "{LEAKED}: {seen}, {} commits later",
                                place - revoked
                            ));
                        }
                        Some(_) => {}
                        None => say(format!("saw {seen}, which nobody committed")),
                    }
                }
            }
            if self.returned.is_none() && !slot.is_refused {
                say("was never refused".to_owned());
            } else if self.returned.is_some() && !slot.has_begun_anew() {
                say("resumed what lies before the new membership".to_owned());
            }
        }
        wrong
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

//! The application: whoever writes to the database. Rows of every table, messages, members and sessions that
//! come and go; transactions of one change and of many, alone and side by side, some of which come to nothing.
//!
//! Every text that may reach a browser says whose it is: `@<organisation>,<number>@`, with `*` for what is
//! everybody's. What is written when is here; what a transaction of people does is in `people`, and the texts
//! are made in `texts`.

mod people;
mod texts;

use crate::postgres::schema::{self, AUDIT, NOTIFICATION, PROPERTY, REPORT, Row, TableId, text};
use crate::postgres::{Meaning, Postgres, Refusal, Xid};
use crate::random::Random;
use crate::swarm;
use crate::time::Time;
use people::Crowd;
use texts::Texts;

pub use people::Person;
pub(crate) use texts::quoted;

/// How many organisations there are: `o0` and so on.
pub const ORGANISATIONS: usize = 3;

/// How many rows of a table are remembered, to be changed again.
const REMEMBERED_MAX: usize = 200;

/// How many transactions are open at a time.
const OPEN_MAX: usize = 4;

/// Everybody who writes.
#[derive(Debug)]
pub struct Application {
    random: Random,
    swarm: swarm::Writers,
    texts: Texts,
    crowd: Crowd,
    /// Transactions that were begun and are finished later.
    open: Vec<Begun>,
    /// Rows that may be changed again: their table, key and organisation.
    rows: Vec<(TableId, String)>,
    /// Messages that may be sent again.
    said: Vec<(String, Meaning)>,
    next_row: u64,
    /// The last transaction that changed something about people. There is one at a time: constraints between
    /// their tables would let the others wait.
    of_people: Option<Xid>,
    /// How many of the last events were written, when all is calm.
    last_words: usize,
}

/// A transaction that is finished later.
#[derive(Clone, Copy, Debug)]
struct Begun {
    xid: Xid,
    is_prepared: bool,
}

impl Application {
    /// An application whose organisations, users and members are there.
    pub fn new(
        mut random: Random,
        swarm: &swarm::Writers,
        now: Time,
        postgres: &mut Postgres,
    ) -> Self {
        let texts = Texts::new(random.fork(), swarm.bytes_max);
        let crowd = Crowd::new(random.fork(), now, postgres);
        Self {
            random,
            swarm: swarm.clone(),
            texts,
            crowd,
            open: Vec::new(),
            rows: Vec::new(),
            said: Vec::new(),
            next_row: 0,
            of_people: None,
            last_words: 0,
        }
    }

    /// Who could open a stream.
    pub fn people(&self) -> &[Person] {
        self.crowd.people()
    }

    /// A person logs in; `None` where there is no such person any more, or nobody to write it down.
    pub fn log_in(&mut self, now: Time, postgres: &mut Postgres, user: &str) -> Option<String> {
        self.crowd.log_in(now, postgres, user)
    }

    /// Does the next thing, and says when the one after it is due. When all `is_calm`, everything that was
    /// begun is finished, every organisation hears a last event, and then nothing is due any more.
    pub fn step(&mut self, now: Time, postgres: &mut Postgres, is_calm: bool) -> Option<Time> {
        if !postgres.is_up() {
            return Some(now + Time::from_ms(100));
        }
        if is_calm {
            return self.calm_down(now, postgres);
        }
        if !self.open.is_empty() && (self.open.len() >= OPEN_MAX || self.random.chance(300)) {
            self.finish(now, postgres);
        } else {
            self.transact(now, postgres);
        }
        let mean_us = self.swarm.transaction_ms * 1_000;
        Some(now + Time(1 + self.random.below(2 * mean_us)))
    }

    fn calm_down(&mut self, now: Time, postgres: &mut Postgres) -> Option<Time> {
        if !self.open.is_empty() {
            self.finish(now, postgres);
            return Some(now + Time::from_ms(1));
        }
        if self.last_words >= ORGANISATIONS {
            return None;
        }
        // What nobody sees yet may take the last member away.
        if !postgres.is_seen() {
            return Some(now + Time::from_ms(10));
        }
        if !self.crowd.is_anybody_left(postgres) {
            if let Ok(xid) = postgres.begin() {
                // Where it fails, what it has written must not stand in the way of the next time.
                let _ = match self.crowd.begin_anew(postgres, xid) {
                    Ok(()) => postgres.commit(now, xid, Time(0)),
                    Err(_) => postgres.abort(xid),
                };
            }
            return Some(now + Time::from_ms(1));
        }
        let organisation = organisation(self.last_words);
        let row = self.property(&organisation);
        if let Ok(xid) = postgres.begin()
            && postgres.insert(xid, PROPERTY, row).is_ok()
            && postgres.commit(now, xid, Time(0)).is_ok()
        {
            self.last_words += 1;
        }
        Some(now + Time::from_ms(1))
    }

    /// Ends one of the transactions that were begun.
    fn finish(&mut self, now: Time, postgres: &mut Postgres) {
        let at = self.random.below(self.open.len() as u64) as usize;
        let begun = self.open.swap_remove(at);
        self.end(now, postgres, begun);
    }

    fn end(&mut self, now: Time, postgres: &mut Postgres, begun: Begun) {
        let hidden = self.hidden(postgres.hidden_max());
        // A transaction that went with the server is nothing to mourn.
        let ended = if self.random.chance(self.swarm.abort) {
            postgres.abort(begun.xid)
        } else if !begun.is_prepared && self.random.chance(30) {
            let prepared = postgres.prepare(begun.xid);
            if prepared.is_ok() {
                self.open.push(Begun {
                    is_prepared: true,
                    ..begun
                });
            }
            prepared
        } else {
            postgres.commit(now, begun.xid, hidden)
        };
        debug_assert!(ended.is_ok() || ended == Err(Refusal::Gone));
    }

    /// How long others do not see what is committed.
    fn hidden(&mut self, most: Time) -> Time {
        let drawn = match self.random.below(1_000) {
            0..3 => Time::from_ms(self.random.between(1_000..=8_000)),
            3..50 => Time::from_ms(self.random.between(1..=900)),
            50..500 => Time(self.random.below(2_000)),
            _ => Time(0),
        };
        drawn.min(most)
    }

    fn transact(&mut self, now: Time, postgres: &mut Postgres) {
        let Ok(xid) = postgres.begin() else { return };
        let random = &mut self.random;
        let mut changes = random.log_uniform(1..=self.swarm.changes_max.max(1));
        let is_alone = self.of_people.is_none_or(|xid| postgres.has_ended(xid));
        let is_of_people = random.chance(self.swarm.people) && is_alone;
        if is_of_people {
            self.of_people = Some(xid);
        }
        let people_at = if is_of_people {
            random.below(changes)
        } else {
            changes
        };
        let is_noise = !is_of_people && random.chance(self.swarm.noise);
        if is_noise {
            changes = changes.min(3);
        }
        for at in 0..changes {
            let done = if at == people_at {
                self.crowd.change(now, postgres, xid)
            } else if is_noise {
                self.noise(postgres, xid)
            } else {
                self.change(postgres, xid)
            };
            if done == Err(Refusal::Gone) {
                return;
            }
            if self.random.chance(10) {
                self.take_back_something(postgres, xid);
            }
        }
        let begun = Begun {
            xid,
            is_prepared: false,
        };
        if self.random.chance(250) {
            self.open.push(begun);
        } else {
            self.end(now, postgres, begun);
        }
        self.crowd.forget_what_failed(postgres);
    }

    /// Something of the transaction that is rolled back to a savepoint.
    fn take_back_something(&mut self, postgres: &mut Postgres, xid: Xid) {
        let Ok(savepoint) = postgres.savepoint(xid) else {
            return;
        };
        let organisation = self.organisation();
        let row = self.property(&organisation);
        if postgres.insert(xid, PROPERTY, row).is_ok() {
            postgres
                .roll_back_to(xid, savepoint)
                .expect("it was just there");
        }
    }

    fn noise(&mut self, postgres: &mut Postgres, xid: Xid) -> Result<(), Refusal> {
        self.next_row += 1;
        let id = format!("a{}", self.next_row);
        let row: Row = [text(&id), text(&self.texts.of("*"))].into();
        postgres.insert(xid, AUDIT, row)
    }

    /// One change that somebody may hear of.
    fn change(&mut self, postgres: &mut Postgres, xid: Xid) -> Result<(), Refusal> {
        if self.random.chance(self.swarm.user_event) {
            return match self.random.below(3) {
                0 => self.say(postgres, xid),
                1 => self.change_row(postgres, xid, NOTIFICATION),
                _ => self.insert_row(postgres, xid, NOTIFICATION),
            };
        }
        match self.random.below(100) {
            0..50 => self.insert_row(postgres, xid, PROPERTY),
            50..75 => self.change_row(postgres, xid, PROPERTY),
            75..85 => self.insert_row(postgres, xid, REPORT),
            85..90 => self.change_row(postgres, xid, REPORT),
            90..99 => self.say(postgres, xid),
            _ if self.random.chance(200) => postgres.truncate(xid, &[PROPERTY, REPORT]),
            _ => self.say_what_is_refused(postgres, xid),
        }
    }

    fn insert_row(
        &mut self,
        postgres: &mut Postgres,
        xid: Xid,
        table: TableId,
    ) -> Result<(), Refusal> {
        let organisation = self.organisation();
        let row = match table {
            NOTIFICATION => self.notification(&organisation),
            REPORT => self.report(&organisation),
            _ => self.property(&organisation),
        };
        postgres.insert(xid, table, row)
    }

    /// Changes a row of a table, moves it to another organisation, or deletes it.
    fn change_row(
        &mut self,
        postgres: &mut Postgres,
        xid: Xid,
        table: TableId,
    ) -> Result<(), Refusal> {
        let of_table: Vec<usize> = (0..self.rows.len())
            .filter(|at| self.rows[*at].0 == table)
            .collect();
        if of_table.is_empty() {
            return self.insert_row(postgres, xid, table);
        }
        let at = *self.random.pick(&of_table);
        let key = self.rows[at].1.clone();
        let found = postgres.row(table, &key);
        let home = found.and_then(|row| row[1].as_deref().map(str::to_owned));
        let Some(home) = home else {
            // It is gone, or not there yet.
            return Ok(());
        };
        if self.random.chance(300) {
            return postgres.delete(xid, table, &key);
        }
        let moves = self.random.chance(200);
        let organisation = if moves { self.organisation() } else { home };
        let (words, body) = (self.texts.of(&organisation), self.texts.long(&organisation));
        let keeps_body = !moves && self.random.chance(500);
        let user = self.crowd.any_user(&mut self.random);
        postgres.update(xid, table, &key, |row| {
            let was = row[1].clone();
            row[1] = text(&organisation);
            // What it says is that of its organisation: another transaction may have moved it meanwhile.
            let keeps_body = keeps_body && was == row[1];
            match table {
                PROPERTY => {
                    row[2] = text(&words);
                    if !keeps_body {
                        row[3] = body;
                    }
                }
                NOTIFICATION => {
                    row[2] = if moves { text(&user) } else { row[2].clone() };
                    row[3] = if keeps_body {
                        row[3].clone()
                    } else {
                        text(&words)
                    };
                }
                _ => {
                    row[2] = if keeps_body {
                        row[2].clone()
                    } else {
                        text(&words)
                    }
                }
            }
        })
    }

    /// An event of the application's own; sometimes one that was sent before.
    fn say(&mut self, postgres: &mut Postgres, xid: Xid) -> Result<(), Refusal> {
        if !self.said.is_empty() && self.random.chance(200) {
            let (content, meaning) = self.random.pick(&self.said).clone();
            return postgres.emit(xid, "tailrace", &content, Some(meaning));
        }
        let organisation = self.organisation();
        let user = self.crowd.any_user(&mut self.random);
        let (content, meaning) = self.texts.message(&organisation, &user);
        if meaning.id.is_some() {
            self.said.push((content.clone(), meaning.clone()));
            if self.said.len() > 20 {
                self.said.remove(0);
            }
        }
        postgres.emit(xid, "tailrace", &content, Some(meaning))
    }

    fn say_what_is_refused(&mut self, postgres: &mut Postgres, xid: Xid) -> Result<(), Refusal> {
        let organisation = self.organisation();
        let (prefix, content) = self.texts.refused(&organisation);
        if self.random.chance(300) {
            return postgres.emit_loose("tailrace", &content);
        }
        postgres.emit(xid, prefix, &content, None)
    }

    fn property(&mut self, organisation: &str) -> Row {
        let id = self.new_row(PROPERTY, 'p');
        let (name, body) = (self.texts.of(organisation), self.texts.long(organisation));
        let price = self
            .random
            .chance(900)
            .then(|| self.random.below(1 << 40).to_string());
        [
            text(&id),
            text(organisation),
            text(&name),
            body,
            price.as_deref().and_then(text),
            text(if self.random.chance(500) { "t" } else { "f" }),
        ]
        .into()
    }

    fn notification(&mut self, organisation: &str) -> Row {
        let id = self.new_row(NOTIFICATION, 'n');
        let user = self.crowd.any_user(&mut self.random);
        let body = self.texts.of(organisation);
        [text(&id), text(organisation), text(&user), text(&body)].into()
    }

    fn report(&mut self, organisation: &str) -> Row {
        let id = self.new_row(REPORT, 'r');
        let body = self.texts.of(organisation);
        [text(&id), text(organisation), text(&body)].into()
    }

    fn new_row(&mut self, table: TableId, letter: char) -> String {
        self.next_row += 1;
        let id = format!("{letter}{}", self.next_row);
        if self.rows.len() >= REMEMBERED_MAX {
            let at = self.random.below(self.rows.len() as u64) as usize;
            self.rows.swap_remove(at);
        }
        self.rows.push((table, id.clone()));
        id
    }

    fn organisation(&mut self) -> String {
        organisation(self.random.below(ORGANISATIONS as u64) as usize)
    }
}

/// The name of an organisation.
fn organisation(number: usize) -> String {
    format!("o{number}")
}

/// A time from now on, as a column holds it.
fn moment(now: Time, after_ms: u64) -> schema::Value {
    text(&schema::moment(now.unix_us() / 1_000 + after_ms))
}

#[cfg(test)]
mod tests;

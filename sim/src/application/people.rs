//! People: who belongs to which organisation, who is logged in, and what takes that away.

use super::{ORGANISATIONS, moment, organisation};
use crate::postgres::schema::{
    MEMBER, ORGANIZATION, REVOCATION, Row, SESSION, TableId, USER, text,
};
use crate::postgres::{Postgres, Refusal, Xid};
use crate::random::Random;
use crate::time::Time;

/// How many users there are: `u0` and so on.
const USERS: usize = 10;

/// How many sessions of a person are remembered, those that have ended among them.
const TOKENS_MAX: usize = 6;

/// A person, as far as somebody knows who wants to open a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user.
    pub user: String,
    /// Sessions, the newest last. Some may have ended, or may never have begun.
    pub tokens: Vec<String>,
    /// The organisations that it belongs to, or once did.
    pub organisations: Vec<String>,
}

/// Everybody.
#[derive(Debug)]
pub(super) struct Crowd {
    random: Random,
    people: Vec<Person>,
    /// Organisations that were deleted, and users, to be there again.
    gone: Vec<(TableId, String)>,
    next_member: u64,
    next_session: u64,
    next_revocation: u64,
}

impl Crowd {
    /// Organisations and users, and what is theirs.
    pub(super) fn new(random: Random, now: Time, postgres: &mut Postgres) -> Self {
        let mut crowd = Self {
            random,
            people: Vec::new(),
            gone: Vec::new(),
            next_member: 0,
            next_session: 0,
            next_revocation: 0,
        };
        let written = crowd.settle_down(now, postgres);
        written.expect("nobody else writes yet");
        crowd
    }

    fn settle_down(&mut self, now: Time, postgres: &mut Postgres) -> Result<(), Refusal> {
        let xid = postgres.begin()?;
        for number in 0..ORGANISATIONS {
            self.found(postgres, xid, &organisation(number))?;
        }
        for number in 0..USERS {
            let user = format!("u{number}");
            let row: Row = [text(&user), text("f")].into();
            postgres.insert(xid, USER, row)?;
        }
        postgres.commit(now, xid, Time(0))?;
        let xid = postgres.begin()?;
        for number in 0..USERS {
            let user = format!("u{number}");
            self.people.push(Person {
                user: user.clone(),
                tokens: Vec::new(),
                organisations: Vec::new(),
            });
            let first = number % ORGANISATIONS;
            self.join(postgres, xid, &user, &organisation(first))?;
            if self.random.chance(400) {
                let second = (first + 1) % ORGANISATIONS;
                self.join(postgres, xid, &user, &organisation(second))?;
            }
            self.begin_session(now, postgres, xid, &user, 3_600_000)?;
        }
        postgres.commit(now, xid, Time(0))
    }

    pub(super) fn people(&self) -> &[Person] {
        &self.people
    }

    pub(super) fn any_user(&self, random: &mut Random) -> String {
        random.pick(&self.people).user.clone()
    }

    pub(super) fn log_in(
        &mut self,
        now: Time,
        postgres: &mut Postgres,
        user: &str,
    ) -> Option<String> {
        postgres.row(USER, user)?;
        let xid = postgres.begin().ok()?;
        let lasts_ms = self.random.log_uniform(5_000..=3_600_000);
        let token = self
            .begin_session(now, postgres, xid, user, lasts_ms)
            .ok()?;
        postgres.commit(now, xid, Time(0)).ok()?;
        Some(token)
    }

    /// Changes something about somebody.
    pub(super) fn change(
        &mut self,
        now: Time,
        postgres: &mut Postgres,
        xid: Xid,
    ) -> Result<(), Refusal> {
        let at = self.random.below(self.people.len() as u64) as usize;
        let user = self.people[at].user.clone();
        let number = self.random.below(ORGANISATIONS as u64) as usize;
        let organisation = organisation(number);
        let done = match self.random.below(100) {
            0..40 => self.come_or_go(postgres, xid, &user, &organisation),
            40..55 => self.change_role(postgres, xid, &user, &organisation),
            55..75 => self.change_session(now, postgres, xid, at),
            75..82 => self.ban(postgres, xid, &user),
            82..86 => self.delete_user(postgres, xid, &user),
            86..89 => self.delete_organisation(postgres, xid, &organisation),
            _ => self.revoke(now, postgres, xid, at, &organisation),
        };
        self.bring_back(now, postgres)?;
        done
    }

    /// Whether anybody could have a stream.
    pub(super) fn is_anybody_left(&self, postgres: &Postgres) -> bool {
        let of = |row: &Row, column: usize| row[column].clone().unwrap_or_default();
        postgres.rows_of(MEMBER).iter().any(|row| {
            let user = postgres.row(USER, &of(row, 1));
            let is_let_in = user.is_some_and(|user| user[1].as_deref() != Some("t"));
            is_let_in && postgres.row(ORGANIZATION, &of(row, 2)).is_some()
        })
    }

    /// Every user is there, and one of every organisation: nobody else would come any more. Whom it makes
    /// are members the next time.
    pub(super) fn begin_anew(&mut self, postgres: &mut Postgres, xid: Xid) -> Result<(), Refusal> {
        for number in 0..ORGANISATIONS {
            let id = organisation(number);
            if postgres.row(ORGANIZATION, &id).is_none() {
                self.found(postgres, xid, &id)?;
            }
        }
        let users: Vec<String> = self.people.iter().map(|it| it.user.clone()).collect();
        for (number, user) in users.iter().enumerate() {
            match postgres.row(USER, user) {
                None => postgres.insert(xid, USER, [text(user), text("f")].into())?,
                Some(_) => postgres.update(xid, USER, user, |row| row[1] = text("f"))?,
            }
            self.join(postgres, xid, user, &organisation(number % ORGANISATIONS))?;
        }
        Ok(())
    }

    /// What was deleted by a transaction that failed is there, whatever is remembered.
    pub(super) fn forget_what_failed(&mut self, postgres: &Postgres) {
        self.gone
            .retain(|(table, id)| postgres.row(*table, id).is_none());
    }

    /// Who is a member goes, and sometimes is back in the same moment; who is none comes.
    fn come_or_go(
        &mut self,
        postgres: &mut Postgres,
        xid: Xid,
        user: &str,
        organisation: &str,
    ) -> Result<(), Refusal> {
        let rows = memberships(postgres, user, organisation);
        if rows.is_empty() {
            return self.join(postgres, xid, user, organisation);
        }
        for row in &rows {
            postgres.delete(xid, MEMBER, row)?;
        }
        if self.random.chance(250) {
            self.join(postgres, xid, user, organisation)?;
        }
        Ok(())
    }

    fn join(
        &mut self,
        postgres: &mut Postgres,
        xid: Xid,
        user: &str,
        organisation: &str,
    ) -> Result<(), Refusal> {
        // What a constraint would refuse.
        let has_organisation = postgres.row(ORGANIZATION, organisation).is_some();
        if !has_organisation || postgres.row(USER, user).is_none() {
            return Ok(());
        }
        self.next_member += 1;
        let id = format!("m{}", self.next_member);
        let role = *self.random.pick(&["admin", "reader"]);
        let row: Row = [&id, user, organisation, role].map(text).into();
        postgres.insert(xid, MEMBER, row)?;
        let mut people = self.people.iter_mut();
        let person = people.find(|person| person.user == user);
        let person = person.expect("everybody is remembered");
        if !person.organisations.iter().any(|it| it == organisation) {
            person.organisations.push(organisation.to_owned());
        }
        Ok(())
    }

    /// Another role, or the same once more, which is no change.
    fn change_role(
        &mut self,
        postgres: &mut Postgres,
        xid: Xid,
        user: &str,
        organisation: &str,
    ) -> Result<(), Refusal> {
        let role = *self.random.pick(&["admin", "reader"]);
        match memberships(postgres, user, organisation).first() {
            Some(row) => postgres.update(xid, MEMBER, row, |row| row[3] = text(role)),
            None => self.join(postgres, xid, user, organisation),
        }
    }

    fn begin_session(
        &mut self,
        now: Time,
        postgres: &mut Postgres,
        xid: Xid,
        user: &str,
        lasts_ms: u64,
    ) -> Result<String, Refusal> {
        self.next_session += 1;
        let token = format!("t{}", self.next_session);
        let row: Row = [text(&token), text(user), moment(now, lasts_ms)].into();
        postgres.insert(xid, SESSION, row)?;
        let mut people = self.people.iter_mut();
        let person = people.find(|person| person.user == user);
        let tokens = &mut person.expect("everybody is remembered").tokens;
        if tokens.len() >= TOKENS_MAX {
            tokens.remove(0);
        }
        tokens.push(token.clone());
        Ok(token)
    }

    /// A session begins, ends, lasts longer, or is said to have ended.
    fn change_session(
        &mut self,
        now: Time,
        postgres: &mut Postgres,
        xid: Xid,
        at: usize,
    ) -> Result<(), Refusal> {
        let user = self.people[at].user.clone();
        let lasts_ms = self.random.log_uniform(5_000..=3_600_000);
        let tokens = &self.people[at].tokens;
        if tokens.is_empty() || self.random.chance(200) {
            if postgres.row(USER, &user).is_none() {
                return Ok(());
            }
            return self
                .begin_session(now, postgres, xid, &user, lasts_ms)
                .map(drop);
        }
        let token = self.random.pick(tokens).clone();
        let changed = match self.random.below(3) {
            0 => postgres.update(xid, SESSION, &token, |row| row[2] = moment(now, lasts_ms)),
            1 => postgres.update(xid, SESSION, &token, |row| {
                row[2] = text("2027-01-01 00:00:00+00")
            }),
            _ => postgres.delete(xid, SESSION, &token),
        };
        forgiving(changed)
    }

    fn ban(&mut self, postgres: &mut Postgres, xid: Xid, user: &str) -> Result<(), Refusal> {
        let changed = postgres.update(xid, USER, user, |row| {
            let is_banned = row[1].as_deref() == Some("t");
            row[1] = text(if is_banned { "f" } else { "t" });
        });
        forgiving(changed)
    }

    /// A user is deleted, with everything that is theirs: before, or after, as the constraints have it.
    fn delete_user(
        &mut self,
        postgres: &mut Postgres,
        xid: Xid,
        user: &str,
    ) -> Result<(), Refusal> {
        if postgres.row(USER, user).is_none() {
            return Ok(());
        }
        let is_first = self.random.chance(500);
        if is_first {
            forgiving(postgres.delete(xid, USER, user))?;
        }
        for (table, column) in [(MEMBER, 1), (SESSION, 1)] {
            for row in postgres.rows_of(table) {
                if row[column].as_deref() == Some(user) {
                    let id = row[0].as_deref().unwrap_or_default();
                    forgiving(postgres.delete(xid, table, id))?;
                }
            }
        }
        if !is_first {
            forgiving(postgres.delete(xid, USER, user))?;
        }
        self.gone.push((USER, user.to_owned()));
        Ok(())
    }

    fn delete_organisation(
        &mut self,
        postgres: &mut Postgres,
        xid: Xid,
        organisation: &str,
    ) -> Result<(), Refusal> {
        if postgres.row(ORGANIZATION, organisation).is_none() {
            return Ok(());
        }
        let is_first = self.random.chance(500);
        if is_first {
            forgiving(postgres.delete(xid, ORGANIZATION, organisation))?;
        }
        for row in postgres.rows_of(MEMBER) {
            if row[2].as_deref() == Some(organisation) {
                let id = row[0].as_deref().unwrap_or_default();
                forgiving(postgres.delete(xid, MEMBER, id))?;
            }
        }
        if !is_first {
            forgiving(postgres.delete(xid, ORGANIZATION, organisation))?;
        }
        self.gone.push((ORGANIZATION, organisation.to_owned()));
        Ok(())
    }

    fn found(&mut self, postgres: &mut Postgres, xid: Xid, id: &str) -> Result<(), Refusal> {
        let row: Row = [id, "an organisation"].map(text).into();
        postgres.insert(xid, ORGANIZATION, row)
    }

    /// Somebody who was deleted is there again, in a transaction that is none of theirs who deleted.
    fn bring_back(&mut self, now: Time, postgres: &mut Postgres) -> Result<(), Refusal> {
        let Some(at) = self
            .gone
            .iter()
            .position(|(table, id)| postgres.row(*table, id).is_none())
        else {
            return Ok(());
        };
        if !self.random.chance(300) {
            return Ok(());
        }
        let (table, id) = self.gone[at].clone();
        let xid = postgres.begin()?;
        let back = match table {
            USER => postgres.insert(xid, USER, [text(&id), text("f")].into()),
            _ => self.found(postgres, xid, &id),
        };
        if back.is_err() {
            return postgres.abort(xid);
        }
        self.gone.remove(at);
        postgres.commit(now, xid, Time(0))?;
        if table == USER {
            return Ok(());
        }
        let first = self.random.below(self.people.len() as u64) as usize;
        let first = self.people[first].user.clone();
        let xid = postgres.begin()?;
        self.join(postgres, xid, &first, &id)?;
        postgres.commit(now, xid, Time(0))
    }

    /// A row of the table of revocations, or one less.
    fn revoke(
        &mut self,
        now: Time,
        postgres: &mut Postgres,
        xid: Xid,
        at: usize,
        organisation: &str,
    ) -> Result<(), Refusal> {
        if self.next_revocation > 0 && self.random.chance(300) {
            let number = 1 + self.random.below(self.next_revocation);
            return forgiving(postgres.delete(xid, REVOCATION, &format!("v{number}")));
        }
        self.next_revocation += 1;
        let id = format!("v{}", self.next_revocation);
        let person = &self.people[at];
        let session = person.tokens.last().map(String::as_str);
        let (user, session, organisation) = match self.random.below(8) {
            0..3 => (Some(person.user.as_str()), None, None),
            3..5 => (None, session.or(Some("nobody's")), None),
            5..7 => (Some(person.user.as_str()), None, Some(organisation)),
            _ => (None, None, Some(organisation)),
        };
        let issued_before = self.random.chance(300).then(|| moment(now, 0)).flatten();
        let until = moment(now, self.random.log_uniform(500..=10_000));
        let row: Row = [
            text(&id),
            user.and_then(text),
            session.and_then(text),
            organisation.and_then(text),
            issued_before,
            until,
        ]
        .into();
        postgres.insert(xid, REVOCATION, row)
    }
}

/// The rows by which somebody is a member, as a statement sees them.
fn memberships(postgres: &Postgres, user: &str, organisation: &str) -> Vec<String> {
    let rows = postgres.rows_of(MEMBER).into_iter();
    let rows = rows
        .filter(|row| row[1].as_deref() == Some(user) && row[2].as_deref() == Some(organisation));
    rows.filter_map(|row| row[0].as_deref().map(str::to_owned))
        .collect()
}

/// A row that somebody else is at, or that is gone, is left alone.
fn forgiving(done: Result<(), Refusal>) -> Result<(), Refusal> {
    match done {
        Err(Refusal::Gone) => Err(Refusal::Gone),
        _ => Ok(()),
    }
}

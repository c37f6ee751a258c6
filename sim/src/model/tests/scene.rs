//! A small log that is written by hand, and what a client is rightly told of it.

use crate::model::{Asked, Fault, Model, Position, Stream, Verdict, Viewer, render};
use crate::postgres::schema::{
    MEMBER, ORGANIZATION, PROPERTY, REPORT, Row, SESSION, USER, moment, text,
};
use crate::postgres::{Postgres, Record, Xid};
use crate::random::Random;
use crate::swarm::Swarm;
use crate::time::Time;

/// Two organisations; `u0` administrates the first, `u1` reads in it and `u2` in the other.
pub(crate) struct Scene {
    pub(crate) postgres: Postgres,
    pub(crate) now: Time,
    pub(super) batch_over: u32,
    next: u32,
}

/// What a client is told of one event.
pub(super) type Told = (Position, String);

impl Scene {
    pub(crate) fn new() -> Self {
        let mut random = Random::new(11);
        let swarm = Swarm::draw(&mut random);
        let postgres = Postgres::new(random, &swarm.database, Time(0));
        let mut scene = Self {
            postgres,
            now: Time(0),
            batch_over: 0,
            next: 0,
        };
        scene.write(|postgres, xid| {
            for organisation in ["o0", "o1"] {
                let row: Row = [organisation, "an organisation"].map(text).into();
                postgres.insert(xid, ORGANIZATION, row).unwrap();
            }
            for (user, organisation, role) in [
                ("u0", "o0", "admin"),
                ("u1", "o0", "reader"),
                ("u2", "o1", "reader"),
            ] {
                let row: Row = [user, "f"].map(text).into();
                postgres.insert(xid, USER, row).unwrap();
                let member: Row = [format!("m-{user}").as_str(), user, organisation, role]
                    .map(text)
                    .into();
                postgres.insert(xid, MEMBER, member).unwrap();
                let expires = moment(1_900_000_000_000);
                let session: Row = [format!("t-{user}").as_str(), user, expires.as_str()]
                    .map(text)
                    .into();
                postgres.insert(xid, SESSION, session).unwrap();
            }
        });
        scene
    }

    /// Writes a transaction.
    pub(crate) fn write(&mut self, changes: impl FnOnce(&mut Postgres, Xid)) {
        self.now = self.now + Time::from_ms(10);
        let xid = self.postgres.begin().unwrap();
        changes(&mut self.postgres, xid);
        self.postgres.commit(self.now, xid, Time(0)).unwrap();
    }

    /// Writes rows of an organisation, in one transaction.
    pub(crate) fn rows(&mut self, organisation: &str, count: u32) {
        let ids: Vec<u32> = (0..count).map(|at| self.next + at).collect();
        self.next += count;
        self.write(|postgres, xid| {
            for id in ids {
                let row = property(&format!("p{id}"), organisation, "a name");
                postgres.insert(xid, PROPERTY, row).unwrap();
            }
        });
    }

    /// Makes a user a member, and returns where.
    pub(super) fn join(&mut self, user: &str, organisation: &str) -> Position {
        self.write(|postgres, xid| {
            let row: Row = ["m-late", user, organisation, "reader"].map(text).into();
            postgres.insert(xid, MEMBER, row).unwrap();
        });
        let Some(Record::Transaction(written)) = self.postgres.log().records().last() else {
            panic!("it was committed");
        };
        Position {
            lsn: written.commit,
            index: 1,
            ..self.end()
        }
    }

    pub(super) fn report(&mut self, organisation: &str) {
        self.next += 1;
        let id = format!("r{}", self.next);
        self.write(|postgres, xid| {
            let row: Row = [&id, organisation, "figures"].map(text).into();
            postgres.insert(xid, REPORT, row).unwrap();
        });
    }

    pub(crate) fn model(&self) -> Model {
        let mut model = Model::new(self.batch_over, 300_000);
        model.follow(self.postgres.log());
        model
    }

    pub(crate) fn end(&self) -> Position {
        self.model().end()
    }

    /// All that a viewer is rightly told behind a position.
    pub(super) fn told(&self, viewer: &Viewer, after: Position) -> Vec<Told> {
        let model = self.model();
        let roles = model.roles_at(viewer, after).expect("it has a right");
        let mut told = Vec::new();
        let mut at = after;
        while let Some(event) = model.next_after(viewer, roles, at) {
            at = event.position;
            told.push((at, render::event(event, &id(at), false)));
        }
        told
    }

    /// A stream that begins at a position.
    pub(super) fn live(&self, viewer: &Viewer, at: Position) -> Stream {
        let mut stream = Stream::new(viewer.clone(), Asked::Live);
        stream
            .connected(&self.model(), &id(at), Verdict::Live)
            .unwrap();
        stream
    }

    /// Tells a stream events.
    pub(super) fn tell(&self, stream: &mut Stream, told: &[Told]) -> Result<(), Fault> {
        let model = self.model();
        told.iter()
            .try_for_each(|(at, data)| stream.event(&model, &id(*at), data))
    }
}

pub(super) fn property(id: &str, organisation: &str, name: &str) -> Row {
    [
        Some(id),
        Some(organisation),
        Some(name),
        None,
        Some("7"),
        Some("t"),
    ]
    .map(|it| it.and_then(text))
    .into()
}

pub(crate) fn viewer(user: &str, organisation: &str) -> Viewer {
    Viewer {
        user: user.to_owned(),
        organisation: organisation.to_owned(),
        session: format!("t-{user}"),
        ..Viewer::default()
    }
}

pub(crate) fn id(at: Position) -> String {
    format!("ab.{at}")
}

/// Whether something is wrong, and it is this.
#[track_caller]
pub(super) fn assert_fault<T: std::fmt::Debug>(told: Result<T, Fault>, words: &str) {
    let fault = told.expect_err("something is wrong");
    assert!(
        fault.0.contains(words),
        "{words:?} is not what it says: {fault}"
    );
}

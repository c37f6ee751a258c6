//! What the real reader makes of a log is what the model expects of it: the reader's batches are dealt out to
//! viewers as simply as can be, and judged.

use wire::{Batch, EventId, Frame, Keys, Revocation, RevocationScope, Topic};

use super::scene::assert_fault;
use crate::application::Application;
use crate::model::{Asked, Fault, Model, Position, Stream, Verdict, Viewer};
use crate::postgres::Postgres;
use crate::postgres::testing::World;
use crate::random::Random;
use crate::swarm::Swarm;
use crate::time::Time;

/// The window within which a message with an id counts once, in milliseconds.
const WINDOW_MS: u64 = 300_000;

/// Somebody who has a stream whenever there is a right to one.
struct Client {
    viewer: Viewer,
    stream: Option<Stream>,
}

/// The clients of a node that has one engine, which sends everything at once.
struct Clients {
    keys: Keys,
    clients: Vec<Client>,
    model: Model,
    applied: Option<EventId>,
    told: usize,
    batched: usize,
    revoked: usize,
}

impl Clients {
    fn new(batch_over: u32) -> Self {
        let pairs = (0..10).flat_map(|user| (0..3).map(move |of| (user, of)));
        let clients = pairs.map(|(user, of)| Client {
            viewer: Viewer {
                user: format!("u{user}"),
                organisation: format!("o{of}"),
                ..Viewer::default()
            },
            stream: None,
        });
        Self {
            keys: Keys::new([7; 16]),
            clients: clients.collect(),
            model: Model::new(batch_over, WINDOW_MS),
            applied: None,
            told: 0,
            batched: 0,
            revoked: 0,
        }
    }

    fn take(&mut self, batch: &Batch) -> Result<(), Fault> {
        match batch {
            Batch::Commit(commit) => {
                for frame in &commit.frames {
                    self.tell(frame)?;
                }
                self.on_applied(commit.through)
            }
            Batch::Progress(position) => self.on_applied(*position),
            Batch::Revoke(revocation) => {
                self.revoke(revocation);
                Ok(())
            }
            Batch::Gap(gap) => {
                self.applied = Some(gap.floor);
                for client in &mut self.clients {
                    if let Some(stream) = &mut client.stream {
                        stream.reset(&self.model, &gap.floor.to_string())?;
                    }
                }
                Ok(())
            }
            Batch::Start(start) => {
                self.applied.get_or_insert(start.floor);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn tell(&mut self, frame: &Frame) -> Result<(), Fault> {
        let (id, data) = (frame.id().to_string(), std::str::from_utf8(frame.json()));
        let data = data.expect("JSON is text");
        let audience = frame.audience();
        for Client { viewer, stream } in &mut self.clients {
            let organisation = self.keys.organisation(&viewer.organisation);
            let is_addressed = match audience.topic {
                Topic::Global => true,
                Topic::Organisation(of) => of == organisation,
                Topic::User(user) => user == self.keys.user(&viewer.user),
            };
            let is_within = audience.within.is_none_or(|within| within == organisation);
            let Some(stream) = stream.as_mut().filter(|_| is_addressed && is_within) else {
                continue;
            };
            let last = stream.last_id().expect("it is connected");
            let roles = self.model.roles_at(viewer, last);
            if audience.roles.is_some() && !roles.is_some_and(|roles| roles.sees_reports()) {
                continue;
            }
            stream.event(&self.model, &id, data)?;
            self.told += 1;
            self.batched += usize::from(frame.event_type().ends_with(".batch"));
        }
        Ok(())
    }

    fn on_applied(&mut self, position: EventId) -> Result<(), Fault> {
        self.applied = Some(position);
        for client in &mut self.clients {
            if let Some(stream) = &mut client.stream {
                stream.heartbeat(&self.model, &position.to_string())?;
            }
        }
        Ok(())
    }

    fn revoke(&mut self, revocation: &Revocation) {
        for Client { viewer, stream } in &mut self.clients {
            let user = self.keys.user(&viewer.user);
            let organisation = self.keys.organisation(&viewer.organisation);
            let is_meant = match revocation.scope {
                RevocationScope::Member {
                    user: of,
                    organisation: within,
                } => (of, within) == (user, organisation),
                RevocationScope::User(of) => of == user,
                RevocationScope::Organisation(of) => of == organisation,
                RevocationScope::Session(_) => false,
                RevocationScope::Everybody => true,
            };
            if is_meant && stream.take().is_some() {
                self.revoked += 1;
            }
        }
    }

    /// Opens streams for all who have none and may have one.
    fn connect(&mut self) -> Result<(), Fault> {
        let Some(applied) = self.applied.filter(|applied| applied.index == 0) else {
            return Ok(());
        };
        let id = applied.to_string();
        let (_, at) = Position::parse(&id).expect("it is an id");
        for Client { viewer, stream } in &mut self.clients {
            if stream.is_none() && self.model.has_right(viewer, at) {
                let mut opened = Stream::new(viewer.clone(), Asked::Live);
                opened.connected(&self.model, &id, Verdict::Live)?;
                *stream = Some(opened);
            }
        }
        Ok(())
    }
}

/// What a seed's world came to.
struct Outcome {
    clients: Clients,
    fault: Option<Fault>,
    gaps: usize,
}

/// Lets an application write, a reader read, and the server go wrong, and judges what clients are told.
/// `spoil` may do something to each batch.
fn play(seed: u64, trouble: bool, mut spoil: impl FnMut(&Batch) -> Option<Batch>) -> Outcome {
    let mut random = Random::new(seed);
    let mut swarm = Swarm::draw(&mut random);
    swarm.writers.transaction_ms = 100;
    swarm.writers.people = 150;
    let batch_over = swarm.writers.batch_over;
    let mut postgres = Postgres::new(random.fork(), &swarm.database, Time(0));
    postgres.set_reader(batch_over, WINDOW_MS);
    let mut application = Application::new(random.fork(), &swarm.writers, Time(0), &mut postgres);
    let mut world = World::of(postgres, seed);
    world.until("ready", |world| world.reader.status(world.now.ms()).ready);
    let mut clients = Clients::new(batch_over);
    let (mut taken, mut next) = (0, world.now);
    let mut fault = None;
    for step in 0..600_u32 {
        let is_calm = step >= 400;
        while next <= world.now {
            match application.step(next, &mut world.postgres, is_calm) {
                Some(at) => next = at,
                None => break,
            }
        }
        if trouble && step % 120 == 100 && !is_calm {
            go_wrong(&mut random, &mut world);
        }
        world.step();
        clients.model.follow(world.postgres.log());
        for batch in &world.batches[taken..] {
            let spoilt = spoil(batch);
            if fault.is_none() {
                fault = clients.take(spoilt.as_ref().unwrap_or(batch)).err();
            }
        }
        taken = world.batches.len();
        if fault.is_none() && world.reader.memberships().ready {
            fault = clients.connect().err();
        }
    }
    for client in &clients.clients {
        if let Some(stream) = client.stream.as_ref().filter(|_| fault.is_none()) {
            fault = stream.complete(&clients.model).err();
        }
    }
    let gaps = world.gaps().len();
    Outcome {
        clients,
        fault,
        gaps,
    }
}

fn go_wrong(random: &mut Random, world: &mut World) {
    let (now, back_at) = (world.now, world.now + Time::from_ms(200));
    match random.below(5) {
        0 => world.postgres.crash(now, back_at),
        1 => world.postgres.shut_down(now, back_at),
        2 => world.postgres.invalidate_slots(now),
        3 => world.postgres.drop_slot(now),
        _ => {
            let lost = random.below(4) as u32;
            world.postgres.fail_over(now, back_at, lost, true);
        }
    }
}

#[test]
fn what_the_reader_hands_over_is_what_the_model_expects() {
    let (mut told, mut batched, mut revoked) = (0, 0, 0);
    for seed in 0..20 {
        let outcome = play(seed, false, |_| None);
        assert_eq!(outcome.fault, None, "seed {seed}");
        assert_eq!(outcome.gaps, 0, "seed {seed}");
        told += outcome.clients.told;
        batched += outcome.clients.batched;
        revoked += outcome.clients.revoked;
    }
    assert!(
        told > 20_000 && batched > 50 && revoked > 100,
        "{told} {batched} {revoked}"
    );
}

#[test]
fn it_is_so_whatever_befalls_the_server() {
    let (mut told, mut gaps) = (0, 0);
    for seed in 100..120 {
        let outcome = play(seed, true, |_| None);
        assert_eq!(outcome.fault, None, "seed {seed}");
        told += outcome.clients.told;
        gaps += outcome.gaps;
    }
    assert!(told > 5_000 && gaps > 5, "{told} {gaps}");
}

/// A batch with one frame less.
fn without_a_frame(batch: &Batch) -> Option<Batch> {
    let Batch::Commit(commit) = batch else {
        return None;
    };
    let mut commit = wire::Commit::clone(commit);
    let is_of_organisation =
        |frame: &Frame| matches!(frame.audience().topic, Topic::Organisation(_));
    let at = commit.frames.iter().position(is_of_organisation)?;
    commit.frames.remove(at);
    Some(Batch::Commit(commit.into()))
}

#[test]
fn a_reader_that_loses_an_event_or_forgets_a_revocation_is_found() {
    for seed in 0..5 {
        let mut count = 0;
        let lossy = play(seed, false, |batch| {
            count += 1;
            if count > 100 {
                without_a_frame(batch)
            } else {
                None
            }
        });
        assert_fault(lossy.fault.map_or(Ok(()), Err), "misses");
        let forgetful = play(seed, false, |batch| {
            let nothing = RevocationScope::Session(Keys::new([1; 16]).session("nobody's"));
            let Batch::Revoke(revocation) = batch else {
                return None;
            };
            Some(Batch::Revoke(Revocation {
                scope: nothing,
                ..revocation.clone()
            }))
        });
        assert_fault(forgetful.fault.map_or(Ok(()), Err), "lost its right");
    }
}

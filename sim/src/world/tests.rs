//! The checks of a world fail where they should: each is shown what it is for.

use engine::Command;
use wire::Lsn;

use super::{Phase, World};
use crate::node::Order;
use crate::time::Time;
use crate::trace::Trace;

/// A world that has come to its end, and of which nothing is left.
fn ended() -> World {
    let mut world = World::new(1, Trace::default());
    world.run().expect("the seed is a good one");
    world
}

#[test]
fn whatever_is_left_at_the_end_is_found() {
    let mut world = ended();
    assert_eq!(world.check_nothing_left(), Ok(()));

    let line = world.database.connect(world.now).expect("it is up");
    let found = world.check_nothing_left().unwrap_err();
    assert!(found.contains("1 connections and 0 slots"), "{found}");
    world.database.hang_up(world.now, line);

    let alive = world.nodes[0].alive.as_mut().expect("it runs");
    alive.orders.push_back(Order::CloseUsers);
    let found = world.check_nothing_left().unwrap_err();
    assert!(found.contains("has not handed over"), "{found}");

    let alive = world.nodes[0].alive.as_mut().expect("it runs");
    alive.orders.clear();
    alive.cores[0].at = None;
    alive.cores[0].commands.push_back(Command::Flushed(Lsn(1)));
    let found = world.check_nothing_left().unwrap_err();
    assert!(found.contains("(0, 1, 0) batches, commands"), "{found}");
}

#[test]
fn streams_that_are_not_told_that_their_node_ends_are_found() {
    let mut world = World::new(1, Trace::default());
    world.pass(Time::from_ms(5_000)).expect("it begins well");
    world.begin_calm();
    world.pass(Time::from_ms(20_000)).expect("it goes on well");
    let now = world.now;
    for node in &mut world.nodes {
        // As if everybody had been told.
        for core in &mut node.alive.as_mut().expect("it runs").cores {
            core.farewells = Some((now, now));
        }
    }
    let found = world.pass(Time::from_ms(60_000)).unwrap_err();
    assert!(
        found.contains("although its node ends, and has told everybody"),
        "{found}"
    );
}

#[test]
fn whose_right_has_ended_by_what_its_engine_applied_is_to_end() {
    let mut world = World::new(1, Trace::default());
    world.pass(Time::from_ms(5_000)).expect("it begins well");
    world.begin_calm();
    world.pass(Time::from_ms(20_000)).expect("it goes on well");
    assert_eq!(world.phase, Phase::Calm);
    let stream = world.clients.iter().find_map(|it| it.stream.as_ref());
    let stream = stream.expect("somebody has a stream");
    let connection = &world.network.connections[stream.connection as usize];
    let alive = world.nodes[connection.node as usize].alive.as_deref();
    let shelf = &alive.expect("it runs").cores[connection.core as usize].shelf;
    let handle = connection.handle.expect("it was accepted");
    let admitted = shelf.admitted(handle.slot, handle.generation);
    let admitted = admitted.expect("it was let in");
    let applied = shelf.applied().map(crate::clients::position);
    assert_eq!(world.lost_right(stream, admitted, applied), None);

    let session = stream.oracle.viewer().session.clone();
    let xid = world.database.begin().expect("it is up");
    let deleted = world
        .database
        .delete(xid, crate::postgres::schema::SESSION, &session);
    deleted.expect("nobody else is at it");
    let committed = world.database.commit(world.now, xid, Time(0));
    committed.expect("it is up");
    world.model.follow(world.database.log());
    // Not before it is applied.
    assert_eq!(world.lost_right(stream, admitted, applied), None);
    let applied = Some(world.model.end());
    let why = world.lost_right(stream, admitted, applied);
    assert!(why.is_some_and(|why| why.contains("has lost its right")));
}

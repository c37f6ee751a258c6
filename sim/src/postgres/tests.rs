//! The cluster before the real reader: what it says is understood, and what befalls it is noticed.

use replication::{Admission, Question, Wanted};
use wire::{GapReason, Keys};

use super::schema::{self, MEMBER, ORGANIZATION, PROPERTY, Row, text};
use super::testing::World;
use crate::time::Time;

#[test]
fn a_reader_streams_what_is_committed_and_nothing_else() {
    for seed in 0..20 {
        let mut world = World::streaming(seed);
        let aborted = world.postgres.begin().unwrap();
        let row = world.property("aborted");
        world.postgres.insert(aborted, PROPERTY, row).unwrap();
        world.insert(&["a", "b"]);
        world.postgres.abort(aborted).unwrap();
        world.insert(&["c"]);
        world.until("read", |world| world.names() == ["a", "b", "c"]);
        assert_eq!(world.gaps(), []);
    }
}

#[test]
fn transactions_come_in_the_order_of_their_commits_and_prepared_ones_when_they_are_committed() {
    let mut world = World::streaming(1);
    let [first, second] = [
        world.postgres.begin().unwrap(),
        world.postgres.begin().unwrap(),
    ];
    for (xid, name) in [(first, "first"), (second, "second")] {
        let row = world.property(name);
        world.postgres.insert(xid, PROPERTY, row).unwrap();
    }
    let savepoint = world.postgres.savepoint(first).unwrap();
    let row = world.property("rolled back");
    world.postgres.insert(first, PROPERTY, row).unwrap();
    world.postgres.roll_back_to(first, savepoint).unwrap();
    world.postgres.prepare(first).unwrap();
    world.postgres.commit(world.now, second, Time(0)).unwrap();
    world.until("second", |world| world.names() == ["second"]);
    // It outlives the server.
    let back_at = world.now + Time::from_ms(300);
    world.postgres.crash(world.now, back_at);
    world.pass(1_000);
    world.postgres.commit(world.now, first, Time(0)).unwrap();
    world.until("both", |world| world.names() == ["second", "first"]);
}

#[test]
fn who_is_a_member_is_read_by_what_a_snapshot_sees() {
    let mut world = World::new(2);
    let xid = world.postgres.begin().unwrap();
    let organisation: Row = ["o0", "Acme"].map(text).into();
    world
        .postgres
        .insert(xid, ORGANIZATION, organisation)
        .unwrap();
    let member: Row = ["m0", "u0", "o0", "admin"].map(text).into();
    world.postgres.insert(xid, MEMBER, member).unwrap();
    world.postgres.commit(world.now, xid, Time(0)).unwrap();
    let open = world.postgres.begin().unwrap();
    let member: Row = ["m1", "u1", "o0", "reader"].map(text).into();
    world.postgres.insert(open, MEMBER, member).unwrap();
    // The slot waits for it, and the reader tries again and again.
    world.pass(6_000);
    assert!(!world.reader.status(world.now.ms()).ready);
    world
        .postgres
        .commit(world.now, open, Time::from_ms(700))
        .unwrap();
    world.until("ready", |world| world.reader.memberships().ready);
    assert_eq!(world.reader.memberships().count, 2);
}

#[test]
fn a_crash_sets_slots_back_and_nothing_is_lost_or_repeated() {
    for seed in 0..10 {
        let mut world = World::streaming(seed);
        world.insert(&["a"]);
        world.pass(2_000);
        world.insert(&["b"]);
        let back_at = world.now + Time::from_ms(500);
        world.postgres.crash(world.now, back_at);
        world.pass(1_000);
        world.insert(&["c"]);
        world.until("read", |world| world.names().len() >= 3);
        world.pass(2_000);
        assert_eq!(
            (world.names().as_slice(), world.gaps()),
            (&["a", "b", "c"].map(String::from)[..], vec![])
        );
    }
}

#[test]
fn a_server_that_stops_waits_for_its_reader_and_is_let_go() {
    for seed in 0..10 {
        let mut world = World::streaming(seed);
        world.insert(&["a"]);
        let back_at = world.now + Time::from_ms(400);
        world.postgres.shut_down(world.now, back_at);
        world.until("down", |world| !world.postgres.is_up());
        world.until("up", |world| world.postgres.is_up());
        assert!(
            world.now.ms() < back_at.ms() + 1_000,
            "it did not wait for ever"
        );
        world.insert(&["b"]);
        world.until("read", |world| world.names() == ["a", "b"]);
        assert_eq!(world.gaps(), []);
    }
}

#[test]
fn who_gives_no_sign_of_life_is_dropped() {
    let mut world = World::streaming(3);
    let stream = world.lines[0].unwrap();
    let begun = world.now;
    while !world.postgres.is_closed(stream) {
        world.now = world.now + Time::from_ms(100);
        world.postgres.handle_timeout(world.now);
        assert!(
            world.now.since(begun).ms() < 13_000,
            "for longer than its patience"
        );
    }
    assert!(
        world.now.since(begun).ms() > 11_000,
        "before its patience ended"
    );
}

#[test]
fn a_reader_that_takes_nothing_keeps_the_rest_in_the_server() {
    let mut world = World::streaming(4);
    world.is_full = true;
    for _ in 0..100 {
        world.insert(&["x"; 20]);
    }
    world.pass(30_000);
    let stream = world.lines[0].unwrap();
    assert!(!world.postgres.is_closed(stream), "it answers");
    let len = world.postgres.outbox(world.now, stream).len();
    assert!(
        (64 * 1024..80 * 1024).contains(&len),
        "{len} wait in the socket"
    );
    world.is_full = false;
    world.until("read", |world| world.names().len() == 2_000);
    assert_eq!(
        (world.gaps(), world.reader.status(world.now.ms()).reconnects),
        (vec![], 0)
    );
}

#[test]
fn lost_slots_are_a_gap_only_where_the_stream_is_lost_too() {
    let mut world = World::streaming(5);
    world.insert(&["a"]);
    world.until("read", |world| world.names() == ["a"]);
    world.postgres.drop_slot(world.now);
    world.until("made anew", |world| {
        world.reader.status(world.now.ms()).anchors_lost == 1
    });
    world.insert(&["b"]);
    world.until("read", |world| world.names() == ["a", "b"]);
    assert_eq!(world.gaps(), []);
    world.pass(5_000);
    world.postgres.invalidate_slots(world.now);
    world.insert(&["lost"]);
    world.until("a gap", |world| world.gaps() == [GapReason::SlotLost]);
    world.insert(&["c"]);
    world.until("read", |world| world.names() == ["a", "b", "c"]);
}

#[test]
fn another_server_goes_on_where_it_was_or_says_that_history_changed() {
    let mut gaps = 0;
    for seed in 0..20 {
        let mut world = World::streaming(seed);
        world.insert(&["a"]);
        world.insert(&["b"]);
        world.until("read", |world| world.names() == ["a", "b"]);
        world.pass(1_500);
        let lost = (seed % 2) as u32;
        let back_at = world.now + Time::from_ms(100);
        world.postgres.fail_over(world.now, back_at, lost, true);
        world.pass(4_000);
        world.insert(&["c"]);
        let last = |world: &World| world.names().last().is_some_and(|name| name == "c");
        world.until("read", last);
        // Where something was lost that was read, what is left is told anew behind a gap.
        let is_gap = !world.gaps().is_empty();
        let expected: &[&str] = match (lost, is_gap) {
            (0, false) => &["a", "b", "c"],
            (0, true) => &["a", "b", "a", "b", "c"],
            _ => &["a", "b", "a", "c"],
        };
        assert_eq!(world.names(), expected, "seed {seed}");
        assert!(is_gap || lost == 0, "seed {seed}");
        gaps += world.gaps().len();
        let is_known = |gap: &GapReason| *gap == GapReason::HistoryChanged;
        assert!(world.gaps().iter().all(is_known), "seed {seed}");
    }
    assert!(
        (10..20).contains(&gaps),
        "{gaps} of 20 were told of another history"
    );
}

/// Whether a user is let into the first organisation, by what the reader knows.
fn admission(world: &World, user: &str) -> Admission {
    let keys = Keys::new([7; 16]);
    let now_ms = world.now.ms();
    let question = Question {
        user: user.to_owned(),
        session: keys.session("s"),
        issued_ms: None,
        organisation: Wanted::Named("o0".to_owned()),
        judged: world.reader.applied().expect("something was"),
        judged_ms: now_ms,
        claims: None,
    };
    world.reader.admit(&question, now_ms, now_ms)
}

/// What a snapshot has seen may be lost where the stream has not come, and what comes in its place has the same
/// numbers, at places that the snapshot is behind.
#[test]
fn members_that_another_server_never_had_are_not_let_in() {
    let mut reused = 0;
    for seed in 0..10 {
        let mut world = World::streaming(seed);
        let member = |id: &str, user: &str| -> Row { [id, user, "o0", "reader"].map(text).into() };
        let xid = world.postgres.begin().unwrap();
        let organisation: Row = ["o0", "Acme"].map(text).into();
        world
            .postgres
            .insert(xid, ORGANIZATION, organisation)
            .unwrap();
        world
            .postgres
            .insert(xid, MEMBER, member("m0", "u0"))
            .unwrap();
        world.postgres.commit(world.now, xid, Time(0)).unwrap();
        world.pass(2_000);
        assert!(matches!(admission(&world, "u0"), Admission::Admitted(_)));
        let lost = world.postgres.begin().unwrap();
        world
            .postgres
            .insert(lost, MEMBER, member("m1", "u1"))
            .unwrap();
        world.postgres.commit(world.now, lost, Time(0)).unwrap();
        // Of this the next reader knows by its snapshot alone.
        world.begin_anew(seed + 100);
        world.is_deaf = true;
        world.until("members", |world| world.reader.memberships().loads == 1);
        world.postgres.fail_over(world.now, world.now, 1, true);
        world.postgres.handle_timeout(world.now);
        let again = world.postgres.begin().unwrap();
        reused += usize::from(again == lost);
        world.postgres.delete(again, MEMBER, "m0").unwrap();
        world.postgres.commit(world.now, again, Time(0)).unwrap();
        world.is_deaf = false;
        world.insert(&["a"]);
        world.until("ready", |world| {
            world.reader.status(world.now.ms()).ready && world.names() == ["a"]
        });
        assert_eq!(world.gaps(), [], "it goes on where it was");
        for user in ["u0", "u1"] {
            let verdict = admission(&world, user);
            assert_eq!(verdict, Admission::NotAMember, "{user}, seed {seed}");
        }
    }
    assert!(reused > 0, "no number was given out twice");
}

#[test]
fn a_row_has_one_writer_at_a_time_and_is_seen_when_that_has_ended() {
    let mut world = World::new(6);
    world.insert(&["a"]);
    let postgres = &mut world.postgres;
    let [one, other] = [postgres.begin().unwrap(), postgres.begin().unwrap()];
    postgres
        .update(one, PROPERTY, "p1", |row| row[2] = text("b"))
        .unwrap();
    let refused = postgres.delete(other, PROPERTY, "p1");
    assert_eq!(refused, Err(super::Refusal::Locked));
    assert_eq!(postgres.row(PROPERTY, "p1").unwrap()[2], text("a"));
    postgres.commit(Time(0), one, Time::from_ms(500)).unwrap();
    assert_eq!(
        postgres.row(PROPERTY, "p1").unwrap()[2],
        text("a"),
        "not yet"
    );
    postgres.settle(Time::from_ms(501));
    assert_eq!(postgres.row(PROPERTY, "p1").unwrap()[2], text("b"));
    postgres.delete(other, PROPERTY, "p1").unwrap();
    postgres.abort(other).unwrap();
    assert_eq!(postgres.row(PROPERTY, "p1").unwrap()[2], text("b"));
}

#[test]
fn a_session_is_read_as_it_is_printed() {
    let mut world = World::new(7);
    let xid = world.postgres.begin().unwrap();
    let expires_ms = 1_800_000_123_456;
    let row: Row = [text("t0"), text("u0"), text(&schema::moment(expires_ms))].into();
    world.postgres.insert(xid, schema::SESSION, row).unwrap();
    let user: Row = ["u0", "f"].map(text).into();
    world.postgres.insert(xid, schema::USER, user).unwrap();
    world.postgres.commit(world.now, xid, Time(0)).unwrap();
    let session = world.postgres.session("t0").unwrap().unwrap();
    assert_eq!(
        (session.user.as_str(), session.expires_ms),
        ("u0", expires_ms)
    );
    assert_eq!(world.postgres.session("t1"), Ok(None));
    let xid = world.postgres.begin().unwrap();
    world
        .postgres
        .update(xid, schema::USER, "u0", |row| row[1] = text("t"))
        .unwrap();
    world.postgres.commit(world.now, xid, Time(0)).unwrap();
    assert_eq!(world.postgres.session("t0"), Ok(None), "banned");
}

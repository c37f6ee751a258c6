//! Another server takes over, which lacks what was committed last: who has seen it is reset, and what it took away
//! is there.

use super::scene::{Scene, assert_fault, id, viewer};
use crate::model::{Asked, Position, Stream, Verdict};
use crate::postgres::schema::SESSION;

#[test]
fn who_saw_what_history_has_left_must_be_reset() {
    let mut scene = Scene::new();
    let begin = scene.end();
    scene.rows("o0", 1);
    let kept = scene.end();
    scene.rows("o0", 1);
    let lost = scene.end();
    let viewer = viewer("u1", "o0");
    let before = scene.told(&viewer, begin);
    scene.postgres.fail_over(scene.now, scene.now, 1, true);
    scene.postgres.handle_timeout(scene.now);
    scene.rows("o0", 1);
    let after = scene.told(&viewer, begin);
    assert_eq!((after.len(), &after[0]), (2, &before[0]));
    assert!(scene.model().is_abandoned(before[1].0) && !scene.model().is_abandoned(kept));
    assert_ne!(after[1].0, before[1].0);
    // Who has not seen it goes on; who has may have been told before anybody knew.
    let mut slow = scene.live(&viewer, begin);
    scene.tell(&mut slow, &after).unwrap();
    assert_eq!(slow.complete(&scene.model()), Ok(()));
    let mut quick = scene.live(&viewer, begin);
    scene.tell(&mut quick, &before).unwrap();
    quick.heartbeat(&scene.model(), &id(lost)).unwrap();
    assert_fault(quick.complete(&scene.model()), "history has left");
    assert_fault(scene.tell(&mut quick, &after[1..]), "without a reset");
    let now = scene.end();
    quick.reset(&scene.model(), &id(now)).unwrap();
    assert_eq!(quick.complete(&scene.model()), Ok(()));
    // Who goes on from the new line cannot be told of the old one.
    assert_fault(scene.tell(&mut slow, &before[1..]), "is told");
    // Where nothing ever was, a client may say that it is, until the node hears of the promotion.
    scene.rows("o0", 20);
    let end = scene.end();
    let made_up = |lsn| Position { lsn, ..lost };
    let resume = |at: Position| {
        let mut stream = Stream::new(viewer.clone(), Asked::After(at));
        let told = stream.connected(&scene.model(), &id(at), Verdict::Resumed);
        told.map(|()| stream)
    };
    let ahead = resume(made_up(end.lsn)).unwrap();
    assert_fault(ahead.complete(&scene.model()), "history has left");
    assert_fault(resume(made_up(end.lsn + 8)), "the log ends");
}

#[test]
fn a_session_whose_end_history_has_left_lets_somebody_in() {
    let mut scene = Scene::new();
    let viewer = viewer("u1", "o0");
    scene.write(|postgres, xid| {
        postgres.delete(xid, SESSION, "t-u1").expect("it is there");
    });
    let ended = scene.end();
    let let_in = |scene: &Scene| {
        let mut stream = Stream::new(viewer.clone(), Asked::Live);
        stream.connected(&scene.model(), &id(ended), Verdict::Live)
    };
    assert_fault(let_in(&scene), "the session");
    scene.postgres.fail_over(scene.now, scene.now, 1, true);
    scene.postgres.handle_timeout(scene.now);
    // A node that does not know yet finds the row on the server that has taken over.
    assert_eq!(let_in(&scene), Ok(()));
    scene.write(|postgres, xid| {
        postgres.delete(xid, SESSION, "t-u1").expect("it is there");
    });
    // It may have been there when it was asked for, but for who knows that server.
    assert_eq!(let_in(&scene), Ok(()));
    let end = scene.end();
    let mut late = Stream::new(viewer.clone(), Asked::Live);
    let told = late.connected(&scene.model(), &id(end), Verdict::Live);
    assert_fault(told, "the session");
}

#[test]
fn a_right_that_history_has_left_lets_somebody_in_where_nobody_knows_yet() {
    let mut scene = Scene::new();
    let granted = scene.end();
    let since = scene.join("u2", "o0");
    scene.postgres.fail_over(scene.now, scene.now, 1, true);
    scene.postgres.handle_timeout(scene.now);
    let viewer = viewer("u2", "o0");
    let let_in = |since: Option<Position>| {
        let mut stream = Stream::new(viewer.clone(), Asked::Live);
        if let Some(since) = since {
            stream.begins(since);
        }
        stream.connected(&scene.model(), &id(granted), Verdict::Live)?;
        stream.granted(&scene.model(), granted)
    };
    assert_eq!(let_in(Some(since)), Ok(()));
    assert_fault(let_in(None), "the membership");
}

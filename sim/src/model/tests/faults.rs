//! Wrong deliveries of every kind, each with what the judge says of it.

use super::scene::{Scene, assert_fault, id, property, viewer};
use crate::model::{Asked, Position, Stream, Verdict, Viewer};
use crate::postgres::Meaning;
use crate::postgres::schema::{MEMBER, PROPERTY, REVOCATION, Row, SESSION, USER, moment, text};
use crate::time::Time;

#[test]
fn what_is_right_is_found_right() {
    let mut scene = Scene::new();
    let begin = scene.end();
    scene.rows("o0", 3);
    scene.rows("o1", 2);
    scene.report("o0");
    scene.rows("o0", 1);
    for (user, organisation, count) in [("u0", "o0", 5), ("u1", "o0", 4), ("u2", "o1", 2)] {
        let viewer = viewer(user, organisation);
        let told = scene.told(&viewer, begin);
        assert_eq!(told.len(), count, "{user}");
        let mut stream = scene.live(&viewer, begin);
        scene.tell(&mut stream, &told[..1]).unwrap();
        stream.heartbeat(&scene.model(), &id(told[0].0)).unwrap();
        scene.tell(&mut stream, &told[1..]).unwrap();
        stream.heartbeat(&scene.model(), &id(scene.end())).unwrap();
        assert_eq!(stream.complete(&scene.model()), Ok(()));
        // It goes on from every place, also from within a transaction.
        for at in 0..told.len() {
            let asked = told[at].0;
            let mut stream = Stream::new(viewer.clone(), Asked::After(asked));
            stream
                .connected(&scene.model(), &id(asked), Verdict::Resumed)
                .unwrap();
            scene.tell(&mut stream, &told[at + 1..]).unwrap();
            assert_eq!(stream.complete(&scene.model()), Ok(()));
        }
    }
}

#[test]
fn what_is_missing_doubled_or_out_of_order_is_found() {
    let mut scene = Scene::new();
    let begin = scene.end();
    scene.rows("o0", 3);
    scene.rows("o0", 3);
    let viewer = viewer("u1", "o0");
    let told = scene.told(&viewer, begin);
    let stream = || scene.live(&viewer, begin);
    for missing in 0..told.len() - 1 {
        let mut left = told.clone();
        left.remove(missing);
        assert_fault(scene.tell(&mut stream(), &left), "misses");
        let mut again = told.clone();
        again.insert(missing + 1, told[missing].clone());
        assert_fault(scene.tell(&mut stream(), &again), "is told");
        let mut swapped = told.clone();
        swapped.swap(missing, missing + 1);
        assert_fault(scene.tell(&mut stream(), &swapped), "misses");
    }
    let mut short = stream();
    scene.tell(&mut short, &told[..5]).unwrap();
    assert_fault(short.complete(&scene.model()), "misses");
    assert_fault(short.heartbeat(&scene.model(), &id(scene.end())), "misses");
    assert_fault(
        short.heartbeat(&scene.model(), &id(told[3].0)),
        "a heartbeat says",
    );
    // It was told something that it had before it went on.
    let mut resumed = Stream::new(viewer, Asked::After(told[3].0));
    resumed
        .connected(&scene.model(), &id(told[3].0), Verdict::Resumed)
        .unwrap();
    assert_fault(scene.tell(&mut resumed, &told[3..]), "is told");
}

#[test]
fn what_is_for_others_or_was_never_committed_is_found() {
    let mut scene = Scene::new();
    let begin = scene.end();
    scene.rows("o1", 1);
    scene.report("o0");
    let aborted = scene.postgres.begin().unwrap();
    scene
        .postgres
        .insert(aborted, PROPERTY, property("pa", "o0", "aborted"))
        .unwrap();
    scene.postgres.abort(aborted).unwrap();
    scene.write(|postgres, xid| {
        let row: Row = ["n1", "o0", "u0", "for one"].map(text).into();
        postgres
            .insert(xid, crate::postgres::schema::NOTIFICATION, row)
            .unwrap();
    });
    let of_others = scene.told(&viewer("u2", "o1"), begin);
    let of_admin = scene.told(&viewer("u0", "o0"), begin);
    assert_eq!((of_others.len(), of_admin.len()), (1, 2));
    for told in [&of_others[..1], &of_admin[..1], &of_admin[1..]] {
        let mut stream = scene.live(&viewer("u1", "o0"), begin);
        assert_fault(scene.tell(&mut stream, told), "which is not for it");
    }
    let mut stream = scene.live(&viewer("u1", "o0"), begin);
    let (at, data) = &of_others[0];
    for (lsn, index) in [(at.lsn + 8, 1), (at.lsn, 2), (at.lsn, 0)] {
        let at = Position { lsn, index, ..*at };
        let told = [(at, data.clone())];
        assert_fault(scene.tell(&mut stream, &told), "which was never committed");
    }
    let later = Position {
        lsn: 1 << 60,
        ..*at
    };
    assert_fault(
        scene.tell(&mut stream, &[(later, data.clone())]),
        "the log ends",
    );
    let another = Position { timeline: 9, ..*at };
    assert_fault(
        scene.tell(&mut stream, &[(another, data.clone())]),
        "no line of history",
    );
    assert_fault(stream.event(&scene.model(), "nonsense", data), "no id");
    assert_fault(
        stream.event(&scene.model(), &format!("cd.{at}"), data),
        "another cluster",
    );
}

#[test]
fn what_is_not_as_it_was_committed_is_found() {
    let mut scene = Scene::new();
    let begin = scene.end();
    scene.rows("o0", 1);
    let viewer = viewer("u1", "o0");
    let (at, data) = scene.told(&viewer, begin).remove(0);
    let changes = [
        ("a name", "a mane"),
        ("\"price\":\"7\"", "\"price\":7"),
        ("true", "false"),
        ("\"body\":null,", ""),
        ("\"old\":null", "\"old\":{}"),
        ("property.insert", "property.update"),
        ("\"organizationId\":\"o0\"", "\"organizationId\":\"o1\""),
        ("\"timestamp\":18", "\"timestamp\":17"),
        ("\"id\":\"ab", "\"id\":\"ac"),
        ("}}", "}} "),
    ];
    for (right, wrong) in changes {
        let altered = data.replacen(right, wrong, 1);
        assert_ne!(altered, data, "{right}");
        let mut stream = scene.live(&viewer, begin);
        assert_fault(
            scene.tell(&mut stream, &[(at, altered)]),
            "what was committed is",
        );
    }
    // A row is only truncated where it is too long.
    let truncated = data.replace(
        ",\"name\":\"a name\",\"body\":null,\"price\":\"7\",\"isOpen\":true",
        "",
    );
    let truncated = truncated.replace("\"old\":null", "\"old\":null,\"truncated\":true");
    let mut stream = scene.live(&viewer, begin);
    assert_fault(
        scene.tell(&mut stream, &[(at, truncated)]),
        "what was committed is",
    );
}

#[test]
fn what_comes_after_a_right_has_ended_is_found() {
    type Ends = fn(&mut crate::postgres::Postgres, crate::postgres::Xid);
    let ends: [Ends; 8] = [
        |postgres, xid| postgres.delete(xid, MEMBER, "m-u1").unwrap(),
        |postgres, xid| {
            let changed = postgres.update(xid, MEMBER, "m-u1", |row| row[3] = text("admin"));
            changed.unwrap();
        },
        |postgres, xid| postgres.delete(xid, SESSION, "t-u1").unwrap(),
        |postgres, xid| {
            let past = |row: &mut Vec<_>| row[2] = text(&moment(0));
            postgres.update(xid, SESSION, "t-u1", past).unwrap();
        },
        |postgres, xid| postgres.delete(xid, USER, "u1").unwrap(),
        |postgres, xid| {
            postgres
                .update(xid, USER, "u1", |row| row[1] = text("t"))
                .unwrap();
        },
        |postgres, xid| {
            postgres
                .delete(xid, crate::postgres::schema::ORGANIZATION, "o0")
                .unwrap();
        },
        |postgres, xid| {
            let until = moment(1_900_000_000_000);
            let row: Row = [text("v1"), text("u1"), None, text("o0"), None, text(&until)].into();
            postgres.insert(xid, REVOCATION, row).unwrap();
        },
    ];
    for (which, end) in ends.into_iter().enumerate() {
        let mut scene = Scene::new();
        let begin = scene.end();
        scene.write(|postgres, xid| {
            postgres
                .insert(xid, PROPERTY, property("before", "o0", ""))
                .unwrap();
            end(postgres, xid);
            postgres
                .insert(xid, PROPERTY, property("behind", "o0", ""))
                .unwrap();
        });
        scene.rows("o0", 1);
        let viewer = viewer("u1", "o0");
        let told = scene.told(&viewer, begin);
        assert_eq!(told.len(), 3);
        let mut stream = scene.live(&viewer, begin);
        scene.tell(&mut stream, &told[..1]).unwrap();
        assert_fault(scene.tell(&mut stream, &told[1..2]), "lost its right");
        assert_fault(
            stream.heartbeat(&scene.model(), &id(scene.end())),
            "lost its right",
        );
        assert_fault(
            stream.complete(&scene.model()),
            "is open, and lost its right",
        );
        stream.ended();
        assert_eq!(stream.complete(&scene.model()), Ok(()), "{which}");
        assert_fault(scene.tell(&mut stream, &told[1..2]), "after its end");
        let cut = scene.model().revoked_after(&viewer, begin).unwrap();
        assert_eq!((cut.lsn, cut.index), (told[0].0.lsn, 2), "{which}");
        let mut resumed = Stream::new(viewer.clone(), Asked::After(told[0].0));
        resumed
            .connected(&scene.model(), &id(told[0].0), Verdict::Resumed)
            .unwrap();
        assert_eq!(
            resumed.granted(&scene.model(), told[0].0),
            Ok(()),
            "{which}"
        );
        assert!(
            resumed.granted(&scene.model(), scene.end()).is_err(),
            "{which}"
        );
    }
}

#[test]
fn who_was_removed_and_is_back_begins_anew() {
    let mut scene = Scene::new();
    let begin = scene.end();
    scene.rows("o0", 1);
    scene.write(|postgres, xid| {
        postgres.delete(xid, MEMBER, "m-u1").unwrap();
        let row: Row = ["m-again", "u1", "o0", "reader"].map(text).into();
        postgres.insert(xid, MEMBER, row).unwrap();
    });
    let back = scene.end();
    scene.rows("o0", 1);
    let viewer = viewer("u1", "o0");
    let told = scene.told(&viewer, begin);
    let mut resumed = Stream::new(viewer.clone(), Asked::After(told[0].0));
    resumed
        .connected(&scene.model(), &id(told[0].0), Verdict::Resumed)
        .unwrap();
    let granted = |stream: &Stream| stream.granted(&scene.model(), back);
    assert_fault(granted(&resumed), "lost its right in between");
    // A node that misses changes may go back to before the grant, where who is connected does not go on.
    let put_back = scene.live(&viewer, told[0].0);
    assert_eq!(granted(&put_back), Ok(()));
    assert_fault(scene.tell(&mut resumed, &told[1..]), "lost its right");
    let mut reset = Stream::new(viewer.clone(), Asked::After(told[0].0));
    reset
        .connected(&scene.model(), &id(back), Verdict::Reset)
        .unwrap();
    assert_fault(scene.tell(&mut reset, &told[1..]), "waits for its reset");
    assert_fault(reset.complete(&scene.model()), "waits for its reset");
    reset.reset(&scene.model(), &id(back)).unwrap();
    scene.tell(&mut reset, &told[1..]).unwrap();
    assert_eq!(reset.complete(&scene.model()), Ok(()));
    assert!(scene.model().has_right(&viewer, back));
}

#[test]
fn who_is_let_in_without_a_right_or_told_another_beginning_is_found() {
    let mut scene = Scene::new();
    let begin = scene.end();
    scene.rows("o0", 2);
    let model = scene.model();
    let connect = |viewer: Viewer, asked, at: Position, verdict| {
        Stream::new(viewer, asked).connected(&model, &id(at), verdict)
    };
    let at = |lsn| Position { lsn, ..begin };
    let of = || viewer("u1", "o0");
    assert_fault(
        connect(viewer("u2", "o0"), Asked::Live, begin, Verdict::Live),
        "no right",
    );
    assert_fault(
        connect(viewer("who", "o0"), Asked::Live, begin, Verdict::Live),
        "no right",
    );
    // Before the membership began.
    assert_fault(connect(of(), Asked::Live, at(8), Verdict::Live), "no right");
    assert_fault(
        connect(of(), Asked::Live, begin, Verdict::Resumed),
        "asked for",
    );
    // It waited for the end of the past, and changes were missed meanwhile.
    let missed = connect(of(), Asked::Live, begin, Verdict::Reset);
    assert_eq!(missed, Ok(()));
    assert_fault(
        connect(of(), Asked::Unknown, begin, Verdict::Live),
        "asked for",
    );
    assert_fault(
        connect(of(), Asked::After(begin), begin, Verdict::Live),
        "asked for",
    );
    let another = Asked::After(at(begin.lsn + 8));
    assert_fault(connect(of(), another, begin, Verdict::Resumed), "asked for");
    assert_fault(
        connect(of(), Asked::Live, at(1 << 50), Verdict::Live),
        "the log ends",
    );
    // Who is told so before the node can know is told nothing more.
    let early = at(8);
    let mut void = Stream::new(of(), Asked::After(early));
    void.connected(&model, &id(early), Verdict::Resumed)
        .unwrap();
    assert_fault(void.complete(&model), "before it began");
    assert_fault(void.heartbeat(&model, &id(begin)), "before it began");
    assert_fault(void.granted(&model, early), "no right");
    let told = scene.told(&of(), begin);
    let mut stream = Stream::new(of(), Asked::Live);
    assert_fault(scene.tell(&mut stream, &told), "before it is connected");
    assert_fault(stream.complete(&model), "never told");
    assert_fault(stream.subscription(&[], &[]), "out of turn");
    stream.connected(&model, &id(begin), Verdict::Live).unwrap();
    assert_fault(stream.connected(&model, &id(begin), Verdict::Live), "twice");
}

#[test]
fn who_is_granted_a_stream_ahead_of_its_right_has_it_from_there_on() {
    let mut scene = Scene::new();
    let granted = scene.end();
    let since = scene.join("u2", "o0");
    let model = scene.model();
    let connected = scene.end();
    let early = scene.live(&viewer("u2", "o0"), connected);
    assert_fault(early.granted(&model, granted), "the membership");
    let mut late = Stream::new(viewer("u2", "o0"), Asked::Live);
    late.begins(since);
    late.connected(&model, &id(connected), Verdict::Live)
        .unwrap();
    assert_eq!(late.granted(&model, granted), Ok(()));
}

#[test]
fn what_a_subscription_leaves_out_is_found_and_around_its_change_nothing_is_missing() {
    let mut scene = Scene::new();
    let begin = scene.end();
    scene.rows("o0", 1);
    scene.report("o0");
    scene.rows("o0", 1);
    scene.report("o0");
    let admin = viewer("u0", "o0");
    let all = scene.told(&admin, begin);
    let of = |channel: &str| Viewer {
        channels: vec![channel.to_owned()],
        ..admin.clone()
    };
    let mut stream = scene.live(&of("report"), begin);
    assert_fault(scene.tell(&mut stream, &all[..1]), "which is not for it");
    scene.tell(&mut stream, &all[1..2]).unwrap();
    // From here on it hears of both, and may have missed the row that came before the change.
    stream
        .subscription(&[], &["property.*".to_owned(), "report.insert".to_owned()])
        .unwrap();
    assert_fault(stream.clone().complete(&scene.model()), "misses");
    let mut early = stream.clone();
    scene.tell(&mut early, &all[2..]).unwrap();
    scene.tell(&mut stream, &all[3..]).unwrap();
    scene.rows("o0", 1);
    scene.rows("o0", 1);
    let last = scene.told(&admin, all[3].0);
    assert_fault(scene.tell(&mut stream.clone(), &last[1..]), "misses");
    scene.tell(&mut stream, &last).unwrap();
    assert_eq!(stream.complete(&scene.model()), Ok(()));
    let by_type = Viewer {
        types: vec!["report.*".to_owned()],
        ..admin.clone()
    };
    assert_eq!(scene.told(&by_type, begin).len(), 2);
}

#[test]
fn a_message_that_comes_again_is_told_once() {
    let mut scene = Scene::new();
    let begin = scene.end();
    let meaning = Meaning {
        id: Some("k1".to_owned()),
        kind: "note".to_owned(),
        channel: "note".to_owned(),
        organisation: Some("o0".to_owned()),
        data: "1".to_owned(),
        ..Meaning::default()
    };
    for _ in 0..2 {
        let meaning = meaning.clone();
        scene.write(|postgres, xid| postgres.emit(xid, "tailrace", "", Some(meaning)).unwrap());
    }
    // When the window is over it is another.
    scene.now = scene.now + Time::from_ms(400_000);
    scene.write(|postgres, xid| postgres.emit(xid, "tailrace", "", Some(meaning)).unwrap());
    let viewer = viewer("u1", "o0");
    let told = scene.told(&viewer, begin);
    assert_eq!(told.len(), 2);
    let mut stream = scene.live(&viewer, begin);
    scene.tell(&mut stream, &told).unwrap();
    assert_eq!(stream.complete(&scene.model()), Ok(()));
    let again = again(&scene, told[0].0);
    let mut stream = scene.live(&viewer, begin);
    scene.tell(&mut stream, &told[..1]).unwrap();
    let twice = std::slice::from_ref(&again);
    assert_fault(scene.tell(&mut stream, twice), "a message twice");
    // Who began to read in between cannot know.
    let mut late = scene.live(&viewer, told[0].0);
    scene.tell(&mut late, &[again]).unwrap();
}

/// The event behind a position, repeated or not.
fn again(scene: &Scene, after: Position) -> (Position, String) {
    let model = scene.model();
    let line = model.lines.last().unwrap();
    let event = line.event(line.behind(after));
    (
        event.position,
        crate::model::render::event(event, &id(event.position), false),
    )
}

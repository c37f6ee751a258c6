//! A server that follows a script: what a real one once said, cut, bent and broken at every place.
//!
//! The script is recorded from a real server before the first test, so that it is what the server under
//! test says and not what we think it does. What a peer may do wrong is then played in memory.

mod player;
mod script;

use replication::Notice;

use script::{CHANGE_AT, Script};

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(4 + body.len()).unwrap();
    [&[tag], &len.to_be_bytes()[..], body].concat()
}

/// A message of pgoutput, as the server wraps it.
fn change(body: &[u8]) -> Vec<u8> {
    message(b'd', &[b"w", &[0; 24][..], body].concat())
}

fn keepalive(end: u64, sent_us: i64, rest: &[u8]) -> Vec<u8> {
    let (end, sent_us) = (end.to_be_bytes(), sent_us.to_be_bytes());
    message(b'd', &[b"k", &end[..], &sent_us[..], rest].concat())
}

// Case: 5
#[test]
fn wherever_the_servers_words_are_cut_the_events_are_the_same() {
    let script = Script::shared();
    for cut in 0..=script.bytes.len() {
        let mut player = script.player();
        player.hear(&script.bytes[..cut]);
        player.hear(&script.bytes[cut..]);
        assert_eq!(player.frames, script.frames, "cut at {cut}");
        assert_eq!(player.closed, 0, "cut at {cut}");
    }
    let mut player = script.player();
    for byte in &script.bytes {
        player.hear(&[*byte]);
    }
    assert_eq!((&player.frames, player.closed), (&script.frames, 0));
}

// Case: 6
#[test]
fn what_the_server_says_in_between_changes_nothing() {
    let script = Script::shared();
    let notice = message(b'N', b"SWARNING\0C01000\0Mthe disk is warm\0\0");
    let others = [
        ("a notice", notice.clone()),
        ("a parameter", message(b'S', b"TimeZone\0Asia/Tokyo\0")),
        (
            "a notification",
            message(b'A', b"\0\0\0\x01channel\0payload\0"),
        ),
        ("a keepalive", keepalive(0, 0, &[0])),
        ("a keepalive that asks", keepalive(0, 0, &[1])),
        ("one that asks otherwise", keepalive(0, 0, &[0xff])),
        ("one before all time", keepalive(0, i64::MIN, &[0])),
        ("one after all time", keepalive(0, i64::MAX, &[0])),
        ("one that says more", keepalive(0, 0, b"\0more")),
    ];
    for at in &script.streamed {
        for (what, other) in &others {
            let player = script.with(*at, other);
            assert_eq!(player.closed, 0, "{what} at {at}: {:?}", player.notices);
            assert_eq!(player.frames, script.frames, "{what} at {at}");
            let is_said = |notice: &Notice| notice.to_string().contains("the disk is warm");
            assert_eq!(
                player.notices.iter().any(is_said),
                *other == notice,
                "{what} at {at}: {:?}",
                player.notices
            );
        }
    }
}

#[test]
fn a_keepalive_that_asks_is_answered_at_once_also_within_a_transaction() {
    let script = Script::shared();
    for at in &script.streamed {
        let mut player = script.player();
        player.hear(&script.bytes[..*at]);
        player.said();
        player.hear(&keepalive(0, 0, &[1]));
        let said = player.said();
        assert_eq!((said.len(), &said[..6]), (5 + 34, &b"d\0\0\0\x26r"[..]));
    }
}

#[test]
fn who_has_just_begun_is_not_as_far_behind_as_all_time() {
    let script = Script::shared();
    let (at, begin) = script.changes().next().unwrap();
    let mut player = script.player();
    player.hear(&script.bytes[..script.streamed[0]]);
    player.hear(&script.bytes[at..at + CHANGE_AT + begin.len()]);
    let status = player.reader.status(player.now_ms);
    assert!(status.streaming && status.lag_bytes > 0, "{status:?}");
    assert!(status.lag_seconds < 600.0, "{status:?}");
}

#[test]
fn what_waits_for_a_connection_wakes_nobody() {
    let script = Script::shared();
    let mut player = script.player();
    player.hear(&script.bytes);
    // The first is handed over at once, and the next only some time later.
    player.hear(&keepalive(1 << 40, 0, &[0]));
    player.hear(&keepalive(1 << 41, 0, &[0]));
    player.lose();
    for _ in 0..3 {
        player.pass(1_500);
        let due_ms = player.reader.deadline_ms();
        assert!(due_ms > player.now_ms, "{due_ms}: {player:?}");
    }
}

/// The positions in what the reader has said: received, and confirmed.
fn statuses(said: &[u8]) -> Vec<(u64, u64)> {
    let lsn = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    assert_eq!(said.len() % 39, 0, "statuses, and nothing else");
    said.chunks(39)
        .map(|status| (lsn(&status[6..14]), lsn(&status[14..22])))
        .collect()
}

// Case: 51
#[test]
fn a_keepalive_from_the_future_within_a_transaction_confirms_nothing_beyond_it() {
    const FAR: u64 = 1 << 60;
    let script = Script::shared();
    let changes: Vec<(usize, &[u8])> = script.changes().collect();
    // Where the record of the commit begins of the transaction that has begun.
    let mut commit: Option<u64> = None;
    for (at, change) in changes {
        if let Some(commit) = commit {
            let mut player = script.player();
            player.hear(&script.bytes[..at]);
            player.hear(&keepalive(FAR, 0, &[0]));
            player.said();
            // Long enough for everything that is due to be sent.
            player.pass(3_000);
            let said = statuses(&player.said());
            // What begins here is sent again.
            assert!(
                said.iter().all(|(_, confirmed)| *confirmed <= commit),
                "{said:x?} of a transaction that is committed at {commit:x}"
            );
            // The rest of the transaction is still read, and handed over.
            let before = player.frames.len();
            player.hear(&script.bytes[at..]);
            assert_eq!(
                (&player.frames, player.closed),
                (&script.frames, 0),
                "{before}"
            );
        }
        commit = match change[0] {
            b'B' => Some(u64::from_be_bytes(change[1..9].try_into().unwrap())),
            b'C' => None,
            _ => commit,
        };
    }
}

// Case: 7
#[test]
fn a_message_of_a_later_version_ends_the_connection_and_nothing_is_lost() {
    let script = Script::shared();
    let [xid, lsn, gid] = [&[0, 0, 3, 1][..], &[0, 0, 0, 0, 2, 0, 0, 0], b"gid\0"];
    let prepared = [&[0], lsn, lsn, lsn, xid, gid].concat();
    let later: [(&str, Vec<u8>); 10] = [
        ("Stream Start", [b"S", xid, &[1]].concat()),
        ("Stream Stop", b"E".to_vec()),
        ("Stream Commit", [b"c", xid, &[0], lsn, lsn, lsn].concat()),
        ("Stream Abort", [b"A", xid, xid].concat()),
        (
            "Stream Abort of version 4",
            [b"A", xid, xid, lsn, lsn].concat(),
        ),
        ("Begin Prepare", [b"b", lsn, lsn, lsn, xid, gid].concat()),
        ("Prepare", [b"P", &prepared[..]].concat()),
        ("Commit Prepared", [b"K", &prepared[..]].concat()),
        (
            "Rollback Prepared",
            [b"r", &[0][..], lsn, lsn, lsn, lsn, xid, gid].concat(),
        ),
        ("Stream Prepare", [b"p", &prepared[..]].concat()),
    ];
    for at in &script.streamed {
        for (what, body) in &later {
            script.assert_recovers(script.with(*at, &change(body)), what);
        }
    }
}

// Case: 7
#[test]
fn a_message_of_no_version_ends_the_connection_and_nothing_is_lost() {
    let script = Script::shared();
    let known = |tags: &'static [u8]| (0..=u8::MAX).filter(move |tag| !tags.contains(tag));
    // Amid the second transaction: after a row of it.
    let (at, _) = script
        .changes()
        .find(|(_, change)| change[0] == b'U')
        .unwrap();
    for tag in known(b"BCORYIUDTM") {
        let what = format!("{tag:#x} in pgoutput");
        script.assert_recovers(script.with(at, &change(&[tag, 0, 0, 0, 0])), &what);
    }
    for tag in known(b"wk") {
        let what = format!("{tag:#x} in the stream");
        script.assert_recovers(script.with(at, &message(b'd', &[tag, 0])), &what);
    }
    for tag in known(b"RKCWdcDIEvNASZTtn123HVGsf") {
        let what = format!("{tag:#x} in the protocol");
        script.assert_recovers(script.with(at, &message(tag, &[])), &what);
    }
    // These have their place, but not here.
    for tag in [b'R', b'C', b'W', b'D', b'I', b'Z'] {
        let what = format!("{} out of place", char::from(tag));
        script.assert_recovers(script.with(at, &message(tag, &[0; 8])), &what);
    }
}

// Case: 8
#[test]
fn lengths_that_lie_are_never_believed() {
    let script = Script::shared();
    for at in &script.streamed {
        for len in [0, 3, 0x4000_0001, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let lie = [&[script.bytes[*at]], &len.to_be_bytes()[..]].concat();
            script.assert_recovers(script.with(*at, &lie), "the length of a message");
        }
    }
    // Within the messages, every place is taken for a length; where it is none, it may read as
    // something else, and then only must not panic.
    for (at, change) in script.changes() {
        for place in 0..change.len().saturating_sub(3) {
            for lie in [0, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                let mut bytes = script.bytes.clone();
                bytes[at + CHANGE_AT + place..][..4].copy_from_slice(&lie.to_be_bytes());
                script.player().hear(&bytes);
            }
        }
    }
}

// Case: 8
#[test]
fn a_message_that_ends_early_or_late_is_refused() {
    let script = Script::shared();
    for (at, body) in script.changes() {
        for len in 0..body.len() {
            script.assert_recovers(script.with(at, &change(&body[..len])), "cut short");
        }
        let longer = [body, &[0]].concat();
        script.assert_recovers(script.with(at, &change(&longer)), "a byte too long");
    }
}

// Case: 8
#[test]
fn a_connection_that_ends_anywhere_loses_and_repeats_nothing() {
    let script = Script::shared();
    for end in 0..=script.bytes.len() {
        let mut player = script.player();
        player.hear(&script.bytes[..end]);
        player.lose();
        assert!(script.frames.starts_with(&player.frames), "ended at {end}");
        player.open();
        player.hear(&script.bytes);
        assert_eq!(player.frames, script.frames, "ended at {end}");
    }
}

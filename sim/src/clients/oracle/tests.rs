//! A judge that cannot find anything wrong is none: what a stream may be told around its events is told it
//! rightly, and then wrongly. Wrong events are in the tests of the model.

use std::sync::Arc;

use wire::{
    Audience, Batch, Commit, ConnectionId, EventId, FrameWriter, Gap, GapReason, Grant, Keys,
    Lineage, Lsn, Name, Resume, Scope, Source, Start, Topic,
};

use super::{Circumstances, Id, Oracle};
use crate::model::tests::scene::{Scene, id, viewer};
use crate::model::{Model, Position, Viewer};
use crate::node::Shelf;
use crate::parser::Parser;
use crate::postgres::schema::{MEMBER, REVOCATION, Row, USER, moment, text};
use crate::sometimes::Sometimes;
use crate::time::Time;

const EPOCH: u32 = 0xab;
const RESUME_WAIT_MS: u64 = 10_000;
const CONNECTION: (u32, u32) = (3, 1);

/// A node beside a scene: what its engine took, and the time.
struct Node {
    scene: Scene,
    shelf: Shelf,
    now: Time,
    is_draining: bool,
    has_closed_users: bool,
    expires_ms: Option<u64>,
}

/// A stream of that node, with its judge.
struct Listener {
    oracle: Oracle,
    parser: Parser,
}

impl Node {
    /// One that begins to read where a scene begins.
    fn new() -> Self {
        Self::of(Scene::new())
    }

    /// One that begins to read where a scene has come to.
    fn of(scene: Scene) -> Self {
        let mut node = Self {
            shelf: Shelf::new(4_096),
            now: scene.now,
            is_draining: false,
            has_closed_users: false,
            expires_ms: None,
            scene,
        };
        let floor = event_id(node.scene.end());
        node.take(Batch::Start(Arc::new(Start {
            lineage: Lineage::new(EPOCH, Vec::new(), 1),
            floor,
            caught_up: floor,
        })));
        node
    }

    fn take(&mut self, batch: Batch) {
        self.shelf.take(self.now, &batch);
    }

    /// Rows are written, one transaction each, and the engine takes their frames.
    fn rows(&mut self, count: u32) {
        let keys = Keys::new([7; 16]);
        for _ in 0..count {
            self.scene.rows("o0", 1);
            let through = event_id(self.scene.end());
            let name = Name::new("property").expect("it is a name");
            let mut writer = FrameWriter::new(through, &name, &name, 0, Source::Postgres);
            let start = writer.len();
            writer.json().extend_from_slice(&[b'1'; 400]);
            writer.mark_data(start);
            let topic = Topic::Organisation(keys.organisation("o0"));
            self.take(Batch::Commit(Arc::new(Commit {
                frames: vec![writer.finish(Audience::of(topic))],
                through,
                end: Some(through.lsn),
            })));
        }
    }

    /// The engine lets a stream in.
    fn admit(&mut self, viewer: Viewer, sent: Option<&str>) -> Listener {
        self.admit_since(viewer, sent, None)
    }

    fn admit_since(
        &mut self,
        viewer: Viewer,
        sent: Option<&str>,
        since: Option<Position>,
    ) -> Listener {
        let keys = Keys::new([7; 16]);
        let (slot, generation) = CONNECTION;
        self.take(Batch::Grant(Box::new(Grant {
            connection: ConnectionId {
                boot: 0,
                engine: 0,
                slot,
                generation,
            },
            scope: Scope::Organisation(keys.organisation(&viewer.organisation)),
            user: Some(keys.user(&viewer.user)),
            session: None,
            filter: wire::Filter::default(),
            format: wire::Format::default(),
            expires_ms: self.expires_ms,
            since: since.map(event_id),
            resume: Resume::Live,
            head: bytes::Bytes::new(),
            about: bytes::Bytes::new(),
            purpose: wire::Purpose::Stream,
        })));
        let end = self.scene.end();
        let mut parser = Parser::default();
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        parser.feed(head, |_| Ok(())).expect("it is a head");
        Listener {
            oracle: Oracle::new(viewer, sent.map(Id::parse), (Some(end), end)),
            parser,
        }
    }

    fn around<'a>(&'a self, model: &'a Model) -> Circumstances<'a> {
        let (slot, generation) = CONNECTION;
        Circumstances {
            model,
            epoch: Some(EPOCH),
            now: self.now,
            unix_ms: self.now.unix_us() / 1_000,
            shelf: &self.shelf,
            admitted: self.shelf.admitted(slot, generation),
            is_draining: self.is_draining,
            has_closed_users: self.has_closed_users,
            resume_wait_ms: RESUME_WAIT_MS,
        }
    }

    /// A stream is told events, as they are written.
    fn tell(&self, listener: &mut Listener, events: &str) -> Result<(), String> {
        let model = self.scene.model();
        let Listener { oracle, parser } = listener;
        parser.feed(events.as_bytes(), |item| {
            let crate::parser::Item::Event(event) = item else {
                return Ok(());
            };
            let judged = oracle.judge(event, self.around(&model), &mut Sometimes::default());
            judged.map(|_| ())
        })
    }

    /// A stream that is open, from the newest place on.
    fn open(&mut self) -> Listener {
        let mut listener = self.admit(reader(), None);
        let said = connected("live", &id(self.scene.end()));
        self.tell(&mut listener, &said).expect("nothing is wrong");
        listener
    }
}

fn reader() -> Viewer {
    viewer("u1", "o0")
}

fn event_id(at: Position) -> EventId {
    EventId {
        epoch: EPOCH,
        timeline: at.timeline,
        lsn: Lsn(at.lsn),
        index: at.index,
    }
}

fn connected(verdict: &str, id: &str) -> String {
    format!(
        "event: connected\nid: {id}\ndata: {{\"connectionId\":\"c\",\"userId\":\"u1\",\
         \"organizationId\":\"o0\",\"resume\":\"{verdict}\"}}\n\n"
    )
}

fn reset(reason: &str, id: &str) -> String {
    format!("event: reset\nid: {id}\ndata: {{\"reason\":\"{reason}\"}}\n\n")
}

fn bye(reason: &str) -> String {
    format!("event: bye\ndata: {{\"reason\":\"{reason}\"}}\n\n")
}

#[track_caller]
fn assert_wrong(told: Result<(), String>, words: &str) {
    let why = told.expect_err("something is wrong");
    assert!(why.contains(words), "{words:?} is not what it says: {why}");
}

#[test]
fn who_is_told_of_somebody_else_is_found() {
    let mut node = Node::new();
    let said = connected("live", &id(node.scene.end()));
    for (wrong, right) in [("\"u1\"", "\"u0\""), ("\"o0\"", "\"o1\"")] {
        let mut listener = node.admit(reader(), None);
        let said = said.replace(wrong, right);
        assert_wrong(node.tell(&mut listener, &said), "is told that it is");
    }
    let mut listener = node.admit(reader(), None);
    assert_eq!(node.tell(&mut listener, &said), Ok(()));
}

#[test]
fn who_does_not_begin_at_the_newest_place_is_found() {
    let mut node = Node::new();
    let before = node.scene.end();
    node.rows(1);
    let mut listener = node.admit(reader(), None);
    let told = node.tell(&mut listener, &connected("live", &id(before)));
    assert_wrong(told, "was applied before");
    let end = node.scene.end();
    let beyond = Position {
        lsn: end.lsn + 8,
        ..end
    };
    let mut listener = node.admit(reader(), None);
    let told = node.tell(&mut listener, &connected("live", &id(beyond)));
    assert_wrong(told, "is applied now");
}

#[test]
fn an_answer_that_does_not_fit_what_was_sent_is_found() {
    let mut node = Node::new();
    let first = id(node.scene.end());
    node.rows(1);
    let end = id(node.scene.end());
    let mut tell = |sent: Option<&str>, verdict: &str, at: &str| {
        let mut listener = node.admit(reader(), sent);
        node.tell(&mut listener, &connected(verdict, at))
    };
    assert_eq!(tell(Some(&first), "resumed", &first), Ok(()));
    assert_wrong(tell(Some(&first), "resumed", &end), "resumed at");
    assert_wrong(tell(Some(&first), "live", &end), "is no answer");
    assert_wrong(tell(None, "resumed", &end), "is no answer");
    let foreign = end.replace("ab.", "cd.");
    assert_wrong(tell(Some(&first), "resumed", &foreign), "no id of this");
}

#[test]
fn a_reset_has_its_reason() {
    let mut node = Node::new();
    let first = id(node.scene.end());
    node.rows(1);
    let told = |node: &mut Node, sent: &str, reason: &str| {
        let mut listener = node.admit(reader(), Some(sent));
        let at = id(node.scene.end());
        let said = connected("reset", &at) + &reset(reason, &at);
        node.tell(&mut listener, &said)
    };
    for reason in [
        "history",
        "unknown_position",
        "slot_lost",
        "history_changed",
    ] {
        assert_wrong(told(&mut node, &first, reason), "a reset for");
    }
    assert_eq!(told(&mut node, "garbage", "unknown_position"), Ok(()));
    assert_eq!(told(&mut node, "cd.1.5.1", "unknown_position"), Ok(()));
    // What follows it has left the log.
    node.rows(20);
    assert!(node.shelf.evicted() > 0, "the log is small");
    assert_eq!(told(&mut node, &first, "history"), Ok(()));
    assert_wrong(told(&mut node, &first, "unknown_position"), "a reset for");
}

#[test]
fn a_reset_of_an_open_stream_needs_changes_that_were_missed() {
    let mut node = Node::new();
    node.rows(1);
    let mut open = node.open();
    let at = id(node.scene.end());
    for reason in ["slot_lost", "history_changed", "history"] {
        let told = node.tell(&mut open, &reset(reason, &at));
        assert_wrong(told, "a reset for");
    }
    let mut open = node.open();
    let floor = event_id(node.scene.end());
    node.take(Batch::Gap(Arc::new(Gap {
        lineage: Lineage::new(EPOCH, Vec::new(), 1),
        floor,
        reason: GapReason::SlotLost,
    })));
    let other = node.tell(&mut open, &reset("history_changed", &at));
    assert_wrong(other, "a reset for");
    let mut open = node.open();
    assert_eq!(node.tell(&mut open, &reset("slot_lost", &at)), Ok(()));
    // Who came behind it has missed nothing.
    node.now = node.now + Time::from_ms(1);
    let mut late = node.open();
    let told = node.tell(&mut late, &reset("slot_lost", &at));
    assert_wrong(told, "a reset for");
}

#[test]
fn a_last_word_has_its_reason() {
    for reason in [
        "membership_revoked",
        "session_revoked",
        "session_expired",
        "lagging",
        "draining",
        "feed_stale",
        "of_no_kind",
    ] {
        let mut node = Node::new();
        let mut open = node.open();
        let told = node.tell(&mut open, &bye(reason));
        assert_wrong(told, "which is not so");
    }
}

#[test]
fn last_words_that_are_so_are_taken() {
    let judged = |prepare: fn(&mut Node), after: fn(&mut Node), reason: &str| {
        let mut node = Node::new();
        prepare(&mut node);
        let mut open = node.open();
        after(&mut node);
        node.tell(&mut open, &bye(reason))
    };
    let nothing: fn(&mut Node) = |_| {};
    let leave: fn(&mut Node) = |node| {
        node.scene.write(|postgres, xid| {
            postgres.delete(xid, MEMBER, "m-u1").expect("it is there");
        });
    };
    assert_eq!(judged(nothing, leave, "membership_revoked"), Ok(()));
    let drain: fn(&mut Node) = |node| node.is_draining = true;
    assert_eq!(judged(nothing, drain, "draining"), Ok(()));
    let wait: fn(&mut Node) = |node| node.now = node.now + Time::from_ms(RESUME_WAIT_MS);
    assert_eq!(judged(nothing, wait, "lagging"), Ok(()));
    assert_wrong(judged(nothing, wait, "feed_stale"), "which is not so");
    let be_silent: fn(&mut Node) = |node| node.has_closed_users = true;
    assert_eq!(judged(nothing, be_silent, "feed_stale"), Ok(()));
}

#[test]
fn who_is_kept_out_and_let_in_is_found() {
    let mut node = Node::new();
    let now_ms = node.now.unix_us() / 1_000;
    node.scene.write(|postgres, xid| {
        let until = moment(now_ms + 60_000);
        let row: Row = [text("v1"), text("u1"), None, None, None, text(&until)].into();
        postgres.insert(xid, REVOCATION, row).expect("it can be");
    });
    let end = event_id(node.scene.end());
    node.take(Batch::Progress(end));
    let mut listener = node.admit(reader(), None);
    let said = connected("live", &id(node.scene.end()));
    assert_wrong(node.tell(&mut listener, &said), "is kept out");
    let mut other = node.admit(viewer("u0", "o0"), None);
    let said = said.replace("\"u1\"", "\"u0\"");
    assert_eq!(node.tell(&mut other, &said), Ok(()));
}

#[test]
fn who_is_let_in_before_the_node_has_read_that_a_ban_was_lifted_is_found() {
    let mut scene = Scene::new();
    let ban = |scene: &mut Scene, is_banned| {
        scene.write(|postgres, xid| {
            let banned = postgres.update(xid, USER, "u1", |row| row[1] = text(is_banned));
            banned.expect("the user is there");
        });
    };
    ban(&mut scene, "t");
    // Whether the ban is from before the node began to read or not.
    let mut node = Node::of(scene);
    node.rows(1);
    let applied = node.scene.end();
    let said = connected("live", &id(applied));
    ban(&mut node.scene, "f");
    let mut early = node.admit(reader(), None);
    assert_wrong(node.tell(&mut early, &said), "no right: the user");
    let back = node.scene.end();
    node.take(Batch::Progress(event_id(back)));
    let mut listener = node.admit_since(reader(), None, Some(back));
    let said = connected("live", &id(back));
    assert_eq!(node.tell(&mut listener, &said), Ok(()));
}

#[test]
fn the_nodes_own_word_for_where_a_right_began_is_not_taken() {
    let mut node = Node::new();
    node.rows(2);
    let first = id(node.scene.model().end());
    node.rows(1);
    let since = node.scene.end();
    // Nothing was said of this member since the beginning: what lies before is its own as well.
    let mut listener = node.admit_since(reader(), Some(&first), Some(since));
    let at = id(node.scene.end());
    let said = connected("reset", &at) + &reset("history", &at);
    assert_wrong(node.tell(&mut listener, &said), "a reset for");
}

#[test]
fn a_subscription_that_nobody_asked_for_is_found() {
    let mut node = Node::new();
    let told = "event: subscription\ndata: {\"channels\":[\"property\"],\"types\":[]}\n\n";
    let mut open = node.open();
    assert_wrong(node.tell(&mut open, told), "and asked for were");
    let mut open = node.open();
    let names = [String::from("property")];
    open.oracle.on_asked(&names);
    open.oracle.on_changed();
    let untold = open.oracle.complete(&node.scene.model());
    assert_wrong(untold, "was not told");
    assert_eq!(node.tell(&mut open, told), Ok(()));
    assert_eq!(open.oracle.complete(&node.scene.model()), Ok(()));
}

#[test]
fn an_end_without_a_word_and_a_word_behind_the_end_are_found() {
    let mut node = Node::new();
    let mut open = node.open();
    assert_wrong(open.oracle.check_end(), "without a word");
    let admitted = node.shelf.admitted(CONNECTION.0, CONNECTION.1);
    let cut_off = open.oracle.check_cut_off(admitted, &node.shelf);
    assert_wrong(cut_off, "cut off");
    node.is_draining = true;
    assert_eq!(node.tell(&mut open, &bye("draining")), Ok(()));
    assert_eq!(open.oracle.check_end(), Ok(()));
    let at = id(node.scene.end());
    let heartbeat = format!("event: heartbeat\nid: {at}\ndata: {{}}\n\n");
    assert_wrong(node.tell(&mut open, &heartbeat), "follows the last word");
    // What it lacks has left the log.
    node.is_draining = false;
    let slow = node.open();
    node.rows(20);
    let cut_off = slow.oracle.check_cut_off(admitted, &node.shelf);
    assert_eq!(cut_off, Ok(()));
}

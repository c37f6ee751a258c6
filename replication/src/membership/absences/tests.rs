//! What somebody may see who is back, as a feed reads it.

use wire::{Keys, Lineage, Lsn};

use super::*;
use crate::Rules;
use crate::feed::Feed;
use crate::membership::kept::Kept;
use crate::membership::map::Map;
use crate::membership::rights::Loaded;
use crate::membership::visibility::Visibility;
use crate::membership::{
    Admission, Claim, Identity, MembershipSource, OrganisationTable, Question, Spelling, UserTable,
    Wanted,
};

/// Microseconds of a commit, since 2000, and the same in milliseconds since 1970.
const COMMIT_US: i64 = 1_000_000;
const COMMIT_MS: u64 = 946_684_801_000;

/// A table: its number, its schema and its name, and its columns, the key first.
type Described = (u32, &'static str, &'static str, &'static [&'static str]);

const REVOCATION: Described = (
    1,
    "tailrace",
    "revocation",
    &[
        "id",
        "user",
        "session",
        "organization",
        "issued_before",
        "until",
    ],
);
const USER: Described = (2, "public", "User", &["id", "banned", "until"]);
const ORGANIZATION: Described = (3, "public", "Organization", &["id"]);

fn relation((number, schema, name, columns): Described) -> Vec<u8> {
    let mut bytes = [b"R".as_slice(), &number.to_be_bytes()].concat();
    for name in [schema, name] {
        bytes.extend([name.as_bytes(), b"\0"].concat());
    }
    bytes.extend([b"d".as_slice(), &(columns.len() as u16).to_be_bytes()].concat());
    for (at, column) in columns.iter().enumerate() {
        let type_oid: u32 = if *column == "banned" { 16 } else { 25 };
        let is_key = u8::from(at == 0);
        bytes.extend([&[is_key], column.as_bytes(), b"\0"].concat());
        bytes.extend([type_oid.to_be_bytes(), [0xff; 4]].concat());
    }
    bytes
}

fn tuple(values: &[&str]) -> Vec<u8> {
    let mut bytes = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        match *value {
            "" => bytes.push(b'n'),
            value => {
                bytes.push(b't');
                bytes.extend((value.len() as u32).to_be_bytes());
                bytes.extend(value.as_bytes());
            }
        }
    }
    bytes
}

/// A feed of which ada is one of acme, by what her session says.
struct Scene {
    feed: Feed,
    keys: Keys,
    end: u64,
}

impl Scene {
    fn new() -> Self {
        Self::loaded(Ok(Vec::new()), Visibility::default())
    }

    /// One that begins with these users banned, by a snapshot that has seen so much.
    fn loaded(bans: Result<Vec<Ban>, String>, visibility: Visibility) -> Self {
        let keys = Keys::new([3; 16]);
        let identity = Identity {
            membership: MembershipSource::Claim,
            user: Some(UserTable {
                table: "User".to_owned(),
                id: "id".to_owned(),
                banned: Some("banned".to_owned()),
                banned_until: Some("until".to_owned()),
            }),
            organisation: Some(OrganisationTable {
                table: "Organization".to_owned(),
                id: "id".to_owned(),
            }),
            revocation: true,
            ..Identity::default()
        };
        let rules = Rules {
            identity,
            ..Rules::default()
        };
        let lineage = Lineage::new(1, Vec::new(), 1);
        let mut feed = Feed::new(rules, keys.clone(), lineage, Lsn(1_000));
        for table in [REVOCATION, USER, ORGANIZATION] {
            feed.handle_message(&relation(table)).expect("it is one");
        }
        let loaded = Loaded {
            visibility,
            identity_columns: Vec::new(),
            spelling: Spelling::default(),
            map: Map::new(0),
            bans,
            kept: Kept::default(),
        };
        let position = feed.emitted();
        let adopted = feed.rights_mut().adopt(loaded, Lsn(1_000), position);
        adopted.expect("nothing was shown yet");
        Self {
            feed,
            keys,
            end: 1_000,
        }
    }

    /// A transaction of one change: what kind of one, and the values of its row. Its position.
    fn says(&mut self, kind: u8, table: Described, values: &[&str]) -> EventId {
        self.says_at(0, kind, table, values)
    }

    fn says_at(&mut self, ms: i64, kind: u8, table: Described, values: &[&str]) -> EventId {
        let commit = self.end + 50;
        self.end += 100;
        let us = (COMMIT_US + 1_000 * ms).to_be_bytes();
        let begin = [b"B".as_slice(), &commit.to_be_bytes(), &us, &[0, 0, 0, 9]].concat();
        let image = if kind == b'D' { b"K" } else { b"N" };
        let head = [&[kind], table.0.to_be_bytes().as_slice(), image].concat();
        let (at, end) = (commit.to_be_bytes(), self.end.to_be_bytes());
        let commit_message = [b"C\0".as_slice(), &at, &end, &us].concat();
        for message in [begin, [head, tuple(values)].concat(), commit_message] {
            self.feed.handle_message(&message).expect("it is one");
            while self.feed.poll_handed().is_some() {}
        }
        self.feed.lineage().position(Lsn(commit), 1)
    }

    /// Where ada is let in from; `None` where she is not.
    fn since(&self, now_ms: u64) -> Option<Option<EventId>> {
        let question = Question {
            user: "ada".to_owned(),
            session: self.keys.session("s"),
            issued_ms: None,
            organisation: Wanted::Named("acme".to_owned()),
            judged: self.feed.emitted(),
            judged_ms: now_ms,
            claims: Some(vec![Claim {
                organisation: "acme".to_owned(),
                role: None,
            }]),
        };
        // So long after that everybody can see what was committed.
        let moment = self.feed.moment(1_000_000, now_ms);
        match self.feed.rights().admit(&question, moment) {
            Admission::Admitted(place) => Some(place.since),
            _ => None,
        }
    }
}

/// The time of a commit so many milliseconds later, as PostgreSQL writes it.
const LATER: &str = "2000-01-01 00:00:02+00";
const LATER_MS: u64 = COMMIT_MS + 1_000;

#[test]
fn whom_a_row_kept_out_sees_nothing_of_before_its_time_was_over() {
    let mut scene = Scene::new();
    assert_eq!(scene.since(COMMIT_MS), Some(None));
    for columns in [
        ["ada", "", ""],
        ["ada", "", "acme"],
        ["", "", "acme"],
        ["", "s", ""],
    ] {
        let mut scene = Scene::new();
        let [user, session, organisation] = columns;
        let row = ["1", user, session, organisation, "", LATER];
        scene.says(b'I', REVOCATION, &row);
        assert_eq!(scene.since(LATER_MS - 1), None, "{columns:?}");
        // While nothing was committed later, all that is known was before.
        scene.says(b'I', USER, &["bob", "f", ""]);
        let known = scene.feed.emitted();
        assert_eq!(scene.since(LATER_MS), Some(Some(known)), "{columns:?}");
        let later = scene.says_at(1_000, b'I', REVOCATION, &["2", "eve", "", "", "", LATER]);
        let over = EventId { index: 0, ..later };
        assert_eq!(scene.since(LATER_MS), Some(Some(over)), "{columns:?}");
    }
    // One that is taken back before its time.
    scene.says(b'I', REVOCATION, &["1", "ada", "", "", "", LATER]);
    let back = scene.says(b'D', REVOCATION, &["1", "", "", "", "", ""]);
    assert_eq!(scene.since(LATER_MS - 1), Some(Some(back)));
}

#[test]
fn who_was_banned_or_deleted_sees_nothing_of_before_being_back() {
    let mut scene = Scene::new();
    scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(None), "that says nothing new");
    scene.says(b'U', USER, &["ada", "t", ""]);
    let back = scene.says(b'U', USER, &["ada", "f", ""]);
    scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
    scene.says(b'D', USER, &["ada", "", ""]);
    let back = scene.says(b'I', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
    scene.says(b'U', USER, &["ada", "t", LATER]);
    let known = scene.feed.emitted();
    assert_eq!(scene.since(LATER_MS), Some(Some(known)));
    // Until then whoever sees it lifted is ahead of the log.
    assert_eq!(scene.since(COMMIT_MS), None);
    let back = scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
    scene.says(b'D', ORGANIZATION, &["acme"]);
    let back = scene.says(b'I', ORGANIZATION, &["acme"]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
}

fn ada_until(until_ms: Option<u64>) -> Result<Vec<Ban>, String> {
    let user = Keys::new([3; 16]).user("ada");
    Ok(vec![Ban { user, until_ms }])
}

#[test]
fn who_was_banned_when_the_rows_were_read_sees_nothing_of_before_being_back() {
    let mut scene = Scene::loaded(ada_until(None), Visibility::default());
    // Whoever judges her may see that the ban was lifted before it is said here.
    assert_eq!(scene.since(COMMIT_MS), None);
    let back = scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
    // Where it has an end, she is back at that.
    let mut scene = Scene::loaded(ada_until(Some(LATER_MS)), Visibility::default());
    scene.says(b'I', USER, &["bob", "f", ""]);
    let known = scene.feed.emitted();
    assert_eq!(scene.since(LATER_MS), Some(Some(known)));
    let back = scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
}

#[test]
fn a_ban_that_was_over_before_the_rows_were_read_ends_where_the_stream_passes_its_end() {
    let mut scene = Scene::loaded(ada_until(Some(LATER_MS)), Visibility::default());
    scene.says_at(0, b'I', USER, &["bob", "f", ""]);
    let over = scene.says_at(1_000, b'I', USER, &["eve", "f", ""]);
    scene.says_at(2_000, b'I', USER, &["joe", "f", ""]);
    let over = EventId { index: 0, ..over };
    assert_eq!(scene.since(LATER_MS + 60_000), Some(Some(over)));
}

#[test]
fn the_last_word_says_when_a_ban_is_over() {
    let mut scene = Scene::new();
    scene.says(b'U', USER, &["ada", "t", "2000-01-03 00:00:00+00"]);
    // A row that keeps her out of nothing that was issued since, and for longer.
    let much_later = "2000-01-02 00:00:00+00";
    scene.says(b'I', REVOCATION, &["1", "ada", "", "", LATER, much_later]);
    scene.says(b'U', USER, &["ada", "t", LATER]);
    let over = scene.says_at(1_000, b'I', USER, &["bob", "f", ""]);
    let since = scene.feed.rights().absences.last[&Target::User(scene.keys.user("ada"))].at;
    assert_eq!(since, EventId { index: 0, ..over });
}

#[test]
fn who_is_made_banned_is_out_until_that_is_lifted() {
    let mut scene = Scene::new();
    scene.says(b'I', USER, &["ada", "t", ""]);
    assert_eq!(scene.since(COMMIT_MS), None);
    let back = scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
}

#[test]
fn however_much_is_said_of_others_a_ban_is_remembered() {
    let mut scene = Scene::loaded(ada_until(None), Visibility::default());
    for number in 0..=REVOCATIONS_REMEMBERED_MAX {
        scene.says(b'I', USER, &[&number.to_string(), "f", ""]);
    }
    assert_eq!(scene.since(COMMIT_MS), None);
    let back = scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
}

#[test]
fn where_nobody_can_tell_who_was_banned_a_row_that_lets_in_counts_as_a_return() {
    let mut scene = Scene::loaded(Err(String::new()), Visibility::default());
    assert_eq!(scene.since(COMMIT_MS), Some(None));
    let back = scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
}

#[test]
fn what_the_snapshot_has_seen_may_have_lifted_a_ban() {
    let visibility = Visibility::parse("9:10:", Lsn(1_100), Lsn(1_000)).expect("it is one");
    let mut scene = Scene::loaded(Ok(Vec::new()), visibility);
    let back = scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
    // What came behind it has not.
    scene.says(b'U', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
    // Nor does one who is made behind it come back, who was there before.
    scene.says(b'I', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(back)));
    let visibility = Visibility::parse("9:10:", Lsn(1_100), Lsn(1_000)).expect("it is one");
    let mut scene = Scene::loaded(Ok(Vec::new()), visibility);
    let made = scene.says(b'I', USER, &["ada", "f", ""]);
    assert_eq!(scene.since(COMMIT_MS), Some(Some(made)));
}

#[test]
fn a_time_that_was_over_when_it_was_said_is_over_there() {
    let keys = Keys::new([3; 16]);
    let at = |lsn, index| EventId {
        lsn: Lsn(lsn),
        index,
        ..EventId::default()
    };
    let user = Target::User(keys.user("ada"));
    let mut absences = Absences::default();
    absences.out_until(user, at(5, 3), 700);
    // The transaction is begun anew on another connection, half of which was handed over.
    absences.pass(800, at(5, 2));
    assert_eq!(absences.since(&[user], 800, at(5, 2)), Some(at(5, 3)));
}

#[test]
fn what_was_forgotten_may_have_been_about_anybody() {
    let keys = Keys::new([3; 16]);
    let at = |lsn| EventId {
        lsn: Lsn(lsn),
        ..EventId::default()
    };
    let user = |number: usize| Target::User(keys.user(&number.to_string()));
    let mut absences = Absences::default();
    absences.out_until(user(0), at(5), 700);
    for number in 1..REVOCATIONS_REMEMBERED_MAX {
        absences.out(user(number), at(10));
    }
    assert_eq!(absences.since(&[user(usize::MAX)], 0, at(20)), None);
    absences.out(user(1), at(15));
    assert_eq!(absences.last.len(), REVOCATIONS_REMEMBERED_MAX - 1);
    assert_eq!(absences.since(&[user(usize::MAX)], 0, at(20)), Some(at(5)));
    assert!(absences.ends.is_empty());
    // The time at which that one is back.
    absences.pass(700, at(18));
    assert_eq!(absences.since(&[user(2)], 0, at(20)), Some(at(18)));
}

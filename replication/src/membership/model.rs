//! A model of the memberships: random transactions, seen by a snapshot or not, in a stream that begins
//! before it; against what a table would say that has exactly the transactions of the stream so far.
//!
//! The model knows nothing of keys, identities or visibility: it replays whole transactions.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wire::{Batch, EventId, Keys, Lineage, Lsn, RevocationScope};

use super::concerns::RowIdentity;
use super::kept::Kept;
use super::map::{Map, Row as MemberRow};
use super::rights::{Loaded, TooEarly};
use super::spelling::Spelling;
use super::visibility::Visibility;
use super::{Admission, Identity, MembershipSource, MembershipTable, Question, Wanted};
use crate::Rules;
use crate::feed::Feed;

const USERS: [&str; 3] = ["ada", "bob", "eve"];
const ORGANISATIONS: [&str; 2] = ["acme", "globex"];
const ROLES: [&str; 2] = ["reader", "writer"];

/// The rows of the table, by their id: user, organisation, role.
type Table = BTreeMap<u8, (usize, usize, usize)>;

/// What a transaction does to a row: gives it this, or takes it away.
type Change = (u8, Option<(usize, usize, usize)>);

#[derive(Clone, Debug)]
struct Transaction {
    changes: Vec<Change>,
    /// Whether it began before the one that was committed before it.
    began_earlier: bool,
    /// Whether the snapshot does not see it yet, though it may be committed.
    is_late: bool,
}

#[derive(Clone, Debug)]
struct World {
    transactions: Vec<Transaction>,
    /// Where the stream begins, how far it has come when the snapshot is taken, and what had been committed
    /// by then.
    begin: usize,
    streamed: usize,
    committed: usize,
}

fn change() -> impl Strategy<Value = Change> {
    let row = (0..USERS.len(), 0..ORGANISATIONS.len(), 0..ROLES.len());
    (0..5_u8, proptest::option::weighted(0.6, row))
}

fn world() -> impl Strategy<Value = World> {
    let transaction = (
        prop::collection::vec(change(), 1..4),
        any::<bool>(),
        prop::bool::weighted(0.3),
    );
    let transactions = prop::collection::vec(transaction, 1..14);
    (transactions, any::<[prop::sample::Index; 3]>()).prop_map(|(transactions, places)| {
        let len = transactions.len() + 1;
        let mut places = places.map(|place| place.index(len));
        places.sort_unstable();
        let [begin, streamed, committed] = places;
        let transactions = transactions
            .into_iter()
            .map(|(changes, began_earlier, is_late)| Transaction {
                changes,
                began_earlier,
                is_late,
            })
            .collect();
        World {
            transactions,
            begin,
            streamed,
            committed,
        }
    })
}

impl World {
    /// The number of each transaction, given out when it begins.
    fn xids(&self) -> Vec<u32> {
        let mut xids: Vec<u32> = (0..self.transactions.len())
            .map(|at| 100 + at as u32)
            .collect();
        for at in 1..xids.len() {
            if self.transactions[at].began_earlier {
                xids.swap(at - 1, at);
            }
        }
        xids
    }

    /// The transactions that the snapshot sees. Of a row that one has changed which is still open, no other
    /// can have changed anything.
    fn seen(&self, too_early: bool) -> Vec<bool> {
        let mut open = BTreeSet::new();
        let mut seen = Vec::new();
        for (at, transaction) in self.transactions.iter().enumerate() {
            let ids = transaction.changes.iter().map(|(id, _)| *id);
            // What was streamed before is seen in the end, when the snapshot is taken again.
            let may_be_late = at >= self.streamed || (too_early && at >= self.begin);
            let is_late = transaction.is_late && may_be_late;
            let is_seen =
                at < self.committed && !is_late && ids.clone().all(|id| !open.contains(&id));
            if !is_seen {
                open.extend(ids);
            }
            seen.push(is_seen);
        }
        seen
    }

    fn loaded(&self, seen: &[bool], keys: &Keys) -> Loaded {
        let xids = self.xids();
        let xmax = 100 + self.committed.max(1) as u64 + 3;
        let running = (0..xids.len())
            .filter(|at| !seen[*at])
            .map(|at| u64::from(xids[at]));
        let running: BTreeSet<u64> = running.filter(|xid| *xid < xmax).collect();
        let xmin = running.first().copied().unwrap_or(xmax);
        let list: Vec<String> = running.iter().map(u64::to_string).collect();
        let text = format!("{xmin}:{xmax}:{}", list.join(","));
        let end = commit_of(self.committed);
        let mut table = Table::new();
        for (transaction, _) in self
            .transactions
            .iter()
            .zip(seen)
            .filter(|(_, seen)| **seen)
        {
            apply(&mut table, transaction);
        }
        let mut map = Map::new(100);
        for (id, (user, organisation, role)) in table {
            let mut identity = RowIdentity::default();
            identity.push("id", Some(id.to_string().as_bytes()));
            let row = MemberRow {
                user: keys.user(USERS[user]),
                organisation: keys.organisation(ORGANISATIONS[organisation]),
                role: Some(ROLES[role].into()),
                copies: 1,
            };
            map.insert(identity.key(keys), row, ORGANISATIONS[organisation]);
        }
        Loaded {
            visibility: Visibility::parse(&text, end, end).expect("it is one"),
            identity_columns: vec!["id".to_owned()],
            spelling: Spelling::default(),
            map,
            bans: Ok(Vec::new()),
            kept: Kept::default(),
        }
    }
}

fn apply(table: &mut Table, transaction: &Transaction) {
    for (id, row) in &transaction.changes {
        match row {
            Some(row) => table.insert(*id, *row),
            None => table.remove(id),
        };
    }
}

/// The roles of a user in an organisation, by the table.
fn roles(table: &Table, user: usize, organisation: usize) -> BTreeSet<&'static str> {
    let rows = table
        .values()
        .filter(|row| (row.0, row.1) == (user, organisation));
    rows.map(|row| ROLES[row.2]).collect()
}

fn commit_of(at: usize) -> Lsn {
    Lsn(1_000 + 100 * at as u64)
}

fn lineage() -> Lineage {
    Lineage::new(1, Vec::new(), 1)
}

fn text(text: &str) -> Vec<u8> {
    [
        b"t".as_slice(),
        &(text.len() as u32).to_be_bytes(),
        text.as_bytes(),
    ]
    .concat()
}

fn tuple(id: u8, row: Option<(usize, usize, usize)>) -> Vec<u8> {
    let mut bytes = [b"\0\x04".as_slice(), &text(&id.to_string())].concat();
    match row {
        Some((user, organisation, role)) => {
            let names = [USERS[user], ORGANISATIONS[organisation], ROLES[role]];
            names.iter().for_each(|name| bytes.extend(text(name)));
        }
        None => bytes.extend(b"nnn"),
    }
    bytes
}

fn relation() -> Vec<u8> {
    let columns = [("id", 1), ("userId", 0), ("orgId", 0), ("role", 0)];
    let columns = columns
        .map(|(name, key)| [&[key], name.as_bytes(), b"\0\0\0\0\x19\xff\xff\xff\xff"].concat());
    [b"R\0\0\0\x07public\0Member\0d\0\x04", &columns.concat()[..]].concat()
}

/// What the server says of a transaction.
fn messages(at: usize, xid: u32, transaction: &Transaction, table: &Table) -> Vec<Vec<u8>> {
    let commit = commit_of(at).0.to_be_bytes();
    let end = (commit_of(at).0 + 50).to_be_bytes();
    let oid = 7_u32.to_be_bytes();
    let mut messages = vec![[b"B".as_slice(), &commit, &[0; 8], &xid.to_be_bytes()].concat()];
    let mut table = table.clone();
    for (id, row) in &transaction.changes {
        let was = match row {
            Some(row) => table.insert(*id, *row),
            None => table.remove(id),
        };
        messages.push(match (was, row) {
            (Some(_), Some(_)) => [b"U".as_slice(), &oid, b"N", &tuple(*id, *row)].concat(),
            (None, Some(_)) => [b"I".as_slice(), &oid, b"N", &tuple(*id, *row)].concat(),
            (Some(_), None) => [b"D".as_slice(), &oid, b"K", &tuple(*id, None)].concat(),
            (None, None) => continue,
        });
    }
    messages.push([b"C\0".as_slice(), &commit, &end, &[0; 8]].concat());
    messages
}

/// Lets a feed read a transaction, and returns what it handed over.
fn stream(feed: &mut Feed, messages: Vec<Vec<u8>>) -> Vec<Batch> {
    let mut batches = Vec::new();
    for message in messages {
        feed.handle_message(&message).expect("it is one");
        batches.extend(std::iter::from_fn(|| feed.poll_handed()).map(|handed| handed.batch));
    }
    batches
}

fn admit(feed: &Feed, keys: &Keys, user: usize, organisation: usize) -> Admission {
    let question = Question {
        user: USERS[user].to_owned(),
        session: keys.session("s"),
        issued_ms: None,
        organisation: Wanted::Named(ORGANISATIONS[organisation].to_owned()),
        judged: feed.emitted(),
        judged_ms: 0,
        claims: None,
    };
    feed.rights().admit(&question, feed.moment(0, 0))
}

/// Every user with every organisation.
fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..USERS.len()).flat_map(|user| (0..ORGANISATIONS.len()).map(move |of| (user, of)))
}

/// A feed at the place where the stream begins.
fn begin(world: &World) -> (Feed, Keys) {
    let keys = Keys::new([9; 16]);
    let membership = MembershipTable {
        role: Some("role".to_owned()),
        ..MembershipTable::new("Member", "userId", "orgId")
    };
    let rules = Rules {
        identity: Identity {
            membership: MembershipSource::Table(membership),
            ..Identity::default()
        },
        ..Rules::default()
    };
    let floor = Lsn(commit_of(world.begin).0 - 50);
    let mut feed = Feed::new(rules, keys.clone(), lineage(), floor);
    feed.handle_message(&relation()).expect("it is one");
    (feed, keys)
}

fn run(world: &World) -> Result<(), TestCaseError> {
    let (mut feed, keys) = begin(world);
    let xids = world.xids();
    let mut table = Table::new();
    world.transactions[..world.begin]
        .iter()
        .for_each(|it| apply(&mut table, it));
    // Where each membership began, as far as the stream says.
    let mut joined: BTreeMap<(usize, usize), EventId> = BTreeMap::new();
    for (at, transaction) in world.transactions.iter().enumerate().skip(world.begin) {
        if at == world.streamed {
            load(&mut feed, world, &keys)?;
        }
        let before = table.clone();
        let batches = stream(&mut feed, messages(at, xids[at], transaction, &table));
        apply(&mut table, transaction);
        let is_known = at >= world.streamed && at >= world.committed;
        for (user, organisation) in pairs() {
            let was = roles(&before, user, organisation);
            let is = roles(&table, user, organisation);
            if was.is_empty() && !is.is_empty() {
                joined.insert((user, organisation), lineage().position(commit_of(at), 1));
            }
            if is_known {
                let scope = RevocationScope::Member {
                    user: keys.user(USERS[user]),
                    organisation: keys.organisation(ORGANISATIONS[organisation]),
                };
                let is_revoked = batches
                    .iter()
                    .any(|batch| matches!(batch, Batch::Revoke(it) if it.scope == scope));
                prop_assert!(
                    was.is_empty() || was == is || is_revoked,
                    "{user} {organisation}"
                );
            }
        }
        compare(&feed, &keys, &table, &joined)?;
    }
    if world.streamed >= world.transactions.len() {
        load(&mut feed, world, &keys)?;
    }
    // Whatever the snapshot saw, the stream has come by now.
    feed.handle_keepalive(commit_of(world.transactions.len() + 1));
    compare(&feed, &keys, &table, &joined)?;
    prop_assert!(feed.rights().status().ready);
    Ok(())
}

/// Takes the snapshot: too early, if it can be, and then again.
fn load(feed: &mut Feed, world: &World, keys: &Keys) -> Result<(), TestCaseError> {
    let (passed, position) = (feed.resume(), feed.emitted());
    let early = world.seen(true);
    let is_early = (world.begin..world.streamed).any(|at| {
        let is_change = |(_, row): &Change| row.is_some();
        !early[at] && world.transactions[at].changes.iter().any(is_change)
    });
    if is_early {
        let adopted = feed
            .rights_mut()
            .adopt(world.loaded(&early, keys), passed, position);
        prop_assert_eq!(adopted.map(|_| ()), Err(TooEarly));
    }
    let adopted = feed
        .rights_mut()
        .adopt(world.loaded(&world.seen(false), keys), passed, position);
    prop_assert!(
        adopted.is_ok_and(|effects| effects.is_empty()),
        "nothing was known before"
    );
    Ok(())
}

/// Every verdict is what the table says, or that nobody can say.
fn compare(
    feed: &Feed,
    keys: &Keys,
    table: &Table,
    joined: &BTreeMap<(usize, usize), EventId>,
) -> Result<(), TestCaseError> {
    for (user, organisation) in pairs() {
        let roles = roles(table, user, organisation);
        match admit(feed, keys, user, organisation) {
            Admission::NotReady => prop_assert!(!feed.rights().status().ready),
            Admission::NotAMember => prop_assert!(roles.is_empty(), "{user} {organisation}"),
            Admission::Admitted(place) => {
                let role = Vec::from_iter(roles).join(",");
                prop_assert_eq!(place.role.as_deref(), Some(role.as_str()));
                let joined = joined.get(&(user, organisation));
                prop_assert!(place.since >= joined.copied(), "{:?} {:?}", place, joined);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_verdicts_are_those_of_a_table_with_what_was_streamed(world in world()) {
        run(&world)?;
    }
}

/// The grant would otherwise come before what the transaction changed first.
#[test]
fn who_joins_in_a_transaction_is_let_in_when_all_of_it_was_handed_over() {
    let joins = Transaction {
        changes: vec![(1, Some((0, 0, 0)))],
        began_earlier: false,
        is_late: false,
    };
    let world = World {
        transactions: vec![joins.clone()],
        begin: 0,
        streamed: 0,
        committed: 0,
    };
    let (mut feed, keys) = begin(&world);
    load(&mut feed, &world, &keys).unwrap();
    feed.handle_keepalive(commit_of(0));
    assert_eq!(admit(&feed, &keys, 0, 0), Admission::NotAMember);
    let messages = messages(0, 100, &joins, &Table::new());
    let (commit, before) = messages.split_last().unwrap();
    before
        .iter()
        .for_each(|message| feed.handle_message(message).unwrap());
    assert_eq!(admit(&feed, &keys, 0, 0), Admission::NotReady);
    assert_eq!(admit(&feed, &keys, 0, 1), Admission::NotAMember);
    // A connection that breaks hands over none of it.
    feed.on_reconnect(lineage());
    assert_eq!(admit(&feed, &keys, 0, 0), Admission::NotReady);
    feed.handle_message(&relation()).unwrap();
    before
        .iter()
        .for_each(|message| feed.handle_message(message).unwrap());
    feed.handle_message(commit).unwrap();
    let Admission::Admitted(place) = admit(&feed, &keys, 0, 0) else {
        panic!("a member")
    };
    assert_eq!(place.since, Some(lineage().position(commit_of(0), 1)));
}

/// A row of another table, whose event is so long.
fn horse(bytes: usize) -> Vec<u8> {
    let name = "x".repeat(bytes);
    [
        b"I\0\0\0\x08N\0\x02".as_slice(),
        &text(&name),
        &text("acme"),
    ]
    .concat()
}

/// Of a second row the stream ends, since its roles change. What the transaction changed before is not lost
/// for it, wherever the connection breaks, and what comes after it may be as long as it likes.
#[test]
fn who_is_given_another_role_takes_no_event_away() {
    let gives = |id, role| Transaction {
        changes: vec![(id, Some((0, 0, role)))],
        began_earlier: false,
        is_late: false,
    };
    let world = World {
        transactions: vec![gives(1, 0), gives(2, 1)],
        begin: 1,
        streamed: 1,
        committed: 1,
    };
    for breaks in [false, true] {
        let (mut feed, keys) = begin(&world);
        load(&mut feed, &world, &keys).unwrap();
        let columns = [
            b"\x01id\0\0\0\0\x19\xff\xff\xff\xff",
            b"\0tenant_id\0\0\0\0\x19\xff\xff\xff\xff" as &[u8],
        ];
        let horses = [
            b"R\0\0\0\x08public\0horse\0d\0\x02".as_slice(),
            &columns.concat(),
        ]
        .concat();
        let mut second = messages(
            1,
            101,
            &world.transactions[1],
            &Table::from([(1, (0, 0, 0))]),
        );
        let (begin, commit) = (second.remove(0), second.pop().unwrap());
        let insert = second.pop().unwrap();
        let first = vec![horses, begin, horse(10), insert];
        let mut batches = stream(&mut feed, first.clone());
        let revoked = |batch: &Batch| matches!(batch, Batch::Revoke(_));
        assert!(batches.iter().any(revoked), "{batches:?}");
        if breaks {
            feed.on_reconnect(lineage());
            feed.handle_message(&relation()).unwrap();
            batches.extend(stream(&mut feed, first));
        }
        batches.extend(stream(&mut feed, vec![horse(300 << 10), commit]));
        let events = batches.iter().filter_map(|batch| match batch {
            Batch::Commit(commit) => Some(commit.frames.len()),
            _ => None,
        });
        assert_eq!(events.sum::<usize>(), 2, "breaks: {breaks}");
        assert_eq!(batches.iter().filter(|it| revoked(it)).count(), 1);
    }
}

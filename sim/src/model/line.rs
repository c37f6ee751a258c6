//! A line of history: what was committed on it, in order, and who may hear of each change. After a failover
//! there are two, with their beginning in common; the older one has an end that was left.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::{Name, Names};
use super::position::Position;
use super::rights::Rights;
use crate::postgres::schema::{self, NOTIFICATION, PROPERTY, REPORT, Row, TableId};
use crate::postgres::{Meaning, Transaction, What};

/// To whom an event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody.
    Global,
    /// An organisation.
    Organisation(Name),
    /// A user: in one organisation, or wherever they are.
    User(Name, Option<Name>),
}

/// What becomes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The change as it is.
    Whole,
    /// The row leaves whoever had it.
    Leaves,
    /// The row is new to who has it now.
    Enters,
    /// A table was emptied.
    Emptied(TableId),
}

/// An event that somebody may hear of.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its position.
    pub position: Position,
    /// To whom it goes.
    pub audience: Audience,
    /// Its type.
    pub kind: Arc<str>,
    /// Its channel.
    pub channel: Arc<str>,
    /// Whether only who has [`schema::REPORT_ROLE`] sees it.
    pub is_for_role: bool,
    /// Whether it repeats what was said shortly before: who knows of the one before drops it, and who began to
    /// read in between cannot.
    pub is_repeated: bool,
    /// What it becomes of its change.
    pub part: Part,
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// The change within that.
    pub change: usize,
    /// Its text and the id under which that was asked for, once somebody has.
    pub(super) text: OnceCell<(String, String)>,
}

impl Expected {
    /// What was committed.
    pub(super) fn committed(&self) -> &What {
        &self.transaction.changes[self.change].what
    }
}

/// Events, as places in the list of all.
type Places = Vec<u32>;

/// What two messages have in common of which the first counts.
type SaidKey = (Option<String>, Option<String>, String);

/// A line of history.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) timeline: u32,
    /// The timelines that were left on it, oldest first, each with the place where it was.
    left: Vec<(u32, u64)>,
    /// How far it goes.
    pub(super) end: u64,
    transactions: Vec<Arc<Transaction>>,
    events: Vec<Expected>,
    global: Places,
    of_organisations: BTreeMap<Name, Places>,
    of_users: BTreeMap<Name, Places>,
    pub(super) rights: Rights,
    /// When a message with an id was committed the last time, in milliseconds since 1970.
    said: BTreeMap<SaidKey, u64>,
    pub(super) window_ms: u64,
}

impl Line {
    pub(super) fn new(window_ms: u64) -> Self {
        Self {
            timeline: 1,
            left: Vec::new(),
            end: 0,
            transactions: Vec::new(),
            events: Vec::new(),
            global: Vec::new(),
            of_organisations: BTreeMap::new(),
            of_users: BTreeMap::new(),
            rights: Rights::default(),
            said: BTreeMap::new(),
            window_ms,
        }
    }

    /// The line that goes on from a place of this one, on another timeline.
    pub(super) fn fork(&self, timeline: u32, at: u64, names: &mut Names) -> Self {
        let mut line = Self::new(self.window_ms);
        line.timeline = timeline;
        line.left.clone_from(&self.left);
        line.left.push((self.timeline, at));
        for transaction in self.transactions.iter().filter(|it| it.end <= at) {
            line.push(transaction, names);
        }
        line.end = at;
        line
    }

    /// Where it forked from the one before it.
    pub(super) fn begin(&self) -> Position {
        Position {
            timeline: self.timeline,
            lsn: self.left.last().map_or(0, |(_, at)| *at),
            index: 0,
        }
    }

    /// Takes a transaction.
    pub(super) fn push(&mut self, transaction: &Arc<Transaction>, names: &mut Names) {
        let mut index = 0;
        for (at, change) in transaction.changes.iter().enumerate() {
            let tables = match &change.what {
                What::Truncate(tables) => tables.as_slice(),
                _ => &[],
            };
            for step in 0..tables.len().max(1) {
                index += 1;
                let place = Place {
                    position: Position {
                        timeline: transaction.timeline,
                        lsn: transaction.commit,
                        index,
                    },
                    transaction,
                    change: at,
                };
                match tables.get(step) {
                    Some(table) => self.on_emptied(*table, place),
                    None => self.on_change(&change.what, place, names),
                }
                let table = tables.get(step).copied();
                self.rights.push(
                    &change.what,
                    table,
                    place.position,
                    transaction.unix_us,
                    names,
                );
            }
        }
        self.transactions.push(transaction.clone());
        self.end = self.end.max(transaction.end);
    }

    /// Whether a position is one of this line: an event that may be on it, or a place up to which somebody has
    /// everything of it.
    pub(super) fn contains(&self, position: Position) -> bool {
        let own = |timeline: &&(u32, u64)| timeline.0 == position.timeline;
        let left = self.left.iter().find(own);
        if left.is_none() && position.timeline != self.timeline {
            return false;
        }
        let before = self
            .left
            .iter()
            .rfind(|(timeline, _)| *timeline < position.timeline);
        // The place behind the last commit that a timeline has is its own, too.
        let is_before = |at: u64| position.lsn < at || (position.lsn == at && position.index == 0);
        before.is_none_or(|(_, at)| position.lsn >= *at)
            && left.is_none_or(|(_, at)| is_before(*at))
    }

    /// The place in the list of all events behind a position.
    pub(super) fn behind(&self, position: Position) -> u32 {
        let is_passed = |event: &Expected| !position.is_before(event.position);
        self.events.partition_point(is_passed) as u32
    }

    /// Where the newest transaction ends that ends at a place or before it and has something to tell.
    pub(super) fn last_event_before(&self, place: u64) -> Option<u64> {
        let is_passed = |event: &Expected| event.transaction.end <= place;
        let passed = self.events.partition_point(is_passed);
        let mut passed = self.events[..passed].iter().rev();
        let last = passed.find(|event| !event.is_repeated)?;
        Some(last.transaction.end)
    }

    pub(super) fn event(&self, at: u32) -> &Expected {
        &self.events[at as usize]
    }

    /// Whether there is an event at a position, for whomever.
    pub(super) fn is_event(&self, at: Position) -> bool {
        let found = self
            .events
            .binary_search_by_key(&(at.lsn, at.index), |event| {
                (event.position.lsn, event.position.index)
            });
        found.is_ok()
    }

    /// The events from a place on that concern a user in an organisation, in order: before filters and roles.
    pub(super) fn from(
        &self,
        at: u32,
        user: Name,
        organisation: Name,
    ) -> impl Iterator<Item = u32> {
        let lists = [
            self.global.as_slice(),
            list_of(&self.of_organisations, organisation),
            list_of(&self.of_users, user),
        ];
        let mut next = lists.map(|list| list.partition_point(|place| *place < at));
        std::iter::from_fn(move || {
            let heads = (0..lists.len()).filter_map(|which| {
                let place = lists[which].get(next[which])?;
                Some((*place, which))
            });
            let (place, which) = heads.min()?;
            next[which] += 1;
            Some(place)
        })
    }

    fn on_emptied(&mut self, table: TableId, place: Place<'_>) {
        let is_for_role = table == REPORT;
        if ![PROPERTY, NOTIFICATION, REPORT].contains(&table) {
            return;
        }
        let (kind, channel) = match table {
            PROPERTY => ("property.truncated", "property"),
            NOTIFICATION => ("notification.truncated", "user"),
            _ => ("report.truncated", "report"),
        };
        let event = place.event(Audience::Global, kind, channel, Part::Emptied(table));
        self.add(Expected {
            is_for_role,
            ..event
        });
    }

    fn on_change(&mut self, what: &What, place: Place<'_>, names: &mut Names) {
        match what {
            What::Insert { table, new } => {
                let there = home(*table, new);
                self.on_row(*table, Part::Whole, "insert", there, place, names);
            }
            What::Update { table, old, new } => self.on_update(*table, old, new, place, names),
            What::Delete { table, old } if *table != REPORT => {
                let there = home(*table, old);
                self.on_row(*table, Part::Whole, "delete", there, place, names);
            }
            // Nothing in the log says whose such a row was.
            What::Delete { .. } | What::Truncate(_) => {}
            What::Message { meaning, .. } => {
                if let Some(meaning) = meaning {
                    self.on_message(meaning, place, names);
                }
            }
        }
    }

    fn on_update(
        &mut self,
        table: TableId,
        old: &Row,
        new: &Row,
        place: Place<'_>,
        names: &mut Names,
    ) {
        let (was, is) = (home(table, old), home(table, new));
        // Where the replica identity does not name the organisation, a move is an update like any other.
        if was == is || table == REPORT {
            self.on_row(table, Part::Whole, "update", is, place, names);
            return;
        }
        self.on_row(table, Part::Leaves, "delete", was, place, names);
        self.on_row(table, Part::Enters, "insert", is, place, names);
    }

    fn on_row(
        &mut self,
        table: TableId,
        part: Part,
        action: &str,
        home: Option<Home<'_>>,
        place: Place<'_>,
        names: &mut Names,
    ) {
        let Some(Home { organisation, user }) = home else {
            return;
        };
        let organisation = names.of(organisation);
        let (audience, channel) = match user {
            Some(user) => {
                let audience = Audience::User(names.of(user), Some(organisation));
                (audience, format!("user:{user}"))
            }
            None => {
                let channel = table.table().name.to_lowercase();
                (Audience::Organisation(organisation), channel)
            }
        };
        let kind = format!("{}.{action}", table.table().name.to_lowercase());
        let event = place.event(audience, &kind, &channel, part);
        let is_for_role = table == REPORT;
        self.add(Expected {
            is_for_role,
            ..event
        });
    }

    fn on_message(&mut self, meaning: &Meaning, place: Place<'_>, names: &mut Names) {
        let organisation = meaning.organisation.as_ref().map(|name| names.of(name));
        let audience = match (&meaning.user, organisation) {
            (Some(user), within) => Audience::User(names.of(user), within),
            (None, Some(organisation)) => Audience::Organisation(organisation),
            (None, None) => Audience::Global,
        };
        let at_ms = place.transaction.unix_us / 1_000;
        let is_repeated = match &meaning.id {
            None => false,
            Some(id) => {
                let key = (
                    meaning.organisation.clone(),
                    meaning.user.clone(),
                    id.clone(),
                );
                let last = self.said.insert(key, at_ms);
                last.is_some_and(|last_ms| at_ms < last_ms + self.window_ms)
            }
        };
        let event = place.event(audience, &meaning.kind, &meaning.channel, Part::Whole);
        self.add(Expected {
            is_repeated,
            ..event
        });
    }

    fn add(&mut self, event: Expected) {
        let at = self.events.len() as u32;
        let places = match event.audience {
            Audience::Global => &mut self.global,
            Audience::Organisation(name) => self.of_organisations.entry(name).or_default(),
            Audience::User(name, _) => self.of_users.entry(name).or_default(),
        };
        places.push(at);
        self.events.push(event);
    }
}

/// The events of somebody.
fn list_of(lists: &BTreeMap<Name, Places>, name: Name) -> &[u32] {
    lists.get(&name).map_or(&[], Vec::as_slice)
}

/// Where a change stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    position: Position,
    transaction: &'a Arc<Transaction>,
    change: usize,
}

impl Place<'_> {
    fn event(&self, audience: Audience, kind: &str, channel: &str, part: Part) -> Expected {
        Expected {
            position: self.position,
            audience,
            kind: Arc::from(kind),
            channel: Arc::from(channel),
            is_for_role: false,
            is_repeated: false,
            part,
            transaction: self.transaction.clone(),
            change: self.change,
            text: OnceCell::new(),
        }
    }
}

/// Whose a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Home<'a> {
    organisation: &'a str,
    user: Option<&'a str>,
}

/// Whose a row is; `None` where it is for nobody's eyes.
fn home(table: TableId, row: &Row) -> Option<Home<'_>> {
    let organisation = row.get(1)?.as_deref()?;
    let user = match table {
        PROPERTY | REPORT => None,
        NOTIFICATION => Some(row[2].as_deref()?),
        _ => return None,
    };
    Some(Home { organisation, user })
}

const _: () = assert!(
    schema::TABLES.len() == 9,
    "of each it is known who sees its rows"
);

//! The router: a change of a row becomes its frames, and what becomes nobody's is counted and told.
//!
//! What the rules mean for a table is in `routing`, the order of things in `feed`.

use std::collections::{BTreeMap, VecDeque};

use wire::{Frame, Keys};

use crate::application::{Application, PREFIX, Refused};
use crate::events::{Change, EventWriter, Place};
use crate::limits::REFUSED_MS;
use crate::notice::Notice;
use crate::pgoutput::{Old, Tuple};
use crate::routing::{Destination, Road, Table};
use crate::seen::Seen;
use crate::tally::Tally;
use crate::{Action, Rules};

/// A change of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) action: Action,
    pub(crate) new: Option<Tuple<'a>>,
    pub(crate) old: Option<Old<'a>>,
}

impl<'a> Row<'a> {
    pub(crate) fn inserted(new: Tuple<'a>) -> Self {
        Self {
            action: Action::Insert,
            new: Some(new),
            old: None,
        }
    }

    pub(crate) fn updated(old: Option<Old<'a>>, new: Tuple<'a>) -> Self {
        Self {
            action: Action::Update,
            new: Some(new),
            old,
        }
    }

    pub(crate) fn deleted(old: Old<'a>) -> Self {
        Self {
            action: Action::Delete,
            new: None,
            old: Some(old),
        }
    }
}

/// What comes of a change: everything that does not change from one to the next.
pub(crate) struct Router {
    pub(crate) rules: Rules,
    keys: Keys,
    events: EventWriter,
    pub(crate) tally: Tally,
    pub(crate) seen: Seen,
    /// At most a few for each table.
    notices: VecDeque<Notice>,
    /// What is to be said of refused messages, by reason.
    refusals: BTreeMap<Refused, Refusals>,
}

/// Messages that were refused for one reason.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    /// How many there were since that was said.
    count: u64,
    /// Not to be said before this.
    due_ms: u64,
}

impl Router {
    pub(crate) fn new(rules: Rules, keys: Keys) -> Self {
        Self {
            seen: Seen::default(),
            events: EventWriter::new(rules.event_bytes_max),
            rules,
            keys,
            tally: Tally::default(),
            notices: VecDeque::new(),
            refusals: BTreeMap::new(),
        }
    }

    /// The frames of a change of a row: mostly one, two where it moves from one to another.
    pub(crate) fn rows(&mut self, place: Place, table: &Table, row: Row<'_>) -> [Option<Frame>; 2] {
        let plan = match &table.road {
            Road::Open(plan) => plan,
            Road::Withheld => return [None, None],
            Road::Unroutable => {
                self.on_unroutable(table);
                return [None, None];
            }
        };
        let Row { action, new, old } = row;
        let target = new.and_then(|new| table.destination_of_new(plan, new, old));
        let source = old.and_then(|old| table.destination_of_old(plan, old));
        if (new.is_some() && target.is_none()) || (new.is_none() && source.is_none()) {
            self.on_unroutable(table);
        } else if action == Action::Update && !table.knows_home {
            // It may have come from somewhere else, where it is now shown for ever.
            self.tally.on_unscoped(table);
        }
        // It leaves its old place as a delete, since what it has become is not for their eyes, and
        // enters the new one as an insert, since what it was is not for theirs.
        let moved = new.is_some() && source.is_some() && source != target;
        let left = Change {
            action: Action::Delete,
            new: None,
            old,
            shows_old: true,
        };
        let there = Change {
            action: if moved { Action::Insert } else { action },
            new,
            old,
            // A key is shown even where it does not say whose it was: pages must forget it.
            shows_old: !moved && (source.is_some() || old.is_some_and(|old| !old.whole)),
        };
        let mut write = |destination: Destination<'_>, change| {
            let audience = plan.audience(&destination, &self.keys);
            let events = &mut self.events;
            events.row(place, table, plan, &destination, audience, change)
        };
        let leaves = source.filter(|_| moved || new.is_none());
        [
            leaves.map(|from| write(from, left)),
            target.map(|to| write(to, there)),
        ]
    }

    /// The frame of a table that was emptied.
    pub(crate) fn truncation(&mut self, place: Place, table: &Table) -> Option<Frame> {
        let plan = match &table.road {
            Road::Open(plan) => plan,
            Road::Withheld => return None,
            Road::Unroutable => {
                self.on_unroutable(table);
                return None;
            }
        };
        let emptied = Change {
            action: Action::Truncate,
            new: None,
            old: None,
            shows_old: false,
        };
        let (destination, audience) = (plan.constant(), plan.audience_of_all(&self.keys));
        let events = &mut self.events;
        Some(events.row(place, table, plan, &destination, audience, emptied))
    }

    /// The frame of an application message, if it is one of ours and as it should be. `place` is `None`
    /// for a message outside of a transaction.
    pub(crate) fn application(
        &mut self,
        place: Option<Place>,
        prefix: &str,
        content: &[u8],
    ) -> Option<Frame> {
        if prefix != PREFIX {
            // It is somebody else's.
            self.tally.on_refused(Refused::Prefix);
            return None;
        }
        let said = match (Application::parse(content), place) {
            (Ok(said), Some(place)) => (said, place),
            (Err(objection), Some(_)) => return self.refuse(objection.reason),
            (_, None) => return self.refuse(Refused::NotTransactional),
        };
        let (said, place) = said;
        if let Some(id) = said.key(&self.keys)
            && !self.seen.is_first(id, place.id, place.commit_ms)
        {
            // Whoever sent it again meant the first; nothing is wrong with it.
            self.tally.on_refused(Refused::Repeated);
            return None;
        }
        self.tally.on_channel(said.channel.as_str());
        let audience = said.audience(&self.keys);
        Some(self.events.application(place, &said, audience))
    }

    /// A table was described.
    pub(crate) fn on_table(&mut self, table: &mut Table) {
        table.counted = self.tally.place_of(&table.name);
        if let Road::Open(plan) = &table.road {
            let channel = plan.channel(&plan.constant());
            self.tally.on_channel(channel.as_str());
        }
        if self.tally.on_withheld(table) {
            let columns = table.withheld.clone();
            self.notices.push_back(Notice::Withheld {
                table: table.name.clone(),
                columns,
            });
        }
    }

    /// Says what is due.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) {
        for (reason, refusals) in &mut self.refusals {
            if refusals.count > 0 && now_ms >= refusals.due_ms {
                self.notices.push_back(Notice::MessageRefused {
                    reason: reason.as_str(),
                    count: refusals.count,
                });
                *refusals = Refusals {
                    count: 0,
                    due_ms: now_ms + REFUSED_MS,
                };
            }
        }
    }

    /// When something is due to be said.
    pub(crate) fn deadline_ms(&self) -> u64 {
        let pending = self.refusals.values().filter(|it| it.count > 0);
        pending.map(|it| it.due_ms).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    fn refuse(&mut self, reason: Refused) -> Option<Frame> {
        self.tally.on_refused(reason);
        self.refusals.entry(reason).or_default().count += 1;
        None
    }

    fn on_unroutable(&mut self, table: &Table) {
        if self.tally.on_unroutable(table) {
            self.notices.push_back(Notice::Unroutable {
                table: table.name.clone(),
            });
        }
    }
}

impl std::fmt::Debug for Router {
    /// Without the keys, which are a secret of the boot.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

//! What each client must have seen, from the commit log alone.
//!
//! The model replays the log (`line`: who hears of what; `rights`: who may), writes the text of every event
//! again (`render`), and judges what a client was told, word by word (`stream`). It shares nothing with the
//! engine and the reader: it reads ids by itself, hashes nothing, and knows no batch of theirs. Where the
//! documentation leaves something open, it allows both, and says so where it does.

mod line;
mod names;
mod position;
mod render;
mod rights;
mod stream;

use crate::postgres::{CommitLog, Record};
use line::Line;
use names::Names;

pub use line::{Audience, Expected, Part};
pub use names::Name;
pub use position::Position;
pub use rights::Roles;
pub use stream::{Asked, Fault, Stream, Verdict};

/// Who looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Viewer {
    /// The user.
    pub user: String,
    /// The organisation.
    pub organisation: String,
    /// The session, by its row.
    pub session: String,
    /// The channels that it wants; none is all.
    pub channels: Vec<String>,
    /// The types that it wants, with a star at the end for any ending; none is all.
    pub types: Vec<String>,
}

impl Viewer {
    /// Whether its channels and types admit an event.
    pub(crate) fn admits(&self, event: &Expected) -> bool {
        let is_of_user = event.channel.starts_with("user:");
        let is_named = |name: &String| **name == *event.channel || (is_of_user && name == "user");
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => event.kind.starts_with(beginning),
            None => **pattern == *event.kind,
        };
        (self.channels.is_empty() || self.channels.iter().any(is_named))
            && (self.types.is_empty() || self.types.iter().any(fits))
    }
}

/// What was committed, and who may see it.
#[derive(Clone, Debug)]
pub struct Model {
    names: Names,
    /// The lines of history; the last is in force.
    lines: Vec<Line>,
    /// How many records of the log were read.
    read: usize,
    batch_over: u32,
}

impl Model {
    /// A model of an empty log, for readers of this configuration: `batch.over`, and the window within which
    /// a message with an id counts once, in milliseconds.
    pub fn new(batch_over: u32, window_ms: u64) -> Self {
        Self {
            names: Names::default(),
            lines: vec![Line::new(window_ms)],
            read: 0,
            batch_over,
        }
    }

    /// Takes what the log has got since.
    pub fn follow(&mut self, log: &CommitLog) {
        for record in &log.records()[self.read..] {
            let line = self.lines.last_mut().expect("there is always one");
            match record {
                Record::Transaction(transaction) => line.push(transaction, &mut self.names),
                // What would survive a rollback is refused.
                Record::Message(_) => {}
                Record::Fork { timeline, at, end } => {
                    line.end = line.end.max(*end);
                    let next = line.fork(*timeline, *at, &mut self.names);
                    self.lines.push(next);
                }
            }
        }
        self.read = log.records().len();
        let line = self.lines.last_mut().expect("there is always one");
        line.end = line.end.max(log.end());
    }

    /// The next event behind a position that somebody with these roles hears of, on the line of history that
    /// is in force. What is repeated is left out.
    pub fn next_after(&self, viewer: &Viewer, roles: Roles, after: Position) -> Option<&Expected> {
        let (user, organisation) = self.names_of(viewer)?;
        let line = self.current();
        let mut events = line.from(line.behind(after), user, organisation);
        let found = events.find(|at| {
            let event = line.event(*at);
            is_for(event, user, organisation, roles) && viewer.admits(event) && !event.is_repeated
        });
        found.map(|at| line.event(at))
    }

    /// Whether the text of a data field is that of an event, under the id that stood before it.
    pub fn is_as_committed(&self, expected: &Expected, id: &str, data: &str) -> bool {
        render::is_of(expected, id, data)
    }

    /// The first change behind a position that ends the streams of somebody. What stands behind it, also in
    /// its own transaction, must not reach a stream that was there; what stands before it may.
    pub fn revoked_after(&self, viewer: &Viewer, since: Position) -> Option<Position> {
        let (user, organisation) = self.names_of(viewer)?;
        let line = self.line_at(since);
        let session = &viewer.session;
        let cut = line.rights.cut_after(user, organisation, session, since);
        cut.map(|cut| cut.at)
    }

    /// What somebody is at a position; `None` where there is no right to anything. Of the session it is only
    /// looked whether it had ended: one that begins later may be known by then.
    pub fn roles_at(&self, viewer: &Viewer, at: Position) -> Option<Roles> {
        let (user, organisation) = self.names_of(viewer)?;
        let line = self.line_at(at);
        let roles = line.rights.roles(user, organisation, at);
        roles.filter(|_| !self.has_ended(line, &viewer.session, at))
    }

    /// Whether somebody has a right at a position.
    pub fn has_right(&self, viewer: &Viewer, at: Position) -> bool {
        self.roles_at(viewer, at).is_some()
    }

    /// Whether a session was deleted by a place of a line. A server that has taken over since may have had it yet,
    /// and have said so to whoever asked for the row.
    fn has_ended(&self, line: &Line, session: &str, at: Position) -> bool {
        let mut newer = self.lines.iter().filter(|it| it.timeline > line.timeline);
        let had_it = newer.any(|newer| {
            let was_known = newer.rights.ends(session).next().is_some();
            was_known && !newer.rights.has_ended(session, newer.begin())
        });
        line.rights.has_ended(session, at) && !had_it
    }

    /// The last change of a row that is about somebody behind a place, and not behind another: the newest thing
    /// that can have given, or taken, its right between them.
    pub fn changed_within(
        &self,
        viewer: &Viewer,
        from: Position,
        to: Position,
    ) -> Option<Position> {
        let names = self.names_of(viewer)?;
        let rights = &self.line_at(to).rights;
        rights.changed_within(names, &viewer.session, from, to)
    }

    /// Whether there was ever a row that keeps somebody out for a while: its end is in no log.
    pub fn was_kept_out(&self, viewer: &Viewer) -> bool {
        let names = self.names_of(viewer);
        names.is_some_and(|(user, organisation)| {
            let rights = &self.current().rights;
            rights.was_kept_out(user, organisation, &viewer.session)
        })
    }

    /// Whether somebody is kept out at a place and a time: by a row that keeps it out until later, or because the
    /// end of its session was moved to where it had passed, and nothing was said since.
    pub fn keeps_out(&self, viewer: &Viewer, at: Position, unix_ms: u64) -> bool {
        let Some(names) = self.names_of(viewer) else {
            return false;
        };
        let (line, session) = (self.current(), &viewer.session);
        let rights = &line.rights;
        line.contains(at)
            && (rights.was_ended(session, at) || rights.keeps_out(names, session, at, unix_ms))
    }

    /// Whether somebody has had the right since a place without a word about it, up to the end of the log.
    pub fn is_settled(&self, viewer: &Viewer, since: Position) -> bool {
        let line = self.current();
        // A session that only a line of history knew that was left is none.
        let has_session = line.rights.ends(&viewer.session).next().is_some();
        line.contains(since)
            && has_session
            && self.has_right(viewer, since)
            && self.changed_within(viewer, since, self.end()).is_none()
            && !self.was_kept_out(viewer)
    }

    /// Whether another server has ever taken over.
    pub fn has_forked(&self) -> bool {
        self.lines.len() > 1
    }

    /// Whether a change is one of anybody's membership or revocation.
    pub fn is_of_anybody(&self, at: Position) -> bool {
        let line = self.line_at(at);
        line.rights.is_of_anybody(at)
    }

    /// Where the newest transaction ends that ends at a place or before it and has something to tell.
    pub fn last_event_before(&self, place: u64) -> Option<u64> {
        self.current().last_event_before(place)
    }

    /// The earliest and the last word on when a session ends, in milliseconds since 1970.
    pub fn session_ends(&self, session: &str) -> Option<(u64, u64)> {
        // One of a line that was left may be known to a node, whether it is on the newest or not.
        let lines = self.lines.iter();
        let mut ends = lines.flat_map(|line| line.rights.ends(session)).peekable();
        let first = *ends.peek()?;
        Some(ends.fold((first, first), |(earliest, _), ends_ms| {
            (earliest.min(ends_ms), ends_ms)
        }))
    }

    /// What somebody lacks who has no right at a position, in words.
    fn lacks(&self, viewer: &Viewer, at: Position) -> String {
        let Some((user, organisation)) = self.names_of(viewer) else {
            return String::from("everything");
        };
        let rights = &self.line_at(at).rights;
        rights.lacks(user, organisation, &viewer.session, at)
    }

    /// Whether a position lies on a line of history that was left: who has come there must be reset.
    pub fn is_abandoned(&self, position: Position) -> bool {
        !self.current().contains(position)
    }

    /// The end of the log.
    pub fn end(&self) -> Position {
        let line = self.current();
        Position {
            timeline: line.timeline,
            lsn: line.end,
            index: 0,
        }
    }

    fn current(&self) -> &Line {
        self.lines.last().expect("there is always one")
    }

    /// The newest line of history that has a position.
    fn line_of(&self, position: Position) -> Option<&Line> {
        self.lines.iter().rev().find(|line| line.contains(position))
    }

    /// The same; the one in force where none has it.
    fn line_at(&self, position: Position) -> &Line {
        self.line_of(position).unwrap_or_else(|| self.current())
    }

    /// Whether anything was ever committed about somebody.
    fn names_of(&self, viewer: &Viewer) -> Option<(Name, Name)> {
        let user = self.names.find(&viewer.user)?;
        Some((user, self.names.find(&viewer.organisation)?))
    }
}

/// Whether an event is addressed to a user in an organisation who has these roles.
fn is_for(event: &Expected, user: Name, organisation: Name, roles: Roles) -> bool {
    let is_addressed = match event.audience {
        Audience::Global => true,
        Audience::Organisation(of) => of == organisation,
        Audience::User(of, within) => of == user && within.is_none_or(|it| it == organisation),
    };
    is_addressed && (!event.is_for_role || roles.sees_reports())
}

#[cfg(test)]
pub(crate) mod tests;

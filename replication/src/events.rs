//! Events: a row becomes the JSON of the wire format, serialised once.

use memchr::memmem;
use wire::{Audience, EventId, Frame, FrameWriter, Source};

use crate::Action;
use crate::application::Application;
use crate::pgoutput::{Old, Tuple, Value};
use crate::routing::{Destination, Output, Plan, Table};

/// A value of a key that is left in an event that is otherwise truncated, at most this long, where
/// the identity is the whole row.
const TRUNCATED_VALUE_BYTES_MAX: usize = 256;

/// What stands between the organisation of a payload and the rest of it. In a JSON string the quotation
/// marks would be escaped, so that it is found nowhere else.
const AFTER_ORGANISATION: &[u8] = b",\"table\":";

/// One change of one row, for one destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) action: Action,
    /// The row as it is now; `None` if it is gone.
    pub(crate) new: Option<Tuple<'a>>,
    /// What is known of it as it was.
    pub(crate) old: Option<Old<'a>>,
    /// Whether `old` may be shown: not to an organisation that the row has just entered.
    pub(crate) shows_old: bool,
}

/// Where a frame stands and when it happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) id: EventId,
    pub(crate) commit_ms: i64,
}

/// Writes events, all in the same memory.
#[derive(Debug)]
pub(crate) struct EventWriter {
    frame: FrameWriter,
    /// The longest event of a row.
    bytes_max: usize,
}

impl EventWriter {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            frame: FrameWriter::default(),
            bytes_max,
        }
    }

    /// Writes the frame of a change; where that would be too long, its key and `"truncated": true`. A
    /// change without rows is that of a table that was emptied.
    pub(crate) fn row(
        &mut self,
        place: Place,
        table: &Table,
        plan: &Plan,
        destination: &Destination<'_>,
        audience: Audience,
        change: Change<'_>,
    ) -> Frame {
        let begin = |frame: &mut FrameWriter| {
            let event_type = plan.event_type(change.action);
            let Place { id, commit_ms } = place;
            let channel = plan.channel(destination);
            frame.begin(id, event_type, &channel, commit_ms, Source::Postgres);
        };
        let whole = Payload {
            table,
            destination,
            change,
            bytes_max: Some(self.bytes_max),
        };
        let frame = &mut self.frame;
        begin(frame);
        if whole.write(frame).is_none() {
            begin(frame);
            let truncated = Payload {
                bytes_max: None,
                ..whole
            };
            truncated
                .write(frame)
                .expect("without a bound nothing is too long");
        }
        frame.finish(audience)
    }

    /// Writes the frame of an application's own event. `data` is JSON.
    pub(crate) fn application(
        &mut self,
        place: Place,
        said: &Application<'_>,
        audience: Audience,
    ) -> Frame {
        let Place { id, commit_ms } = place;
        let (event_type, channel) = (&said.event_type, &said.channel);
        let frame = &mut self.frame;
        frame.begin(id, event_type, channel, commit_ms, Source::Application);
        let out = frame.json();
        out.push(b'{');
        let names = [
            ("\"organizationId\":", &said.destination.organisation),
            ("\"userId\":", &said.destination.user),
        ];
        for (label, name) in names {
            if let Some(name) = name {
                out.extend_from_slice(label.as_bytes());
                wire::json::escape_into(out, name);
                out.push(b',');
            }
        }
        out.extend_from_slice(b"\"data\":");
        let start = out.len();
        out.extend_from_slice(said.data.as_bytes());
        frame.mark_data(start);
        frame.json().push(b'}');
        frame.finish(audience)
    }
}

/// The payload of a row's event in two: `{"organizationId":…`, and `,"table":…}`, which is what differs
/// between the changes of one organisation.
pub(crate) fn split_payload(frame: &Frame) -> (&[u8], &[u8]) {
    let payload = frame.payload();
    let at = memmem::find(payload, AFTER_ORGANISATION).expect("every row's payload has a table");
    payload.split_at(at)
}

/// The payload of a row's event.
#[derive(Clone, Copy)]
struct Payload<'a> {
    table: &'a Table,
    destination: &'a Destination<'a>,
    change: Change<'a>,
    /// The longest frame; `None` writes the truncated form.
    bytes_max: Option<usize>,
}

/// What ends a frame behind its payload, in bytes: the event's brace, and the blank line.
const FRAME_END_BYTES: usize = 3;

/// The event would be too long.
type TooLong = Option<()>;

impl<'a> Payload<'a> {
    fn write(&self, writer: &mut FrameWriter) -> TooLong {
        let out = writer.json();
        out.extend_from_slice(b"{\"organizationId\":");
        match &self.destination.organisation {
            Some(name) => wire::json::escape_into(out, name),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(AFTER_ORGANISATION);
        wire::json::escape_into(out, &self.table.name);
        out.extend_from_slice(b",\"action\":\"");
        out.extend_from_slice(self.change.action.as_str().as_bytes());
        out.extend_from_slice(b"\",\"record\":");
        let start = out.len();
        match self.change.new {
            Some(new) => self.write_object(out, self.current(new))?,
            None => out.extend_from_slice(b"null"),
        }
        writer.mark_data(start);
        writer.json().extend_from_slice(b",\"old\":");
        let start = writer.json().len();
        match self.change.old.filter(|_| self.change.shows_old) {
            Some(old) => {
                self.write_object(writer.json(), self.known(old))?;
                if self.change.new.is_none() {
                    writer.mark_data(start);
                }
            }
            None => writer.json().extend_from_slice(b"null"),
        }
        self.write_lists(writer.json());
        let out = writer.json();
        out.push(b'}');
        // What comes behind the values counts, too.
        match self.bytes_max {
            Some(bytes_max) if out.len() + FRAME_END_BYTES > bytes_max => None,
            _ => Some(()),
        }
    }

    /// The columns that leave, as far as they are known of the row as it was.
    fn known(&self, old: Old<'a>) -> impl Iterator<Item = (&'a Output, Value<'a>)> {
        let known = move |(output, value): (&'a Output, _)| match value {
            // The columns of a key are never NULL: what looks like it was not sent. Which they are is
            // told by what was sent, since a partition may have another key than its root.
            Value::Null if !old.whole => (output, Value::Unchanged),
            value => (output, value),
        };
        outputs(self.table, old.tuple).map(known)
    }

    /// The columns that leave of the row as it is: what did not change is in the old row, if that is
    /// known.
    fn current(&self, new: Tuple<'a>) -> impl Iterator<Item = (&'a Output, Value<'a>)> {
        let old = self.change.old.filter(|_| new.has_unchanged);
        let mut old = old.map(|old| self.known(old));
        outputs(self.table, new).map(move |(output, value)| {
            let before = old.as_mut().and_then(Iterator::next);
            match (value, before) {
                (Value::Unchanged, Some((_, before))) => (output, before),
                _ => (output, value),
            }
        })
    }

    /// Writes the columns whose values are known.
    fn write_object(
        &self,
        out: &mut Vec<u8>,
        columns: impl Iterator<Item = (&'a Output, Value<'a>)>,
    ) -> TooLong {
        out.push(b'{');
        let mut first = true;
        for (output, value) in columns {
            if value == Value::Unchanged || !self.keeps(output, value) {
                continue;
            }
            if let Some(bytes_max) = self.bytes_max
                && out.len() + len(value) > bytes_max
            {
                return None;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(&output.label);
            out.push(b':');
            match value {
                Value::Text(text) => output.shape.write(text, out),
                Value::Null => out.extend_from_slice(b"null"),
                Value::Unchanged | Value::Oversized => {
                    unreachable!("what is not there is not written")
                }
            }
        }
        out.push(b'}');
        match self.bytes_max {
            Some(bytes_max) if out.len() > bytes_max => None,
            _ => Some(()),
        }
    }

    /// Whether the column stays where the event is truncated.
    fn keeps(&self, output: &Output, value: Value<'_>) -> bool {
        if self.bytes_max.is_some() {
            return true;
        }
        let is_short = len(value) <= TRUNCATED_VALUE_BYTES_MAX;
        output.key && value != Value::Oversized && (is_short || !self.table.identity_full)
    }

    fn write_lists(&self, out: &mut Vec<u8>) {
        let Change {
            new,
            old,
            shows_old,
            ..
        } = self.change;
        if let (Some(new), Some(old), true) = (new, old.filter(|old| old.whole), shows_old) {
            // Everything of the old row is known, so that no change means an empty list.
            let pairs = outputs(self.table, new).zip(outputs(self.table, old.tuple));
            let changed = pairs.filter(|((_, new), (_, old))| is_changed(*new, *old));
            let labels = changed.map(|((output, _), _)| output.label.as_slice());
            write_list(out, "changed", labels, true);
        }
        if let Some(new) = new.filter(|new| new.has_unchanged) {
            let absent = self
                .current(new)
                .filter(|(_, value)| *value == Value::Unchanged);
            let labels = absent.map(|(output, _)| output.label.as_slice());
            write_list(out, "unchanged", labels, false);
        }
        if let (Some(withheld), true) = (&self.table.withheld_json, new.is_some() || old.is_some())
        {
            out.extend_from_slice(b",\"withheld\":");
            out.extend_from_slice(withheld);
        }
        if self.bytes_max.is_none() {
            out.extend_from_slice(b",\"truncated\":true");
        }
    }
}

/// The columns that leave, with their values: both in the order of the table's columns.
fn outputs<'a>(
    table: &'a Table,
    tuple: Tuple<'a>,
) -> impl Iterator<Item = (&'a Output, Value<'a>)> {
    let (mut values, mut next) = (tuple.values(), 0);
    table.outputs.iter().map(move |output| {
        let value = values.nth(output.index - next);
        next = output.index + 1;
        (
            output,
            value.expect("a tuple has as many columns as its table"),
        )
    })
}

/// How long a value is at the least, as JSON.
fn len(value: Value<'_>) -> usize {
    match value {
        Value::Null | Value::Unchanged => 0,
        Value::Text(text) => text.len(),
        // Only a row that is longer than every event has such a value.
        Value::Oversized => usize::MAX / 2,
    }
}

fn is_changed(new: Value<'_>, old: Value<'_>) -> bool {
    match new {
        Value::Unchanged => false,
        // A value that long is only sent if it was written anew.
        Value::Oversized => true,
        new => new != old,
    }
}

/// Writes a member that is a list of names, which are JSON already.
fn write_list<'a>(
    out: &mut Vec<u8>,
    member: &str,
    names: impl Iterator<Item = &'a [u8]>,
    even_if_empty: bool,
) {
    let start = out.len();
    for part in [b",\"", member.as_bytes(), b"\":["] {
        out.extend_from_slice(part);
    }
    let mut any = even_if_empty;
    for (at, name) in names.enumerate() {
        any = true;
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
    }
    if any {
        out.push(b']');
    } else {
        out.truncate(start);
    }
}

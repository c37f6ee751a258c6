//! Events: a row becomes the JSON of the wire format, serialised once.

use wire::{Audience, EventId, Frame, FrameWriter, Source};

use crate::Action;
use crate::application::Application;
use crate::pgoutput::{Old, Tuple, Value};
use crate::routing::{Destination, Output, Plan, Table};
use crate::values::Shape;

/// A value of a key that is left in an event that is otherwise truncated, at most this long, where
/// the identity is the whole row.
const TRUNCATED_VALUE_BYTES_MAX: usize = 256;

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

    /// Writes the frame of a change; where that would be too long, its key and `"truncated": true`.
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
            frame.begin(id, event_type, &plan.channel, commit_ms, Source::Postgres);
        };
        let old = change.old.map(|old| known_values(table, old));
        let new = change.new.map(|new| filled_values(new, old.as_deref()));
        let whole = Payload {
            table,
            destination,
            action: change.action,
            new: new.as_deref(),
            old: old.as_deref().filter(|_| change.shows_old),
            old_is_whole: change.old.is_some_and(|old| old.whole),
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

/// What is known of a row as it was: [`Value::Unchanged`], which is never written, stands for what was
/// not sent.
fn known_values<'a>(table: &Table, old: Old<'a>) -> Vec<Value<'a>> {
    let known = |(index, value)| {
        if table.old_has(old, index) {
            value
        } else {
            Value::Unchanged
        }
    };
    old.tuple.values().enumerate().map(known).collect()
}

/// A row as it is now: with a full identity, what did not change is in the old row.
fn filled_values<'a>(new: Tuple<'a>, old: Option<&[Value<'a>]>) -> Vec<Value<'a>> {
    let filled = |(index, value)| match (value, old) {
        (Value::Unchanged, Some(old)) => old[index],
        (value, _) => value,
    };
    new.values().enumerate().map(filled).collect()
}

/// The payload of a row's event.
#[derive(Clone, Copy)]
struct Payload<'a> {
    table: &'a Table,
    destination: &'a Destination<'a>,
    action: Action,
    /// The row as it is now.
    new: Option<&'a [Value<'a>]>,
    /// What may be shown of it as it was.
    old: Option<&'a [Value<'a>]>,
    old_is_whole: bool,
    /// The longest frame; `None` writes the truncated form.
    bytes_max: Option<usize>,
}

/// The event would be too long.
type TooLong = Option<()>;

impl Payload<'_> {
    fn write(&self, writer: &mut FrameWriter) -> TooLong {
        let out = writer.json();
        out.extend_from_slice(b"{\"organizationId\":");
        match &self.destination.organisation {
            Some(name) => wire::json::escape_into(out, name),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"table\":");
        wire::json::escape_into(out, &self.table.name);
        out.extend_from_slice(b",\"action\":\"");
        out.extend_from_slice(self.action.as_str().as_bytes());
        out.extend_from_slice(b"\",\"record\":");
        let start = out.len();
        match self.new {
            Some(new) => {
                self.write_object(out, new)?;
                writer.mark_data(start);
            }
            None => out.extend_from_slice(b"null"),
        }
        writer.json().extend_from_slice(b",\"old\":");
        let start = writer.json().len();
        match self.old {
            Some(old) => {
                self.write_object(writer.json(), old)?;
                if self.new.is_none() {
                    writer.mark_data(start);
                }
            }
            None => writer.json().extend_from_slice(b"null"),
        }
        self.write_lists(writer.json());
        writer.json().push(b'}');
        Some(())
    }

    /// Writes the columns whose values are known.
    fn write_object(&self, out: &mut Vec<u8>, values: &[Value<'_>]) -> TooLong {
        out.push(b'{');
        let mut first = true;
        for output in &self.table.outputs {
            let value = values[output.index];
            if value == Value::Unchanged || !self.keeps(output, value) {
                continue;
            }
            if let (Some(bytes_max), Value::Text(text)) = (self.bytes_max, value)
                && out.len() + text.len() > bytes_max
            {
                return None;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(&output.label);
            out.push(b':');
            write_value(output.shape, value, out);
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
        let short = match value {
            Value::Text(text) => text.len() <= TRUNCATED_VALUE_BYTES_MAX,
            Value::Null | Value::Unchanged => true,
        };
        output.key && (short || !self.table.identity_full)
    }

    fn write_lists(&self, out: &mut Vec<u8>) {
        let named = |is_listed: &dyn Fn(usize) -> bool| -> Vec<&[u8]> {
            let outputs = self
                .table
                .outputs
                .iter()
                .filter(|output| is_listed(output.index));
            outputs.map(|output| output.label.as_slice()).collect()
        };
        if let (Some(new), Some(old), true) = (self.new, self.old, self.old_is_whole) {
            // Everything of the old row is known, so that no change means an empty list.
            let changed = named(&|index| new[index] != old[index]);
            write_list(out, "changed", changed.into_iter(), true);
        }
        if let Some(new) = self.new {
            let absent = named(&|index| new[index] == Value::Unchanged);
            write_list(out, "unchanged", absent.into_iter(), false);
        }
        let withheld: Vec<Vec<u8>> = self
            .table
            .withheld
            .iter()
            .map(|name| quoted(name))
            .collect();
        write_list(out, "withheld", withheld.iter().map(Vec::as_slice), false);
        if self.bytes_max.is_none() {
            out.extend_from_slice(b",\"truncated\":true");
        }
    }
}

fn write_value(shape: Shape, value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => shape.write(text, out),
        Value::Null => out.extend_from_slice(b"null"),
        Value::Unchanged => unreachable!("what was not sent is not written"),
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

fn quoted(name: &str) -> Vec<u8> {
    let mut json = Vec::new();
    wire::json::escape_into(&mut json, name);
    json
}

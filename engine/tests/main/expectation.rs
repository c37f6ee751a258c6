//! What a client should have received, as the model judges it. What happens to the clients is in
//! `model`.

use std::collections::BTreeMap;

use engine::Notice;
use wire::{EventId, Filter, Frame, Key, Resume, Topic};

use crate::world::name;

/// The organisation of a stream of everything, and its user.
pub(crate) const EVERYTHING: &str = "*";

/// What the model knows of a client.
pub(crate) struct Client {
    pub(crate) organisation: &'static str,
    pub(crate) user: &'static str,
    pub(crate) organisation_key: Key,
    pub(crate) user_key: Key,
    /// The filters it had, in order: a channel, or all.
    pub(crate) filters: Vec<Option<&'static str>>,
    /// How many frames were committed when it came, for one that came without an id.
    pub(crate) came_at: usize,
    pub(crate) resume: Resume,
    /// How many frames were committed when it lost its right to more.
    pub(crate) revoked_at: Option<usize>,
    /// Where the last gap ended that it lived through: nothing after it comes before a `reset`.
    pub(crate) floor: Option<EventId>,
}

/// What a client is told, as far as the model has an opinion on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    Frame(EventId),
    /// It has everything up to here.
    Heartbeat(EventId),
    /// It begins anew after this.
    Reset(EventId),
}

/// All that a client was told.
pub(crate) struct Told<'a> {
    /// The verdict in its `connected` event.
    pub(crate) connected: Option<&'a str>,
    /// What followed, one run for each filter.
    pub(crate) runs: Vec<Vec<Item>>,
}

impl<'a> Told<'a> {
    pub(crate) fn of(received: &'a [u8]) -> Self {
        let mut connected = None;
        let mut runs = vec![Vec::new()];
        for block in blocks(received) {
            let id = block.lines().find_map(|line| line.strip_prefix("id: "));
            let id = id.map(|id| id.parse().unwrap());
            let run = runs.last_mut().unwrap();
            if block.starts_with("event: connected") {
                let (_, rest) = block.split_once("\"resume\":\"").unwrap();
                let verdict = rest.split_once('"').unwrap().0;
                assert!(connected.replace(verdict).is_none(), "connected twice");
            } else if block.starts_with("event: subscription") {
                runs.push(Vec::new());
            } else if block.starts_with("event: heartbeat") {
                run.push(Item::Heartbeat(id.unwrap()));
            } else if block.starts_with("event: reset") {
                run.push(Item::Reset(id.unwrap()));
            } else if block.starts_with("id: ") {
                run.push(Item::Frame(id.unwrap()));
            }
        }
        Self { connected, runs }
    }
}

/// How often the control thread was told what, by the connection's name.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) opened: BTreeMap<String, usize>,
    pub(crate) closed: BTreeMap<String, usize>,
    /// Of these, the ones that say that the stream was opened.
    pub(crate) closed_open: BTreeMap<String, usize>,
}

impl Said {
    pub(crate) fn of(notices: &[Notice]) -> Self {
        let mut said = Self::default();
        for notice in notices {
            match notice {
                Notice::Opened { connection, .. } => {
                    *said.opened.entry(connection.to_string()).or_default() += 1;
                }
                Notice::Closed {
                    connection, opened, ..
                } => {
                    *said.closed.entry(connection.to_string()).or_default() += 1;
                    if *opened {
                        let count = said.closed_open.entry(connection.to_string());
                        *count.or_default() += 1;
                    }
                }
                Notice::Held | Notice::Answered { .. } => {}
            }
        }
        said
    }
}

/// The filter of a channel, or of all.
pub(crate) fn filter_of(channel: Option<&str>) -> Filter {
    Filter::new(
        channel.map(name).into_iter().collect(),
        Vec::new(),
        Vec::new(),
    )
}

/// The whole event blocks of a response.
pub(crate) fn blocks(received: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(received).unwrap();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    body.split_inclusive("\n\n")
        .filter(|block| block.ends_with("\n\n"))
}

/// At which places in the list of all frames the client may stand by now, having received these runs
/// of ids with these filters. None means that what it received is not what it should be.
pub(crate) fn follow(
    committed: &[Frame],
    client: &Client,
    start: usize,
    runs: &[Vec<Item>],
    filters: &[Option<&str>],
    is_complete: bool,
) -> Vec<usize> {
    // A stream may have begun after the last frame it has a right to.
    let mut places = vec![start.min(committed.len())];
    let mut reset = None;
    for (index, (run, filter)) in runs.iter().zip(filters).enumerate() {
        let is_last = index + 1 == runs.len();
        let mut next = Vec::new();
        for place in places {
            let mut at = place;
            let mut is_whole = true;
            for item in run {
                let next = |at: usize| {
                    let found = committed[at..]
                        .iter()
                        .position(|frame| is_for(client, *filter, frame));
                    found.map(|offset| (at + offset, committed[at + offset].id()))
                };
                match (*item, next(at)) {
                    (Item::Frame(id), Some((found, expected)))
                        if id == expected && !is_after(id, client.floor, reset) =>
                    {
                        at = found + 1;
                    }
                    (Item::Heartbeat(id), found)
                        if found.is_none_or(|(_, expected)| expected > id) => {}
                    (Item::Reset(id), _) => {
                        reset = Some(id);
                        at = committed.partition_point(|frame| frame.id() <= id);
                    }
                    _ => {
                        is_whole = false;
                        break;
                    }
                }
            }
            if !is_whole {
                continue;
            }
            // Frames that are not for it may have passed, too.
            loop {
                let is_at_end = at == committed.len();
                if !(is_complete && is_last) || is_at_end {
                    next.push(at);
                }
                if is_at_end || is_for(client, *filter, &committed[at]) {
                    break;
                }
                at += 1;
            }
        }
        next.sort_unstable();
        next.dedup();
        places = next;
    }
    places
}

/// Whether a frame lies beyond a gap of which the client has not been told.
fn is_after(id: EventId, floor: Option<EventId>, reset: Option<EventId>) -> bool {
    floor.is_some_and(|floor| id > floor && reset.is_none_or(|reset| reset < floor))
}

/// Whether a frame is for a client that has this filter.
pub(crate) fn is_for(client: &Client, filter: Option<&str>, frame: &Frame) -> bool {
    let audience = frame.audience();
    if client.organisation == EVERYTHING {
        return !matches!(audience.topic, Topic::User(_))
            && filter.is_none_or(|channel| channel == frame.channel());
    }
    let is_addressed = match audience.topic {
        Topic::Global => true,
        Topic::Organisation(organisation) => organisation == client.organisation_key,
        Topic::User(user) => user == client.user_key,
    };
    is_addressed
        && audience
            .within
            .is_none_or(|within| within == client.organisation_key)
        && filter.is_none_or(|channel| channel == frame.channel())
}

//! `[[stream]]`: the paths on which streams are served, and what differs between them.

use super::{ConfigError, raw};

/// The paths where the configuration names none: what the browsers' code in the field already asks for.
const SHIPPED: [(&str, wire::Format, bool); 4] = [
    ("/api/realtime/stream", wire::Format::Event, true),
    ("/api/stream", wire::Format::Event, true),
    ("/api/activity/stream", wire::Format::Data, false),
    ("/api/realtime/events", wire::Format::Named, true),
];

/// `[[stream]]`.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// The path, without query.
    pub(crate) path: String,
    /// The shape of its events.
    pub(crate) format: wire::Format,
    /// Whether temporary refusals are short event streams with status 200.
    pub(crate) soft_refusal: bool,
    /// Whether a newcomer at the limit of a user takes the place of their oldest stream: for pages
    /// that understand `bye`.
    pub(crate) close_oldest: bool,
}

/// Checks the list.
pub(super) fn streams(raw: &[raw::Stream]) -> Result<Vec<Stream>, ConfigError> {
    if raw.is_empty() {
        let shipped = |(path, format, soft_refusal): &(&str, wire::Format, bool)| Stream {
            path: (*path).to_owned(),
            format: *format,
            soft_refusal: *soft_refusal,
            close_oldest: false,
        };
        return Ok(SHIPPED.iter().map(shipped).collect());
    }
    let mut streams: Vec<Stream> = Vec::new();
    for entry in raw {
        let is_path = entry.path.starts_with('/')
            && entry
                .path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        if !is_path || streams.iter().any(|stream| stream.path == entry.path) {
            let mend = "write a path such as \"/api/realtime/stream\", without query, once";
            return Err(ConfigError::new("[[stream]] path", &entry.path, mend));
        }
        let format = match entry.format.as_str() {
            "event" => wire::Format::Event,
            "data" => wire::Format::Data,
            "named" => wire::Format::Named,
            other => {
                let mend = "write \"event\" (the whole event), \"data\" or \"named\" (the type as \
                            the event: field, the data alone)";
                return Err(ConfigError::new("[[stream]] format", other, mend));
            }
        };
        let soft_refusal = match entry.refusal.as_str() {
            "soft" => true,
            "status" => false,
            other => {
                let mend = "write \"soft\" (for a native EventSource) or \"status\"";
                return Err(ConfigError::new("[[stream]] refusal", other, mend));
            }
        };
        streams.push(Stream {
            path: entry.path.clone(),
            format,
            soft_refusal,
            close_oldest: entry.close_oldest,
        });
    }
    Ok(streams)
}

//! Requests that name an open stream: their JSON bodies, and whether the stream can be one of this node.
//! Pure. What is wanted of the stream is in `renew` and `subscription`.

use serde::de::DeserializeOwned;
use wire::ConnectionId;
use wire::http::{Head, Refusal, RefusalCode};

/// Reads a body of at most `bytes_max` bytes; `longer` and `other` say what a longer one, and one of
/// another shape, is told.
///
/// # Errors
///
/// The refusal, where it is not JSON of this shape and length.
pub(super) fn json_body<T: DeserializeOwned>(
    head: &Head,
    body: &[u8],
    bytes_max: usize,
    longer: &'static str,
    other: &'static str,
) -> Result<T, Refusal> {
    let content_type = head.field("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.is_empty() && !media_type.eq_ignore_ascii_case("application/json") {
        let message = "the body is JSON: send it as application/json";
        return Err(Refusal::new(RefusalCode::UnsupportedMediaType, message));
    }
    if body.len() > bytes_max {
        return Err(Refusal::new(RefusalCode::BodyTooLarge, longer));
    }
    serde_json::from_slice(body).map_err(|_| Refusal::new(RefusalCode::InvalidParameter, other))
}

/// The stream of this name.
///
/// # Errors
///
/// The refusal, where it is no name of a stream.
pub(super) fn stream(name: &str) -> Result<ConnectionId, Refusal> {
    name.parse().map_err(|()| {
        let message = "connectionId is not of the form in which `connected` named it";
        Refusal::new(RefusalCode::InvalidParameter, message)
    })
}

/// The stream, where it is one of this node: of this boot, and of an engine that there is.
///
/// # Errors
///
/// The refusal: the client reconnects with its last id.
pub(super) fn here(
    stream: ConnectionId,
    boot: u32,
    engines: usize,
) -> Result<ConnectionId, Refusal> {
    if stream.boot != boot {
        let message =
            "the stream is of another node, or of an earlier start of this one: reconnect";
        return Err(Refusal::new(RefusalCode::Elsewhere, message));
    }
    if usize::from(stream.engine) >= engines {
        let message = "there is no such stream";
        return Err(Refusal::new(RefusalCode::NotFound, message));
    }
    Ok(stream)
}

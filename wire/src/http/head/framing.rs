//! What a head says about the message around it: its host, and how long its body is.
//!
//! Whatever two readers could read in two ways is refused (RFC 9112, section 11.2).

use super::{BODY_BYTES_MAX, Head, HeadError, Version};
use crate::http::authority::Authority;

/// Fields that have one value, and on which something depends. A second one is a trap for whoever
/// reads the other.
const SINGLE: [&str; 7] = [
    "host",
    "content-length",
    "content-type",
    "authorization",
    "origin",
    "sec-fetch-site",
    "last-event-id",
];

/// Refuses a second field of a kind that has one value.
pub(super) fn check_repeats(head: &Head) -> Result<(), HeadError> {
    let mut is_seen = [false; SINGLE.len()];
    for (name, _) in head.all_fields() {
        if let Some(kind) = SINGLE
            .iter()
            .position(|single| name.eq_ignore_ascii_case(single))
        {
            if is_seen[kind] {
                return Err(HeadError::FieldRepeated);
            }
            is_seen[kind] = true;
        }
    }
    Ok(())
}

/// Checks the host: needed in HTTP/1.1 (RFC 9112, section 3.2), well formed wherever it is given,
/// and the one that an absolute target names.
pub(super) fn check_host(head: &Head) -> Result<(), HeadError> {
    let host = head.field("host");
    match host {
        None if head.version() == Version::Http11 => return Err(HeadError::HostMissing),
        Some(host) if Authority::parse(host).is_none() => return Err(HeadError::HostMalformed),
        None | Some(_) => {}
    }
    match (head.authority(), host) {
        (None, _) => Ok(()),
        (Some(named), Some(host)) if named.eq_ignore_ascii_case(host) => Ok(()),
        (Some(_), _) => Err(HeadError::HostDiffers),
    }
}

/// How many bytes of body follow (RFC 9112, section 6.3).
pub(super) fn body_bytes(head: &Head) -> Result<u32, HeadError> {
    let length = head.field("content-length");
    let mut codings = head.fields("transfer-encoding");
    match (codings.next(), length) {
        (None, None) => Ok(0),
        (None, Some(length)) => read_length(length),
        (Some(_), Some(_)) => Err(HeadError::LengthAmbiguous),
        (Some(coding), None) => {
            let is_chunked = coding.eq_ignore_ascii_case("chunked") && codings.next().is_none();
            // In HTTP/1.0 the field has no meaning, so its framing is faulty (section 6.1).
            match is_chunked && head.version() == Version::Http11 {
                true => Err(HeadError::LengthRequired),
                false => Err(HeadError::TransferEncoding),
            }
        }
    }
}

fn read_length(digits: &str) -> Result<u32, HeadError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HeadError::LengthMalformed);
    }
    // All are digits, so what cannot be read is too large a number.
    match digits.parse::<u32>() {
        Ok(length) if length as usize <= BODY_BYTES_MAX => Ok(length),
        Ok(_) | Err(_) => Err(HeadError::BodyTooLarge),
    }
}

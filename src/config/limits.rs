//! `[limits]`: what one user, one organisation or one address may take of a node.

use std::time::Duration;

use super::{ConfigError, duration, raw};

/// `[limits]`; 0 means no limit, so that the default of this type has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Streams of one user.
    pub(crate) connections_per_user: u16,
    /// Streams of one organisation.
    pub(crate) connections_per_organization: u32,
    /// Streams of one address.
    pub(crate) connections_per_address: u16,
    /// Requests for streams, per address.
    pub(crate) connects_per_second: u32,
    /// Streams of the node.
    pub(crate) connections: u32,
    /// Requests for streams that are being judged at one time.
    pub(crate) handshakes: u32,
    /// Events that are published over HTTP, per organisation and channel.
    pub(crate) publish_per_minute: u32,
    /// How long a stream may have no data event; zero is for ever.
    pub(crate) idle_close: Duration,
    /// Whether a client of ours at the limit of its user takes the place of the oldest stream.
    pub(crate) close_oldest: bool,
}

/// Checks the table.
pub(super) fn limits(raw: &raw::Limits) -> Result<Limits, ConfigError> {
    let idle_close = duration("limits.idle_close", &raw.idle_close)?;
    if !idle_close.is_zero() && idle_close < Duration::from_secs(1) {
        let mend = "write at least \"1s\", or \"0s\" for never";
        return Err(ConfigError::new("limits.idle_close", &raw.idle_close, mend));
    }
    Ok(Limits {
        connections_per_user: raw.connections_per_user,
        connections_per_organization: raw.connections_per_organization,
        connections_per_address: raw.connections_per_address,
        connects_per_second: raw.connects_per_second,
        connections: raw.connections,
        handshakes: raw.handshakes,
        publish_per_minute: raw.publish_per_minute,
        idle_close,
        close_oldest: raw.close_oldest,
    })
}

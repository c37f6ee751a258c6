//! Why a connection ended.

/// Why a connection ended, as logs, metrics and the `bye` event say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client closed, or its connection broke.
    ClientGone,
    /// A response was sent whole; no stream was asked for.
    Done,
    /// The request was refused.
    Refused,
    /// The request, or the body after it, took too long to arrive.
    RequestTimeout,
    /// Nothing was taken for too long, or the log moved on past what the client had taken.
    TooSlow,
    /// The node did not reach the position from which the client wanted to go on.
    Lagging,
    /// The node is about to stop.
    Draining,
    /// The session ran out.
    SessionExpired,
    /// The session was ended.
    SessionRevoked,
    /// The older ones of some sessions were ended, and an engine does not know which those are: the client
    /// comes back, and is let in where its session is a newer one.
    Reauthorize,
    /// The membership was deleted or deactivated.
    MembershipRevoked,
    /// The role changed: the client comes back and gets the rights of the new one.
    RoleChanged,
    /// The organisation was deleted.
    OrganizationDeleted,
    /// The stream of changes has been stale for too long for its rights to be trusted.
    FeedStale,
    /// Nothing was sent or asked for longer than `limits.idle_close`.
    Idle,
    /// A newer connection of the same user took its place.
    Replaced,
}

impl CloseReason {
    /// Every reason, in the order of the metrics page.
    pub const ALL: [Self; 16] = [
        Self::ClientGone,
        Self::Done,
        Self::Refused,
        Self::RequestTimeout,
        Self::TooSlow,
        Self::Lagging,
        Self::Draining,
        Self::SessionExpired,
        Self::SessionRevoked,
        Self::Reauthorize,
        Self::MembershipRevoked,
        Self::RoleChanged,
        Self::OrganizationDeleted,
        Self::FeedStale,
        Self::Idle,
        Self::Replaced,
    ];

    /// The word for it in logs, metrics and `bye` events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::RequestTimeout => "request_timeout",
            Self::TooSlow => "too_slow",
            Self::Lagging => "lagging",
            Self::Draining => "draining",
            Self::SessionExpired => "session_expired",
            Self::SessionRevoked => "session_revoked",
            Self::Reauthorize => "reauthorize",
            Self::MembershipRevoked => "membership_revoked",
            Self::RoleChanged => "role_changed",
            Self::OrganizationDeleted => "organization_deleted",
            Self::FeedStale => "feed_stale",
            Self::Idle => "idle",
            Self::Replaced => "replaced",
        }
    }

    /// Its place in [`Self::ALL`], for a column of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether the client does well to come back, as its `bye` event says.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::SessionExpired
            | Self::SessionRevoked
            | Self::MembershipRevoked
            | Self::OrganizationDeleted => false,
            Self::ClientGone
            | Self::Done
            | Self::Refused
            | Self::RequestTimeout
            | Self::TooSlow
            | Self::Lagging
            | Self::Draining
            | Self::Reauthorize
            | Self::RoleChanged
            | Self::FeedStale
            | Self::Idle
            | Self::Replaced => true,
        }
    }

    /// The least and the greatest `retry:` of its `bye` event, in milliseconds; each client gets
    /// its own, so that they do not all come back at one instant.
    pub fn retry_ms(self) -> (u32, u32) {
        match self {
            Self::Draining => (1_000, 10_000),
            Self::Replaced => (60_000, 60_000),
            Self::Lagging | Self::FeedStale => (5_000, 15_000),
            _ => (2_000, 8_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_reason_is_its_place_in_the_list() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}

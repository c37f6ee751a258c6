//! What an engine counts, for the metrics page. It counts; it does not log.

use wire::CloseReason;
use wire::http::RefusalCode;

use crate::Delays;

/// What an engine counted since its start, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sockets held, in whatever state.
    pub connections: u64,
    /// Streams open.
    pub streams: u64,
    /// Streams opened.
    pub opened: u64,
    /// Pages of history answered.
    pub pages: u64,
    /// Granted connections closed, by [`CloseReason::index`].
    pub closed: [u64; CloseReason::ALL.len()],
    /// Requests that the engine refused itself, by [`RefusalCode::index`].
    pub refusals: [u64; RefusalCode::ALL.len()],
    /// Frames taken from the channel.
    pub events: u64,
    /// Frames sent whole, one for each connection.
    pub deliveries: u64,
    /// Sends that found the connection broken.
    pub send_failures: u64,
    /// Sends that took less than they were offered.
    pub short_sends: u64,
    /// Long responses of which nothing was taken, closed to make room for others.
    pub responses_given_up: u64,
    /// `reset` events, by [`ResetReason::index`].
    pub resets: [u64; ResetReason::ALL.len()],
    /// Bytes in the log, with bookkeeping.
    pub log_bytes: u64,
    /// Frames in the log.
    pub log_frames: u64,
    /// Frames evicted from the log.
    pub evicted: u64,
    /// Connections that are behind.
    pub behind: u64,
    /// How long events took whose class fits one group.
    pub delays_small: Delays,
    /// How long events took whose class does not.
    pub delays_large: Delays,
    /// The LSN of the applied position.
    pub applied_lsn: u64,
}

/// Why a stream was told that something may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// The client's id is none of ours.
    UnknownPosition,
    /// What follows the client's id is no longer kept, or was before its membership.
    History,
    /// The replication slot was dropped or invalidated.
    SlotLost,
    /// Another cluster, another timeline, or a restored older state answers.
    HistoryChanged,
    /// The publication lost a table or was dropped.
    PublicationChanged,
}

impl ResetReason {
    /// Every reason, in the order of the metrics page.
    pub const ALL: [Self; 5] = [
        Self::UnknownPosition,
        Self::History,
        Self::SlotLost,
        Self::HistoryChanged,
        Self::PublicationChanged,
    ];

    /// The word for it in `reset` events, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownPosition => "unknown_position",
            Self::History => "history",
            Self::SlotLost => wire::GapReason::SlotLost.as_str(),
            Self::HistoryChanged => wire::GapReason::HistoryChanged.as_str(),
            Self::PublicationChanged => wire::GapReason::PublicationChanged.as_str(),
        }
    }

    /// Its place in [`Self::ALL`], for a column of counters.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl From<wire::GapReason> for ResetReason {
    fn from(reason: wire::GapReason) -> Self {
        match reason {
            wire::GapReason::SlotLost => Self::SlotLost,
            wire::GapReason::HistoryChanged => Self::HistoryChanged,
            wire::GapReason::PublicationChanged => Self::PublicationChanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_reason_is_its_place_in_the_list() {
        for (index, reason) in ResetReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}

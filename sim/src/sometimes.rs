//! States that are only interesting if they are reached: a run of 2,000 seeds that never reaches one
//! fails, because its worlds have quietly stopped to be what they were made for.

macro_rules! states {
    ($($(#[doc = $words:literal])+ $state:ident,)+) => {
        /// A state that some world must reach.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum State {
            $($(#[doc = $words])+ $state,)+
        }

        impl State {
            /// Every state.
            pub const ALL: &[Self] = &[$(Self::$state,)+];

            /// What it is, in words.
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$state => concat!($($words,)+).trim_ascii(),)+
                }
            }
        }
    };
}

states! {
    /// a resume exactly at the floor
    ResumeAtFloor,
    /// a resume below the floor
    ResumeBelowFloor,
    /// a resume at the end of the log
    ResumeAtEnd,
    /// a resume beyond what the node has
    ResumeAhead,
    /// a resume between two changes of one transaction
    ResumeWithinTransaction,
    /// a hold that was reached
    HoldReached,
    /// a hold that timed out
    HoldTimedOut,
    /// a reset for an id that is none of ours
    ResetUnknown,
    /// a reset for what is no longer kept
    ResetHistory,
    /// a reset for a lost slot
    ResetSlotLost,
    /// a reset for another history
    ResetHistoryChanged,
    /// a partial send whose frame was evicted
    PartialSendEvicted,
    /// a send that took one byte
    OneByteSend,
    /// a send that found its connection broken
    BrokenSend,
    /// a request head in pieces
    HeadInPieces,
    /// a frame of a user taken while a sweep runs
    UserFrameDuringSweep,
    /// a subscription changed while a sweep runs
    SubscriptionDuringSweep,
    /// a grant and a revocation adjacent in a channel
    GrantBesideRevocation,
    /// a credential judged again
    JudgedAgain,
    /// an engine that takes nothing from its channel
    IntakeClosed,
    /// a channel that is full
    ChannelFull,
    /// the server answered while a channel is full
    AnsweredWhileFull,
    /// the anchor lost while the own stream lives
    AnchorLostAlone,
    /// a member removed and back
    MemberRemovedAndBack,
    /// a member removed and back while disconnected
    MemberBackWhileAway,
    /// a stream revoked
    Revoked,
    /// a revocation between two changes of one transaction
    RevocationWithinTransaction,
    /// a session that ended with its stream open
    SessionExpired,
    /// an id of a history that was left
    ResumeAbandoned,
    /// a transaction of which a part was delivered, and which came again
    Replayed,
    /// a transaction larger than an engine's log
    TransactionLargerThanLog,
    /// a large transaction that was aborted
    LargeAborted,
    /// a promoted server with a lower position
    FailoverLower,
    /// a request while the node drains
    RequestDuringDrain,
    /// a node that all of its clients have left
    NoClients,
    /// a log that was turned over three times
    LogTurnedOver,
    /// a node that was killed with streams open
    NodeKilled,
    /// a server that crashed while a node streamed
    ServerCrashed,
    /// a batch event
    BatchEvent,
    /// a stalled client that was closed
    StalledClosed,
    /// a stream that was told that its node drains
    Farewell,
    /// a drain while a stream waits for its place
    DrainDuringHold,
    /// a session that ended while its node drained
    ExpiredDuringDrain,
    /// a server that was silent until the node hung up
    ServerSilent,
    /// a node that was silent until the server dropped it
    SenderTimedOut,
    /// streams that were closed since nothing was heard of the server for too long
    TrustLost,
    /// a clock that was set back while streams were open
    ClockSetBack,
    /// a clock that was set forward while streams were open
    ClockSetForward,
    /// an accept that failed
    AcceptFailed,
}

/// What has been reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sometimes(u64);

const _: () = assert!(State::ALL.len() <= u64::BITS as usize, "a bit each");

impl Sometimes {
    /// A state is reached.
    pub fn reach(&mut self, state: State) {
        self.0 |= 1 << state as u32;
    }

    /// Whether it is.
    pub fn has(self, state: State) -> bool {
        self.0 & 1 << state as u32 != 0
    }

    /// What another world has reached too.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// What is missing.
    pub fn missing(self) -> impl Iterator<Item = State> {
        State::ALL
            .iter()
            .copied()
            .filter(move |state| !self.has(*state))
    }
}

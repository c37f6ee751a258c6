//! What is worth a line in the log: transitions, never payloads or secrets.

use std::fmt;

use wire::{GapReason, Lsn};

use crate::limits::RECREATIONS_MAX;
use crate::sql::identifier;

/// What helps where the server gives slots up.
pub(crate) const KEEP_MORE: &str = "Let the server keep more of its log: ALTER SYSTEM SET \
     max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf()";

/// A transition of the reader, or something an operator should know. Prints as `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Changes are being received.
    Streaming {
        /// The anchor slot, of which a temporary copy is read.
        slot: String,
        /// From where.
        from: Lsn,
        /// The timeline that is current.
        timeline: u32,
    },
    /// Changes are not being received; it is tried again.
    Waiting {
        /// Why, as in [`crate::Status::reason`].
        reason: String,
    },
    /// Changes may have been missed: every stream is reset.
    Gap {
        /// Why.
        reason: GapReason,
        /// From where nothing is missing again.
        floor: Lsn,
    },
    /// The anchor slot was created.
    AnchorCreated {
        /// Its name.
        slot: String,
    },
    /// The anchor slot was dropped, or the server has given it up.
    AnchorLost {
        /// Its name.
        slot: String,
        /// How.
        reason: String,
    },
    /// It was lost so often that it is not made anew for now.
    AnchorGivenUp {
        /// Its name.
        slot: String,
    },
    /// A transaction has been open for longer than the window, and holds the log back.
    HeldBack {
        /// For how long, in seconds, where our role may know.
        seconds: Option<u64>,
        /// How much of the log is kept for it, in bytes.
        bytes: u64,
    },
    /// The publication was dropped.
    PublicationGone {
        /// Its name.
        publication: String,
    },
    /// Tables have left the publication, and are still in the database.
    TablesLeft {
        /// The publication.
        publication: String,
        /// The tables.
        tables: Vec<String>,
    },
    /// The publication is there again, or tables are in it again.
    TablesBack {
        /// The publication.
        publication: String,
        /// The tables.
        tables: Vec<String>,
    },
    /// The anchor slot could not be looked after; it is tried again.
    AnchorStuck {
        /// What the server said.
        reason: String,
    },
    /// The server said something while streaming.
    Server {
        /// What.
        message: String,
    },
    /// Columns of a table never leave; said when the table is first read, and when that changes.
    Withheld {
        /// The table.
        table: String,
        /// The columns; `*` for a table of identity, of which none leaves.
        columns: Vec<String>,
    },
    /// A change of a table names no organisation; said once for each table, then counted.
    Unroutable {
        /// The table.
        table: String,
    },
    /// The memberships were read.
    MembershipsRead {
        /// How many rows of them are kept.
        count: usize,
        /// Whether there are more than may be kept.
        is_full: bool,
    },
    /// The memberships could not be read; nobody who comes with a session is let in until they are.
    MembershipsUnread {
        /// Why, and what mends it.
        reason: String,
    },
    /// Who is banned could not be read with the memberships.
    BansUnread {
        /// Why.
        reason: String,
    },
    /// Application messages were refused; said once a minute for each reason.
    MessageRefused {
        /// Why.
        reason: &'static str,
        /// How many, since it was last said.
        count: u64,
    },
}

impl Notice {
    /// Whether an operator should look into it.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Streaming { .. } | Self::AnchorCreated { .. } | Self::Withheld { .. } => false,
            Self::TablesBack { .. } => false,
            Self::MembershipsRead { is_full, .. } => *is_full,
            Self::Waiting { .. }
            | Self::Gap { .. }
            | Self::AnchorLost { .. }
            | Self::AnchorGivenUp { .. }
            | Self::HeldBack { .. }
            | Self::PublicationGone { .. }
            | Self::TablesLeft { .. }
            | Self::AnchorStuck { .. }
            | Self::MembershipsUnread { .. }
            | Self::BansUnread { .. }
            | Self::Server { .. }
            | Self::Unroutable { .. }
            | Self::MessageRefused { .. } => true,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Streaming {
                slot,
                from,
                timeline,
            } => {
                write!(
                    f,
                    "state=streaming slot={slot} from={from} timeline={timeline}"
                )
            }
            Self::Waiting { reason } => write!(f, "state=waiting reason={reason:?}"),
            Self::Gap { reason, floor } => {
                write!(f, "state=gap reason={} floor={floor}", reason.as_str())
            }
            Self::AnchorCreated { slot } => write!(f, "anchor=created slot={slot}"),
            Self::AnchorLost { slot, reason } => write!(
                f,
                "anchor=lost slot={slot} reason={reason:?}: the history for nodes that start from now \
                 on is lost"
            ),
            Self::AnchorGivenUp { slot } => write!(
                f,
                "anchor=missing slot={slot}: it was lost {RECREATIONS_MAX} times within an hour, and \
                 is made anew when the hour is over; nodes that restart have no history meanwhile. \
                 {KEEP_MORE}"
            ),
            Self::HeldBack { seconds, bytes } => {
                let seconds = seconds.map_or("unknown".to_owned(), |age| age.to_string());
                write!(
                    f,
                    "anchor=held_back bytes={bytes} oldest_transaction_seconds={seconds}: a \
                     transaction that has been open for longer than the window keeps the log; see \
                     SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT \
                     NULL ORDER BY xact_start"
                )
            }
            Self::PublicationGone { publication } => write!(
                f,
                "publication=gone name={publication:?}: no change is received any more; make it anew: \
                 CREATE PUBLICATION {} FOR TABLE ...",
                identifier(publication)
            ),
            Self::TablesLeft {
                publication,
                tables,
            } => write!(
                f,
                "publication=lacks tables={0:?}: their changes are not received any more; mend: ALTER \
                 PUBLICATION {1} ADD TABLE {0}",
                tables.join(", "),
                identifier(publication),
            ),
            Self::TablesBack { tables, .. } => {
                write!(f, "publication=back tables={:?}", tables.join(", "))
            }
            Self::AnchorStuck { reason } => write!(f, "anchor=stuck reason={reason:?}"),
            Self::Server { message } => write!(f, "server={message:?}"),
            Self::Withheld { table, columns } => {
                write!(f, "withheld table={table:?} columns={columns:?}")
            }
            Self::Unroutable { table } => write!(
                f,
                "unroutable table={table:?} mend=\"give it an organisation column, and a replica \
                 identity that contains it for deletes\""
            ),
            Self::MembershipsRead { count, is_full } => {
                write!(f, "memberships=read count={count}")?;
                match is_full {
                    true => f.write_str(
                        ": there are more than may be kept, and nobody is let in who is not among \
                         them; raise membership.max",
                    ),
                    false => Ok(()),
                }
            }
            Self::MembershipsUnread { reason } => {
                write!(
                    f,
                    "memberships=unread reason={reason:?}: nobody is let in by a session"
                )
            }
            Self::BansUnread { reason } => {
                write!(
                    f,
                    "bans=unread reason={reason:?}: each change of a user's row counts as the end of a ban"
                )
            }
            Self::MessageRefused { reason, count } => {
                write!(f, "message=refused reason={reason} count={count}")
            }
        }
    }
}

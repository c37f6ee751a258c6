//! What is worth a line in the log: transitions, never payloads or secrets.

use std::fmt;

use wire::{GapReason, Lsn};

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
    /// The anchor slot could not be advanced; it is tried again.
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
            Self::Waiting { .. }
            | Self::Gap { .. }
            | Self::AnchorStuck { .. }
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
            Self::MessageRefused { reason, count } => {
                write!(f, "message=refused reason={reason} count={count}")
            }
        }
    }
}

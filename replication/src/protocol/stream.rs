//! What CopyData carries while streaming (PostgreSQL, "Streaming Replication Protocol").

use bytes::{Buf as _, Bytes};
use wire::Lsn;

use super::Malformed;
use super::fields::Fields;

/// A tag, two positions and a time come before a change.
const WAL_DATA_HEADER_BYTES: usize = 1 + 8 + 8 + 8;

/// A message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Streamed {
    /// One message of pgoutput. Its start is 0/0 where a table or a type is described.
    WalData {
        start: Lsn,
        sent_us: i64,
        payload: Bytes,
    },
    /// The server has sent everything up to `end`.
    Keepalive { end: Lsn, sent_us: i64, reply: bool },
}

/// Reads the content of a CopyData message.
pub(crate) fn parse(mut data: Bytes) -> Result<Streamed, Malformed> {
    let mut fields = Fields::new(&data);
    match fields.u8()? {
        b'w' => {
            let start = Lsn(fields.u64()?);
            let _end = fields.u64()?;
            let sent_us = fields.i64()?;
            data.advance(WAL_DATA_HEADER_BYTES);
            Ok(Streamed::WalData {
                start,
                sent_us,
                payload: data,
            })
        }
        b'k' => {
            let (end, sent_us) = (Lsn(fields.u64()?), fields.i64()?);
            // A server that says more with it than we know still means this by it.
            let reply = fields.u8()? != 0;
            Ok(Streamed::Keepalive {
                end,
                sent_us,
                reply,
            })
        }
        tag => Err(Malformed::Tag(tag)),
    }
}

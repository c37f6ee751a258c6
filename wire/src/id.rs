//! Positions: where in the write-ahead log a change was committed.
//!
//! An [`EventId`] is what a browser holds as its `Last-Event-ID`. Which ids are valid is decided in
//! `lineage`, not here.

use std::fmt;
use std::str::FromStr;

/// The position of a change: cluster, timeline, commit, and place within the transaction.
///
/// Printed as `EPOCH.TIMELINE.LSN.INDEX` in lower-case hexadecimal without padding, and ordered by
/// these fields. Every node gives the same change the same id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// 32 bits of hash over the cluster's system identifier, the database and the configured
    /// generation: ids of another database never compare as ours.
    pub epoch: u32,
    /// The timeline that the server's history assigns to `lsn`, as PostgreSQL numbers it, from 1
    /// (PostgreSQL, "Continuous Archiving", Timelines).
    pub timeline: u32,
    /// The commit LSN of the transaction; for index 0 the end of a commit record, or a keepalive.
    pub lsn: Lsn,
    /// The ordinal of the change message within its transaction, from 1, counted before any
    /// routing. 0 is the place after a commit and before the next.
    pub index: u32,
}

impl EventId {
    /// The longest printed id: four hexadecimal numbers and three dots.
    pub const TEXT_BYTES_MAX: usize = 8 + 1 + 8 + 1 + 16 + 1 + 8;
}

impl EventId {
    /// Appends what [`fmt::Display`] prints: every event begins with it, and the machinery of
    /// formatting takes ten times as long.
    pub fn write(self, out: &mut Vec<u8>) {
        write_hex(self.epoch.into(), out);
        for field in [self.timeline.into(), self.lsn.0, self.index.into()] {
            out.push(b'.');
            write_hex(field, out);
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:x}.{:x}.{:x}.{:x}",
            self.epoch, self.timeline, self.lsn.0, self.index
        )
    }
}

impl FromStr for EventId {
    type Err = ParseIdError;

    /// Accepts exactly what [`fmt::Display`] prints, so that an id has one spelling.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let mut fields = text.split('.');
        let mut field = |digits_max| hex(fields.next().ok_or(ParseIdError)?, digits_max);
        // The widths keep every conversion below lossless.
        let epoch = field(8)? as u32;
        let timeline = field(8)? as u32;
        let lsn = Lsn(field(16)?);
        let index = field(8)? as u32;
        if fields.next().is_some() {
            return Err(ParseIdError);
        }
        Ok(Self {
            epoch,
            timeline,
            lsn,
            index,
        })
    }
}

/// A log sequence number: a byte position in the write-ahead log (PostgreSQL, "WAL Internals").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    /// PostgreSQL's own spelling, `%X/%X`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = ParseIdError;

    /// Reads `%X/%X`, padded or not: servers from 19 on pad the low half.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (high, low) = text.split_once('/').ok_or(ParseIdError)?;
        let half = |digits: &str| match digits.len() {
            1..=8 if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                u64::from_str_radix(digits, 16).map_err(|_| ParseIdError)
            }
            _ => Err(ParseIdError),
        };
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

/// The text is not a position as this crate prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position")
    }
}

impl std::error::Error for ParseIdError {}

/// Appends a number in lower-case hexadecimal, without padding.
pub(crate) fn write_hex(number: u64, out: &mut Vec<u8>) {
    // The digits of a number end where its highest bit is; zero has one as well.
    let count = (u64::BITS - (number | 1).leading_zeros()).div_ceil(4);
    write_digits(number, count, out);
}

/// Appends the last so many hexadecimal digits of a number.
pub(crate) fn write_digits(number: u64, count: u32, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |place: u32| DIGITS[(number >> (4 * place) & 0xf) as usize];
    out.extend((0..count).rev().map(digit));
}

fn hex(digits: &str, digits_max: usize) -> Result<u64, ParseIdError> {
    let canonical = match digits.as_bytes() {
        [] => false,
        [b'0', _, ..] => false,
        bytes => bytes
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
    };
    if !canonical || digits.len() > digits_max {
        return Err(ParseIdError);
    }
    u64::from_str_radix(digits, 16).map_err(|_| ParseIdError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u32, timeline: u32, lsn: u64, index: u32) -> EventId {
        EventId {
            epoch,
            timeline,
            lsn: Lsn(lsn),
            index,
        }
    }

    #[test]
    fn prints_and_parses_the_same_text() {
        for id in [
            id(0, 0, 0, 0),
            id(0xdead_beef, 1, 0x1_90002e8, 3),
            id(0xf, 0x10, 0x8000_0000_0000_0000, 0x1000),
            id(!0, !0, !0, !0),
        ] {
            let text = id.to_string();
            assert!(text.len() <= EventId::TEXT_BYTES_MAX);
            let mut written = Vec::new();
            id.write(&mut written);
            assert_eq!(written, text.as_bytes());
            assert_eq!(text.parse(), Ok(id));
        }
        assert_eq!(id(0xab, 1, 0x90002e8, 0).to_string(), "ab.1.90002e8.0");
    }

    #[test]
    fn refuses_every_other_spelling() {
        let refused = [
            "",
            ".",
            "1.1.1",
            "1.1.1.1.1",
            "1.1.1.",
            ".1.1.1",
            "01.1.1.1",
            "1.1.A.1",
            "1.1.+1.1",
            "1.1.1.100000000",
            "1.1.10000000000000000.1",
            " 1.1.1.1",
            "1.1.1.1\n",
            "1..1.1",
            "ü.1.1.1",
        ];
        for text in refused {
            assert_eq!(text.parse::<EventId>(), Err(ParseIdError), "{text:?}");
        }
    }

    #[test]
    fn orders_by_timeline_then_lsn_then_index() {
        let sorted = [
            id(1, 1, 9, 9),
            id(1, 2, 1, 0),
            id(1, 2, 1, 1),
            id(1, 2, 2, 0),
        ];
        assert!(sorted.is_sorted());
    }

    #[test]
    fn reads_lsns_as_postgresql_prints_them() {
        assert_eq!("1/90002E8".parse(), Ok(Lsn(0x1_0900_02e8)));
        assert_eq!("0/090002E8".parse(), Ok(Lsn(0x0900_02e8)));
        assert_eq!(Lsn(0x1_0900_02e8).to_string(), "1/90002E8");
        for text in ["", "/", "1", "1/", "1/1/1", "1/123456789", "g/1", "+1/1"] {
            assert_eq!(text.parse::<Lsn>(), Err(ParseIdError), "{text:?}");
        }
    }
}

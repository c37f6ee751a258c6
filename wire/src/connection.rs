//! The name of a connection, as clients and logs see it.

use std::fmt;
use std::str::FromStr;

use crate::id::{write_digits, write_hex};

/// A connection of some boot of some node: boot nonce, engine, slot and generation, so that it
/// needs no table and is never used twice.
///
/// Printed as `BOOT-ENGINE-SLOT-GENERATION` in lower-case hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Random, drawn when the node starts.
    pub boot: u32,
    /// The engine that holds the connection.
    pub engine: u16,
    /// Its place in that engine's slab.
    pub slot: u32,
    /// How often the slot was used before, modulo 2²⁴.
    pub generation: u32,
}

impl ConnectionId {
    /// Appends what [`fmt::Display`] prints, without the machinery of formatting.
    pub fn write(self, out: &mut Vec<u8>) {
        write_digits(self.boot.into(), 8, out);
        for field in [self.engine.into(), self.slot, self.generation] {
            out.push(b'-');
            write_hex(field.into(), out);
        }
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:08x}-{:x}-{:x}-{:x}",
            self.boot, self.engine, self.slot, self.generation
        )
    }
}

impl FromStr for ConnectionId {
    type Err = ();

    /// Reads what [`fmt::Display`] prints.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut fields = text.split('-');
        let mut field = || {
            let digits = fields.next().ok_or(())?;
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            if digits.is_empty() || !is_hex {
                return Err(());
            }
            u32::from_str_radix(digits, 16).map_err(|_| ())
        };
        let boot = field()?;
        let engine = u16::try_from(field()?).map_err(|_| ())?;
        let (slot, generation) = (field()?, field()?);
        match fields.next() {
            None => Ok(Self {
                boot,
                engine,
                slot,
                generation,
            }),
            Some(_) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_the_same_text() {
        let id = ConnectionId {
            boot: 0x1a2b,
            engine: 1,
            slot: 0x4d2,
            generation: 7,
        };
        assert_eq!(id.to_string(), "00001a2b-1-4d2-7");
        assert_eq!(id.to_string().parse(), Ok(id));
        let mut written = b"x".to_vec();
        id.write(&mut written);
        assert_eq!(written, b"x00001a2b-1-4d2-7");
        for text in [
            "",
            "1-2-3",
            "1-2-3-4-5",
            "1-10000-3-4",
            "+1-2-3-4",
            "1--3-4",
        ] {
            assert!(text.parse::<ConnectionId>().is_err(), "{text:?}");
        }
    }
}

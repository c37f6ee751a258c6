//! The marker that a publisher writes into the text of an event, and readers find there.
//!
//! `@TIME,ORGANISATION,SEQUENCE@`, in decimal digits: it survives every way in which a server quotes
//! the text, and is found without reading the text as JSON.

use std::fmt;

use memchr::memchr;

/// What an event says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// When it was published, by [`crate::monotonic_nanoseconds`].
    pub time: u64,
    /// The number of the organisation it is for.
    pub organisation: u32,
    /// Its number among the events of this organisation: each is one more than the one before.
    pub sequence: u64,
}

impl fmt::Display for Marker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            organisation,
            sequence,
        } = self;
        write!(formatter, "@{time},{organisation},{sequence}@")
    }
}

/// The text of an event: its marker, and filling until it has so many bytes.
pub fn text_with(marker: Marker, bytes: usize) -> String {
    format!("{:x<bytes$}", marker.to_string())
}

/// The markers in what has arrived, in order.
#[derive(Debug)]
pub struct Markers<'a>(&'a [u8]);

impl<'a> Markers<'a> {
    /// Searches these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl Iterator for Markers<'_> {
    type Item = Marker;

    #[inline]
    fn next(&mut self) -> Option<Marker> {
        loop {
            let start = memchr(b'@', self.0)?;
            self.0 = &self.0[start + 1..];
            if let Some((marker, taken)) = read(self.0) {
                self.0 = &self.0[taken..];
                return Some(marker);
            }
        }
    }
}

/// Reads a marker after its first `@`, and says how many bytes it has.
#[inline]
fn read(bytes: &[u8]) -> Option<(Marker, usize)> {
    let mut rest = bytes;
    let time = number(&mut rest, b',')?;
    let organisation = u32::try_from(number(&mut rest, b',')?).ok()?;
    let sequence = number(&mut rest, b'@')?;
    let marker = Marker {
        time,
        organisation,
        sequence,
    };
    Some((marker, bytes.len() - rest.len()))
}

/// Takes digits and the byte after them, up to eight digits at a time: reading markers byte by byte
/// was the most of what an event cost beside the kernel's copy.
#[inline]
fn number(bytes: &mut &[u8], end: u8) -> Option<u64> {
    let mut rest = *bytes;
    let mut value = 0u64;
    while let Some((eight, _)) = rest.split_first_chunk::<8>() {
        let (part, count) = digits(*eight);
        value = (value.checked_mul(POWERS[count])?).checked_add(part)?;
        rest = &rest[count..];
        if count < 8 {
            break;
        }
    }
    // The last bytes of all, where fewer than eight remain.
    while let Some((byte @ b'0'..=b'9', after)) = rest.split_first() {
        value = (value.checked_mul(10)?).checked_add(u64::from(byte - b'0'))?;
        rest = after;
    }
    let after = rest.strip_prefix(&[end])?;
    let is_empty = rest.len() == bytes.len();
    *bytes = after;
    (!is_empty).then_some(value)
}

/// Ten to the power of each number of digits that are read at a time.
const POWERS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// The number at the beginning of eight bytes, and how many digits it has.
#[inline]
fn digits(bytes: [u8; 8]) -> (u64, usize) {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    // The first byte is the lowest of the word; a digit becomes its value.
    let word = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    // Sets the high bit of each byte above nine. A carry only changes bytes after the first such one.
    let others = (word.wrapping_add(0x7676_7676_7676_7676) | word) & HIGH_BITS;
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    // As if there were zeros before it: eight digits, whose neighbours are joined to pairs, the pairs
    // to fours, and the fours to the number.
    let word = word << (8 * (8 - count));
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let number = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    (number, count)
}

#[cfg(test)]
mod tests {
    use super::{Marker, Markers, text_with};

    fn found(text: &str) -> Vec<Marker> {
        Markers::new(text.as_bytes()).collect()
    }

    fn marker(time: u64, organisation: u32, sequence: u64) -> Marker {
        Marker {
            time,
            organisation,
            sequence,
        }
    }

    #[test]
    fn what_is_written_is_found() {
        for expected in [marker(0, 0, 0), marker(u64::MAX, u32::MAX, u64::MAX)] {
            let text = format!("data: {{\"title\":\"{expected}xxx\"}}\n\n");
            assert_eq!(found(&text), [expected]);
        }
    }

    #[test]
    fn several_are_found_in_order() {
        let (first, second) = (marker(1, 2, 3), marker(4, 5, 6));
        assert_eq!(
            found(&format!("[\"{first}\",\"{second}\"]")),
            [first, second]
        );
        assert_eq!(found(&format!("{first}{second}")), [first, second]);
    }

    #[test]
    fn what_only_resembles_one_is_passed_over() {
        assert_eq!(found("someone@example.org"), []);
        assert_eq!(found("@1,2@ @1,2,@ @,2,3@ @1,2,3"), []);
        assert_eq!(found("@1,2,3;@4,5,6@"), [marker(4, 5, 6)]);
        // One more than any number has room for.
        assert_eq!(found("@18446744073709551616,1,1@ @1,4294967296,1@"), []);
    }

    #[test]
    fn numbers_of_every_length_are_read_wherever_they_end() {
        let digits = "18446744073709551615";
        for length in 1..=digits.len() {
            let time: u64 = digits[..length].parse().unwrap();
            for filling in 0..10 {
                let expected = marker(time, 7, time);
                let text = format!("{expected}{}", "x".repeat(filling));
                assert_eq!(found(&text), [expected], "{text}");
                // Bytes that are near to digits, or far from them, end a number.
                for other in ['/', ':', '\u{7f}', 'é', '\0'] {
                    let text = text.replacen(',', &other.to_string(), 1);
                    assert_eq!(found(&text), [], "{text}");
                }
            }
        }
    }

    #[test]
    fn a_text_is_filled_to_its_length() {
        let expected = marker(123, 4, 5);
        let text = text_with(expected, 200);
        assert_eq!(text.len(), 200);
        assert_eq!(found(&text), [expected]);
        assert_eq!(text_with(expected, 3), "@123,4,5@");
    }
}

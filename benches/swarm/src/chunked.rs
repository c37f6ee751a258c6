//! The chunked transfer coding (RFC 9112, 7.1), read from whatever pieces arrive, without a copy.

/// The longest size of a chunk, in hexadecimal digits: nobody sends chunks of 256 MiB.
const SIZE_DIGITS_MAX: u8 = 7;

/// How far a body in this coding has been read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chunked {
    /// In a size. Next: `Extension` or `SizeEnd`.
    Size { value: u32, digits: u8 },
    /// After a size, until its line ends. Next: `SizeEnd`.
    Extension { value: u32 },
    /// Waits for the line feed after a size. Next: `Data`, or `Trailer` after the last chunk.
    SizeEnd { value: u32 },
    /// In a chunk of which so many bytes are to come. Next: `DataReturn`.
    Data { left: u32 },
    /// Waits for the end of the line after a chunk. Next: `DataEnd`.
    DataReturn,
    /// Waits for the line feed after a chunk. Next: `Size`.
    DataEnd,
    /// In the lines after the last chunk. Next: `Over`, after an empty one.
    Trailer { is_empty: bool },
    /// Everything has arrived; what follows is nobody's.
    Over,
}

/// What arrived is not in this coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotChunked;

impl Chunked {
    /// Before the first chunk, or between two.
    const SIZE: Self = Self::Size {
        value: 0,
        digits: 0,
    };

    /// The beginning of a body.
    pub(crate) fn new() -> Self {
        Self::SIZE
    }

    /// Whether the last chunk has arrived.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Over)
    }

    /// Takes the next piece of the body from what arrived; none where that is used up.
    #[inline]
    pub(crate) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
    ) -> Result<Option<&'a [u8]>, NotChunked> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Self::Data { left } = *self {
                let length = bytes.len().min(left as usize);
                let (piece, rest) = bytes.split_at(length);
                *bytes = rest;
                *self = match left - length as u32 {
                    0 => Self::DataReturn,
                    left => Self::Data { left },
                };
                return Ok(Some(piece));
            }
            *bytes = rest;
            *self = self.after(byte)?;
        }
        Ok(None)
    }

    /// The state after a byte that is not data.
    #[inline]
    fn after(self, byte: u8) -> Result<Self, NotChunked> {
        match (self, byte) {
            (Self::Size { value, digits: 1.. }, b'\r') => Ok(Self::SizeEnd { value }),
            (Self::Size { value, digits: 1.. }, b';' | b' ' | b'\t') => {
                Ok(Self::Extension { value })
            }
            (Self::Size { value, digits }, _) if digits < SIZE_DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).ok_or(NotChunked)?;
                Ok(Self::Size {
                    value: value * 16 + digit,
                    digits: digits + 1,
                })
            }
            (Self::Extension { value }, b'\r') => Ok(Self::SizeEnd { value }),
            (Self::Extension { .. }, _) => Ok(self),
            (Self::SizeEnd { value: 0 }, b'\n') => Ok(Self::Trailer { is_empty: true }),
            (Self::SizeEnd { value: left }, b'\n') => Ok(Self::Data { left }),
            (Self::DataReturn, b'\r') => Ok(Self::DataEnd),
            (Self::DataEnd, b'\n') => Ok(Self::SIZE),
            (Self::Trailer { is_empty: true }, b'\n') | (Self::Over, _) => Ok(Self::Over),
            (Self::Trailer { .. }, b'\n') => Ok(Self::Trailer { is_empty: true }),
            (Self::Trailer { .. }, b'\r') => Ok(self),
            (Self::Trailer { .. }, _) => Ok(Self::Trailer { is_empty: false }),
            _ => Err(NotChunked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunked, NotChunked};

    /// What the pieces hold, and the state after them.
    fn decoded(pieces: &[&[u8]]) -> Result<(Vec<u8>, Chunked), NotChunked> {
        let (mut state, mut body) = (Chunked::new(), Vec::new());
        for mut piece in pieces.iter().copied() {
            while let Some(data) = state.next(&mut piece)? {
                body.extend_from_slice(data);
            }
            assert!(piece.is_empty());
        }
        Ok((body, state))
    }

    const WHOLE: &[u8] = b"5\r\nhello\r\n1a;name=value\r\nabcdefghijklmnopqrstuvwxyz\r\n\
        01 \r\n\n\r\n0\r\nexpires: never\r\n\r\n";

    #[test]
    fn a_body_is_the_same_wherever_it_is_cut() {
        for first in 0..=WHOLE.len() {
            for second in first..=WHOLE.len() {
                let pieces = [&WHOLE[..first], &WHOLE[first..second], &WHOLE[second..]];
                let (body, state) = decoded(&pieces).expect("it is chunked");
                assert_eq!(body, b"helloabcdefghijklmnopqrstuvwxyz\n");
                assert!(state.is_over());
            }
        }
    }

    #[test]
    fn a_body_that_goes_on_is_not_over() {
        for end in 0..WHOLE.len() {
            let (_, state) = decoded(&[&WHOLE[..end]]).expect("it is the beginning of one");
            assert!(!state.is_over(), "after {end} bytes");
        }
    }

    #[test]
    fn what_is_not_chunked_is_refused() {
        let wrong: [&[u8]; 6] = [
            b"data: 1\n\n",
            b"\r\n",
            b";\r\n",
            b"10000000\r\n",
            b"1\r\nab",
            b"1\r\na\rb",
        ];
        for bytes in wrong {
            assert_eq!(decoded(&[bytes]).unwrap_err(), NotChunked, "{bytes:?}");
        }
    }
}

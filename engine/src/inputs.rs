//! Requests that arrive in pieces: what has come of each by now, and how much of that there may be in
//! all. What is done with them is in `request`.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use slab::Slab;
use wire::http::{Head, HeadError, HeadScan, Request};

use crate::limits::{INPUT_BYTES_EACH, INPUTS_BYTES_MAX};

/// A request that arrives in pieces. Bounded by what the head parser accepts, and by the length of
/// the body it announced.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// What has come of the head, and once that is whole, what has come of the body.
    bytes: BytesMut,
    /// How far the head was looked at: each byte once, however finely it is cut.
    scan: HeadScan,
    head: Option<Head>,
    /// Its number among the long ones, and with how many bytes of memory it counts there.
    counted: Option<(u64, usize)>,
}

/// All that an engine reads.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    all: Slab<Input>,
    /// The slots of those that hold more than [`INPUT_BYTES_EACH`], by number: the oldest first.
    long: BTreeMap<u64, u32>,
    last: u64,
    /// How many bytes the long ones hold.
    long_bytes: usize,
}

impl Input {
    /// What has come of the head by now, and how far that was looked at.
    pub(crate) fn of_head(bytes: &[u8], scan: HeadScan) -> Self {
        Self {
            bytes: bytes.into(),
            scan,
            ..Self::default()
        }
    }

    /// The whole head, and what has come of the body by now.
    pub(crate) fn of_body(head: Head, bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.into(),
            head: Some(head),
            ..Self::default()
        }
    }

    /// The bytes of memory that it holds: a head has a copy of its own.
    fn weight(&self) -> usize {
        self.bytes.capacity() + self.head.as_ref().map_or(0, Head::len_bytes)
    }

    /// The head, once it is whole.
    pub(crate) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Whether head and body are there.
    pub(crate) fn is_whole(&self) -> bool {
        let head = self.head.as_ref();
        head.is_some_and(|head| self.bytes.len() >= head.body_bytes())
    }

    /// The request, where it is whole. What comes behind it is nobody's, and the body leaves the room
    /// behind that it grew in: whoever counts its length counts its memory.
    fn into_request(self) -> Option<Request> {
        let head = self.head?;
        let body = Bytes::copy_from_slice(self.bytes.get(..head.body_bytes())?);
        Some(Request { body, head })
    }
}

impl Inputs {
    /// Takes in what came first of the request in this slot.
    pub(crate) fn insert(&mut self, slot: u32, input: Input) -> u32 {
        let side = self.all.insert(input);
        self.count(side, slot);
        side as u32
    }

    /// Adds what has come, and reads on where the head is not whole yet.
    ///
    /// # Errors
    ///
    /// Where it cannot become a head any more.
    pub(crate) fn extend(&mut self, side: u32, slot: u32, bytes: &[u8]) -> Result<(), HeadError> {
        let input = &mut self.all[side as usize];
        input.bytes.extend_from_slice(bytes);
        if input.head.is_none()
            && let Some(head) = input.scan.advance(&input.bytes)?
        {
            // Of what came only the beginning of the body is still wanted.
            input.bytes = input.bytes[head.len_bytes()..].into();
            input.head = Some(head);
        }
        self.count(side as usize, slot);
        Ok(())
    }

    pub(crate) fn get(&self, side: u32) -> &Input {
        &self.all[side as usize]
    }

    pub(crate) fn remove(&mut self, side: u32) -> Input {
        let input = self.all.remove(side as usize);
        self.uncount(input.counted);
        input
    }

    /// Takes a request out that is whole.
    pub(crate) fn take(&mut self, side: u32) -> Request {
        let request = self.remove(side).into_request();
        request.expect("only what is whole is taken")
    }

    /// Where the long ones have more bytes than they may: the slot of the one that has been long for the
    /// longest time. Who only sends much is through by then.
    pub(crate) fn slowest_of_too_many(&self) -> Option<u32> {
        let oldest = self.long.first_key_value().map(|(_, slot)| *slot);
        oldest.filter(|_| self.long_bytes > INPUTS_BYTES_MAX)
    }

    /// Whether this is a request that arrives in pieces.
    pub(crate) fn contains(&self, side: u32) -> bool {
        self.all.contains(side as usize)
    }

    /// Holds what is counted against what there is: these slots read.
    ///
    /// # Panics
    ///
    /// Where one does not agree with the other.
    pub(crate) fn check(&self, reading: impl Iterator<Item = u32>) {
        assert_eq!(self.all.len(), reading.count());
        let long = self.all.iter().filter_map(|(_, input)| input.counted);
        let (count, bytes) = long.fold((0, 0), |(count, sum), (number, bytes)| {
            assert!(self.long.contains_key(&number));
            (count + 1, sum + bytes)
        });
        assert_eq!((self.long.len(), self.long_bytes), (count, bytes));
        assert!(self.long_bytes <= INPUTS_BYTES_MAX);
    }

    /// Gives back what a storm needed, when it is over.
    pub(crate) fn give_memory_back(&mut self) {
        if self.all.is_empty() {
            self.all.shrink_to_fit();
        }
    }

    fn count(&mut self, side: usize, slot: u32) {
        let input = &mut self.all[side];
        let (before, bytes) = (input.counted, input.weight());
        let number = before.map_or(self.last + 1, |(number, _)| number);
        input.counted = (bytes > INPUT_BYTES_EACH).then_some((number, bytes));
        let counted = input.counted;
        self.uncount(before);
        if let Some((number, bytes)) = counted {
            self.last = self.last.max(number);
            self.long.insert(number, slot);
            self.long_bytes += bytes;
        }
    }

    fn uncount(&mut self, counted: Option<(u64, usize)>) {
        if let Some((number, bytes)) = counted {
            self.long.remove(&number);
            self.long_bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n";

    /// A request that holds this many bytes, most of them of its body.
    fn holding(bytes: usize) -> Input {
        let head = Head::parse(HEAD).ok().flatten().expect("a whole head");
        let input = Input::of_body(head, &vec![b'x'; bytes - HEAD.len()]);
        assert_eq!(input.weight(), bytes);
        input
    }

    #[test]
    fn the_bytes_of_the_long_ones_are_counted_until_they_are_gone() {
        let mut inputs = Inputs::default();
        let short = inputs.insert(1, holding(INPUT_BYTES_EACH));
        assert_eq!((inputs.long.len(), inputs.long_bytes), (0, 0));
        inputs.extend(short, 1, b"x").expect("a body is not read");
        assert!(inputs.long_bytes > INPUT_BYTES_EACH);
        let before = inputs.long_bytes;
        let long = inputs.insert(2, holding(2 * INPUT_BYTES_EACH));
        assert_eq!(inputs.long_bytes, before + 2 * INPUT_BYTES_EACH);
        assert_eq!(inputs.long.values().collect::<Vec<_>>(), [&1, &2]);
        drop((inputs.remove(short), inputs.remove(long)));
        assert_eq!((inputs.long.len(), inputs.long_bytes), (0, 0));
    }

    #[test]
    fn a_long_head_counts_as_long_as_its_body_is_missing() {
        let mut inputs = Inputs::default();
        let cookies = vec![b'c'; 2 * INPUT_BYTES_EACH];
        let begun = [b"POST / HTTP/1.1\r\nHost: a\r\nCookie: ", &cookies[..]].concat();
        let mut scan = HeadScan::default();
        assert!(scan.advance(&begun).expect("a good beginning").is_none());
        let side = inputs.insert(1, Input::of_head(&begun, scan));
        assert!(inputs.long_bytes >= begun.len());
        let rest = b"\r\nContent-Length: 4\r\n\r\nbo";
        inputs.extend(side, 1, rest).expect("a good head");
        assert!(inputs.get(side).head().is_some() && !inputs.get(side).is_whole());
        // Once, and not also as what it was read from.
        assert!((begun.len()..begun.len() + 1_000).contains(&inputs.long_bytes));
        inputs.extend(side, 1, b"dy!").expect("a body is not read");
        assert_eq!(&inputs.take(side).body[..], b"body");
        assert_eq!((inputs.long.len(), inputs.long_bytes), (0, 0));
    }

    #[test]
    fn of_too_many_the_one_goes_that_takes_longest() {
        const LONG: usize = 64 * 1024;
        let mut inputs = Inputs::default();
        let most = (INPUTS_BYTES_MAX / LONG) as u32;
        let sides: Vec<u32> = (0..most)
            .map(|slot| inputs.insert(slot, holding(LONG)))
            .collect();
        assert_eq!(inputs.slowest_of_too_many(), None);
        inputs.insert(most, holding(INPUT_BYTES_EACH));
        assert_eq!(
            inputs.slowest_of_too_many(),
            None,
            "short ones are nobody's burden"
        );
        inputs.insert(most + 1, holding(INPUT_BYTES_EACH + 1));
        assert_eq!(inputs.slowest_of_too_many(), Some(0));
        drop(inputs.remove(sides[0]));
        assert_eq!(inputs.slowest_of_too_many(), None);
    }
}

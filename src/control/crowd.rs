//! Whether nearly all streams come from one address: then it is a proxy's that is not trusted, and
//! every limit per address means the proxy. Pure, and a few bytes whatever happens.

use std::net::IpAddr;

/// How many streams that are opened one after the other are looked at together.
const SAMPLE: u32 = 100;

/// The share of them that is too many for one address: nine tenths.
const SHARED_MIN: u32 = 90;

/// With fewer streams than these open, one address is nothing odd.
const STREAMS_MIN: u64 = 100;

/// Looks at samples of [`SAMPLE`] streams: the majority of one is the address that is counted in the
/// next.
#[derive(Default)]
pub(super) struct Crowd {
    seen: u32,
    /// The address that is counted, and how often it was seen in this sample.
    counted: Option<IpAddr>,
    count: u32,
    /// The majority of this sample, if it has one (Boyer and Moore).
    majority: Option<IpAddr>,
    votes: u32,
    was_said: bool,
}

impl Crowd {
    /// A stream is opened by this address, beside `streams` that are open. Gives the address that
    /// nearly all share, once.
    pub(super) fn observe(&mut self, address: IpAddr, streams: u64) -> Option<IpAddr> {
        if self.was_said {
            return None;
        }
        self.seen += 1;
        self.count += u32::from(self.counted == Some(address));
        match self.majority {
            Some(majority) if majority == address => self.votes += 1,
            Some(_) if self.votes > 0 => self.votes -= 1,
            _ => (self.majority, self.votes) = (Some(address), 1),
        }
        if self.seen < SAMPLE {
            return None;
        }
        let shared = self
            .counted
            .filter(|_| self.count >= SHARED_MIN && streams >= STREAMS_MIN);
        self.was_said = shared.is_some();
        *self = Self {
            counted: self.majority,
            was_said: self.was_said,
            ..Self::default()
        };
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    /// What is said of streams whose addresses are these, one after the other.
    fn said(addresses: impl Iterator<Item = u32>) -> Vec<IpAddr> {
        let mut crowd = Crowd::default();
        (0u64..)
            .zip(addresses)
            .filter_map(|(streams, n)| crowd.observe(address(n), streams))
            .collect()
    }

    #[test]
    fn an_address_that_nearly_all_share_is_said_once() {
        assert_eq!(said((0..1_000).map(|_| 7)), [address(7)]);
        let nine_tenths = (0..1_000).map(|n| if n % 10 == 3 { n } else { 7 });
        assert_eq!(said(nine_tenths), [address(7)]);
    }

    #[test]
    fn what_is_less_than_that_is_nothing_odd() {
        let four_fifths = (0..1_000).map(|n| if n % 5 == 3 { n } else { 7 });
        assert!(said(four_fifths).is_empty());
        assert!(said(0..1_000).is_empty());
        assert!(said((0..99).map(|_| 7)).is_empty());
    }
}

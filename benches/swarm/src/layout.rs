//! Which organisation a stream belongs to: the same rule for the swarm, the publisher and the SQL that
//! fills the tables.

use serde::{Deserialize, Serialize};

/// How streams are spread over organisations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Layout {
    /// Organisations of one size.
    Equal {
        /// How many streams each has; at least one.
        streams_per_organisation: u32,
    },
    /// Organisation 0 is large, and all after it are small.
    OneLarge {
        /// The streams of organisation 0.
        large: u32,
        /// The streams of each other organisation; at least one.
        small: u32,
    },
    /// Organisations of one to ten streams, in turn.
    Spread {
        /// How many there are.
        organisations: u32,
    },
}

/// The sizes of ten organisations that follow each other in [`Layout::Spread`] are 1 to this.
const SPREAD_SIZE_MAX: u32 = 10;

/// How many streams those have together.
const SPREAD_TURN: u32 = SPREAD_SIZE_MAX * (SPREAD_SIZE_MAX + 1) / 2;

impl Layout {
    /// The organisation of the stream with this number.
    pub fn organisation(self, stream: u32) -> u32 {
        match self {
            Self::Equal {
                streams_per_organisation,
            } => stream / streams_per_organisation,
            Self::OneLarge { large, small } => match stream.checked_sub(large) {
                None => 0,
                Some(rest) => 1 + rest / small,
            },
            Self::Spread { .. } => {
                let (turn, mut rest) = (stream / SPREAD_TURN, stream % SPREAD_TURN);
                let mut size = 1;
                while rest >= size {
                    rest -= size;
                    size += 1;
                }
                turn * SPREAD_SIZE_MAX + size - 1
            }
        }
    }

    /// How many streams an organisation has, where all streams of the layout are open.
    pub fn size(self, organisation: u32) -> u32 {
        match self {
            Self::Equal {
                streams_per_organisation,
            } => streams_per_organisation,
            Self::OneLarge { large, .. } if organisation == 0 => large,
            Self::OneLarge { small, .. } => small,
            Self::Spread { .. } => 1 + organisation % SPREAD_SIZE_MAX,
        }
    }

    /// How many organisations the first so many streams belong to.
    pub fn organisations(self, streams: u32) -> u32 {
        match streams.checked_sub(1) {
            None => 0,
            Some(last) => 1 + self.organisation(last),
        }
    }

    /// How many streams it has at all, where it has an end.
    pub fn streams(self) -> Option<u32> {
        match self {
            Self::Equal { .. } | Self::OneLarge { .. } => None,
            Self::Spread { organisations } => {
                Some((0..organisations).map(|number| self.size(number)).sum())
            }
        }
    }

    /// How many groups are reported apart from each other.
    pub fn groups(self) -> usize {
        match self {
            Self::OneLarge { .. } => 2,
            Self::Equal { .. } | Self::Spread { .. } => 1,
        }
    }

    /// The group of an organisation: the large one is 0 and the small ones are 1.
    pub fn group(self, organisation: u32) -> usize {
        match self {
            Self::OneLarge { .. } => usize::from(organisation > 0),
            Self::Equal { .. } | Self::Spread { .. } => 0,
        }
    }

    /// Whether every stream has an organisation: no size is zero.
    pub fn is_possible(self) -> bool {
        match self {
            Self::Equal {
                streams_per_organisation,
            } => streams_per_organisation > 0,
            Self::OneLarge { small, .. } => small > 0,
            Self::Spread { organisations } => organisations > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    /// Sizes counted stream by stream are those that the layout names.
    fn assert_sizes(layout: Layout, streams: u32) {
        let organisations = layout.organisations(streams);
        let mut counted = vec![0; organisations as usize];
        for stream in 0..streams {
            counted[layout.organisation(stream) as usize] += 1;
        }
        for (organisation, size) in (0..organisations).zip(counted) {
            assert_eq!(
                size,
                layout.size(organisation),
                "organisation {organisation}"
            );
        }
    }

    #[test]
    fn every_organisation_has_the_streams_that_the_layout_says() {
        let equal = Layout::Equal {
            streams_per_organisation: 7,
        };
        assert_sizes(equal, 70);
        assert_eq!(equal.organisations(71), 11);
        let one_large = Layout::OneLarge {
            large: 100,
            small: 10,
        };
        assert_sizes(one_large, 150);
        assert_eq!((one_large.group(0), one_large.group(3)), (0, 1));
        let spread = Layout::Spread {
            organisations: 3000,
        };
        assert_eq!(spread.streams(), Some(16_500));
        assert_sizes(spread, 16_500);
        assert_eq!(spread.organisations(16_500), 3000);
    }

    #[test]
    fn streams_of_one_organisation_follow_each_other() {
        let layout = Layout::Spread { organisations: 30 };
        let numbers: Vec<u32> = (0..7).map(|stream| layout.organisation(stream)).collect();
        assert_eq!(numbers, [0, 1, 1, 2, 2, 2, 3]);
        assert_eq!((layout.organisation(54), layout.organisation(55)), (9, 10));
    }

    #[test]
    fn a_layout_without_streams_is_impossible() {
        assert!(!Layout::OneLarge { large: 5, small: 0 }.is_possible());
        assert!(Layout::OneLarge { large: 0, small: 1 }.is_possible());
    }
}

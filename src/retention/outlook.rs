//! What a slot leads to, in words.

use crate::config::units::{human_bytes, human_time};

/// Below this rate the log stands still, in bytes a second.
const STILL: f64 = 1.0;

const DAY_SECONDS: f64 = 86_400.0;

/// What is left for the log that a slot holds back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Room {
    /// `max_slot_wal_keep_size`: beyond it the slot is given up.
    Limit { limit: u64, left: u64 },
    /// The disk, which is full before the limit is reached, where there is one.
    Disk { free: u64, limit: Option<u64> },
    /// Nothing bounds it, and nobody says how large the disk is.
    Unknown,
}

/// What a slot that nobody moves holds back, and for how long there is room.
pub(crate) fn outlook(kept: u64, room: Room, per_second: f64) -> String {
    let kept = human_bytes(kept);
    let is_still = per_second < STILL;
    let lasts = |left: u64| human_time(left as f64 / per_second);
    let rate = human_rate(per_second);
    match room {
        Room::Limit { limit, left } => {
            let (limit, left_text) = (human_bytes(limit), human_bytes(left));
            match is_still {
                true => format!(
                    "holds back {kept} of the write-ahead log, which does not grow now; after {left_text} \
                     more it is given up (max_slot_wal_keep_size is {limit})"
                ),
                false => format!(
                    "holds back {kept} of the write-ahead log; at the present rate, {rate}, there is room \
                     for {} until it is given up (max_slot_wal_keep_size is {limit})",
                    lasts(left)
                ),
            }
        }
        Room::Disk { free, limit } => {
            let free_text = human_bytes(free);
            let bound = match limit {
                None => "nothing bounds it but the disk".to_owned(),
                Some(limit) => format!(
                    "the disk is full before max_slot_wal_keep_size, {}, bounds it",
                    human_bytes(limit)
                ),
            };
            match is_still {
                true => format!(
                    "holds back {kept} of the write-ahead log, which does not grow now; {bound}: \
                     {free_text} are free"
                ),
                false => format!(
                    "holds back {kept} of the write-ahead log, and {bound}: {free_text} are free, which at the present rate, {rate}, last {}",
                    lasts(free)
                ),
            }
        }
        Room::Unknown => format!(
            "holds back {kept} of the write-ahead log, and nothing bounds it until the disk is full; the \
             present rate is {rate}, and how much is free cannot be seen from here"
        ),
    }
}

/// A rate for a person.
pub(crate) fn human_rate(per_second: f64) -> String {
    // What does not fit is far beyond any disk.
    format!("{} a day", human_bytes((per_second * DAY_SECONDS) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_bound_lasts_as_long_as_the_rate_says() {
        let room = Room::Limit {
            limit: 1024 * MIB,
            left: 1000 * MIB,
        };
        let text = outlook(24 * MIB, room, MIB as f64);
        assert!(
            text.contains("24.0 MiB") && text.contains("room for 17 min"),
            "{text}"
        );
        assert!(outlook(0, room, 0.0).contains("does not grow now"));
    }

    #[test]
    fn without_a_bound_the_disk_counts() {
        let disk = |limit| Room::Disk {
            free: 86_400 * MIB,
            limit,
        };
        let text = outlook(MIB, disk(None), MIB as f64);
        assert!(text.contains("84.4 GiB a day, last 24 h"), "{text}");
        let text = outlook(MIB, disk(Some(100_000 * MIB)), MIB as f64);
        assert!(
            text.contains("full before max_slot_wal_keep_size, 97.7 GiB") && text.contains("24 h"),
            "{text}"
        );
        let text = outlook(MIB, Room::Unknown, MIB as f64);
        assert!(
            text.contains("84.4 GiB a day") && text.contains("cannot be seen"),
            "{text}"
        );
    }
}

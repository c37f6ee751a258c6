//! What our slots make PostgreSQL keep of its write-ahead log, how fast that grows, and for how long
//! there is room: for `check`, `slots`, and the last line of a node that stops.

mod disk;
mod outlook;
mod rate;
mod slot;

use std::time::Duration;

use replication::ConnectInfo;
use tokio_postgres::Client;

use crate::database::{self, DatabaseError};
pub(crate) use outlook::{Room, human_rate, outlook};
pub(crate) use rate::Rate;
pub(crate) use slot::{Kind, Slot};

/// How long the last look of a node that stops may take.
const LAST_LOOK_MAX: Duration = Duration::from_secs(4);

/// What is kept, and what it leads to.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    /// The slots that are named like ours, of every database of the server.
    pub(crate) slots: Vec<Slot>,
    pub(crate) rate: Rate,
    /// `max_slot_wal_keep_size` in bytes; `None` where it bounds nothing.
    pub(crate) keep_bytes: Option<u64>,
    /// What is free on the server's disk, where it can be known.
    pub(crate) disk_free: Option<u64>,
    pub(crate) database: String,
}

impl Retention {
    /// Looks, for a second or so: the rate is measured.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn read(
        client: &Client,
        info: &ConnectInfo,
        disk_free: Option<u64>,
    ) -> Result<Self, DatabaseError> {
        let rate = Rate::measure(client).await?;
        // In megabytes, whatever was written (`pg_settings.unit`).
        let sql = "SELECT setting::int8, current_database()::text FROM pg_catalog.pg_settings
                   WHERE name = 'max_slot_wal_keep_size'";
        let row = client
            .query_one(sql, &[])
            .await
            .map_err(DatabaseError::of)?;
        let keep_size: i64 = row.get(0);
        Ok(Self {
            slots: slot::read(client).await?,
            rate,
            keep_bytes: u64::try_from(keep_size)
                .ok()
                .map(|megabytes| megabytes << 20),
            disk_free: match disk_free {
                Some(bytes) => Some(bytes),
                None => disk::free_bytes(client, info).await,
            },
            database: row.get(1),
        })
    }

    /// The anchor of this database and generation.
    pub(crate) fn anchor(&self, generation: u32) -> Option<&Slot> {
        let is_it =
            |slot: &&Slot| slot.kind == Kind::Anchor { generation } && slot.is_of(&self.database);
        self.slots.iter().find(is_it)
    }

    /// How many nodes stream from this database: each has a copy of its own.
    pub(crate) fn nodes(&self) -> usize {
        let is_node =
            |slot: &&Slot| slot.kind == Kind::Copy && slot.is_active && slot.is_of(&self.database);
        self.slots.iter().filter(is_node).count()
    }

    /// What is left until a slot is given up, or the disk full.
    pub(crate) fn room(&self, slot: &Slot) -> Room {
        let (limit, free) = (self.keep_bytes, self.disk_free);
        let Some(bound) = limit else {
            return free.map_or(Room::Unknown, |free| Room::Disk { free, limit });
        };
        let unused = bound.saturating_sub(slot.kept_bytes);
        let left = slot.safe_bytes.unwrap_or(unused);
        match free {
            // A bound that the disk has no room for protects nothing.
            Some(free) if free < left => Room::Disk { free, limit },
            _ => Room::Limit { limit: bound, left },
        }
    }

    /// What a slot holds back and what comes of it, in a sentence.
    pub(crate) fn outlook(&self, slot: &Slot) -> String {
        outlook(slot.kept_bytes, self.room(slot), self.rate.per_second())
    }
}

/// The last words of a node: what its slot holds back from now on.
pub(crate) fn last_words(info: &ConnectInfo, generation: u32) -> String {
    let look = async {
        let client = database::connect(info).await?;
        Retention::read(&client, info, None).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let looked = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| {
            let bounded = async { tokio::time::timeout(LAST_LOOK_MAX, look).await };
            match runtime.block_on(bounded) {
                Ok(looked) => looked.map_err(|error| error.to_string()),
                Err(_) => Err(DatabaseError::Silent.to_string()),
            }
        });
    match looked {
        Err(error) => format!("what its slot holds back of the log is not known: {error}"),
        Ok(retention) => match (retention.anchor(generation), retention.nodes()) {
            (None, _) => "it leaves no slot behind".to_owned(),
            (Some(slot), 0) => format!("its slot {} {}", slot.name, retention.outlook(slot)),
            (Some(slot), others) => format!(
                "its slot {} is held and moved by {others} more, and {}",
                slot.name,
                retention.outlook(slot)
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_is_full_first_counts() {
        const GIB: u64 = 1 << 30;
        let slot = Slot {
            name: "tailrace_5".to_owned(),
            kind: Kind::Anchor { generation: 0 },
            database: "app".to_owned(),
            is_active: false,
            kept_bytes: GIB,
            window_bytes: 0,
            status: "reserved".to_owned(),
            lost_because: None,
            safe_bytes: None,
        };
        let room = |keep_bytes, disk_free| {
            let retention = Retention {
                slots: Vec::new(),
                rate: Rate::default(),
                keep_bytes,
                disk_free,
                database: "app".to_owned(),
            };
            retention.room(&slot)
        };
        let (limit, left) = (10 * GIB, 9 * GIB);
        let bounded = Room::Limit { limit, left };
        assert_eq!(room(Some(limit), Some(20 * GIB)), bounded);
        assert_eq!(room(Some(limit), None), bounded);
        let disk = |limit| Room::Disk {
            free: 2 * GIB,
            limit,
        };
        assert_eq!(room(Some(limit), Some(2 * GIB)), disk(Some(limit)));
        assert_eq!(room(None, Some(2 * GIB)), disk(None));
        assert_eq!(room(None, None), Room::Unknown);
    }
}

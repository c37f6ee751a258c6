//! The connections: records in chunks that are never copied, and a column of deadlines.
//!
//! The `slab` crate would copy everything when it grows, and its tag would cost eight bytes a
//! record, so this is a slab of our own. What the records mean is in `record`.

use wire::ConnectionId;

use crate::driver::Handle;
use crate::limits::GENERATION_BITS;
use crate::record::{NONE, Record, State};
use crate::time::Tick;

/// Records of a chunk: 68 KiB with the deadlines.
const CHUNK: usize = 1024;

/// All connections of an engine.
#[derive(Debug)]
pub(crate) struct Table {
    chunks: Vec<Box<Chunk>>,
    /// The first free slot; the others follow by `Record::next`.
    free: u32,
    count: u32,
    /// One more than the greatest slot that was ever in use.
    end: u32,
    boot: u32,
    engine: u16,
}

#[derive(Debug)]
struct Chunk {
    records: [Record; CHUNK],
    deadlines: [Tick; CHUNK],
}

impl Table {
    /// An empty table; the arguments go into the connections' ids.
    pub(crate) fn new(boot: u32, engine: u16) -> Self {
        Self {
            chunks: Vec::new(),
            free: NONE,
            count: 0,
            end: 0,
            boot,
            engine,
        }
    }

    /// Takes a free slot for a socket. Its deadline is never, until it is set.
    pub(crate) fn insert(&mut self, descriptor: i32) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let slot = self.free;
        let record = &mut self[slot];
        assert!(record.state == State::Free, "slot {slot} is in use");
        let next = record.next;
        *record = Record::free(NONE, record.generation);
        record.descriptor = descriptor;
        record.state = State::Reading;
        self.free = next;
        self.count += 1;
        self.end = self.end.max(slot + 1);
        slot
    }

    /// Gives a slot back, under a new generation.
    pub(crate) fn remove(&mut self, slot: u32) {
        let next = self.free;
        let record = &mut self[slot];
        assert!(
            record.state == State::Closing,
            "slot {slot} is still in use"
        );
        let generation = (record.generation + 1) & ((1 << GENERATION_BITS) - 1);
        *record = Record::free(next, generation);
        self.set_deadline(slot, Tick::NEVER);
        self.free = slot;
        self.count -= 1;
    }

    /// How many slots are in use.
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    /// One more than the greatest slot that was ever in use.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// The slot that an event of the driver is about, `None` for one of an earlier generation.
    pub(crate) fn find(&self, handle: Handle) -> Option<u32> {
        let record = self.get(handle.slot)?;
        let is_same = record.generation == handle.generation && record.state != State::Free;
        is_same.then_some(handle.slot)
    }

    /// The slot of a connection by its name, `None` if it is gone or another's.
    pub(crate) fn find_id(&self, id: ConnectionId) -> Option<u32> {
        if (id.boot, id.engine) != (self.boot, self.engine) {
            return None;
        }
        let record = self.get(id.slot)?;
        let is_gone = matches!(record.state, State::Free | State::Closing);
        (!is_gone && record.generation == id.generation).then_some(id.slot)
    }

    /// The connection as drivers see it.
    pub(crate) fn handle(&self, slot: u32) -> Handle {
        self[slot].handle(slot)
    }

    /// The connection's name.
    pub(crate) fn id(&self, slot: u32) -> ConnectionId {
        let generation = self[slot].generation;
        ConnectionId {
            boot: self.boot,
            engine: self.engine,
            slot,
            generation,
        }
    }

    /// Sets the deadline of a slot.
    pub(crate) fn set_deadline(&mut self, slot: u32, deadline: Tick) {
        self.chunks[slot as usize / CHUNK].deadlines[slot as usize % CHUNK] = deadline;
    }

    /// The deadline of a slot.
    pub(crate) fn deadline(&self, slot: u32) -> Tick {
        self.chunks[slot as usize / CHUNK].deadlines[slot as usize % CHUNK]
    }

    /// The first slot from `from` on whose deadline has come.
    pub(crate) fn next_due(&self, from: u32, now: Tick) -> Option<u32> {
        let mut start = from as usize % CHUNK;
        for (index, chunk) in self.chunks.iter().enumerate().skip(from as usize / CHUNK) {
            if let Some(at) = chunk.deadlines[start..]
                .iter()
                .position(|deadline| *deadline <= now)
            {
                return Some((index * CHUNK + start + at) as u32);
            }
            start = 0;
        }
        None
    }

    fn get(&self, slot: u32) -> Option<&Record> {
        self.chunks
            .get(slot as usize / CHUNK)
            .map(|chunk| &chunk.records[slot as usize % CHUNK])
    }

    fn grow(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        assert!(
            first < NONE - CHUNK as u32,
            "more connections than slots have numbers"
        );
        let last = first + CHUNK as u32 - 1;
        let record = |at: usize| {
            let slot = first + at as u32;
            Record::free(if slot == last { NONE } else { slot + 1 }, 0)
        };
        let records = std::array::from_fn(record);
        self.chunks.push(Box::new(Chunk {
            records,
            deadlines: [Tick::NEVER; CHUNK],
        }));
        self.free = first;
    }
}

impl std::ops::Index<u32> for Table {
    type Output = Record;

    fn index(&self, slot: u32) -> &Record {
        &self.chunks[slot as usize / CHUNK].records[slot as usize % CHUNK]
    }
}

impl std::ops::IndexMut<u32> for Table {
    fn index_mut(&mut self, slot: u32) -> &mut Record {
        &mut self.chunks[slot as usize / CHUNK].records[slot as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_found_by_its_own_generation_only() {
        let mut table = Table::new(7, 0);
        let slot = table.insert(5);
        let (handle, id) = (table.handle(slot), table.id(slot));
        assert_eq!(
            (table.find(handle), table.find_id(id)),
            (Some(slot), Some(slot))
        );
        table[slot].state = State::Closing;
        assert_eq!((table.find(handle), table.find_id(id)), (Some(slot), None));
        table.remove(slot);
        assert_eq!(table.find(handle), None);
        assert_eq!(table.insert(6), slot, "the slot is used again");
        assert_eq!((table.find(handle), table.find_id(id)), (None, None));
        assert_eq!(
            table.find_id(ConnectionId {
                boot: 8,
                ..table.id(slot)
            }),
            None
        );
    }

    #[test]
    fn slots_are_dense_and_in_order() {
        let mut table = Table::new(0, 0);
        let slots: Vec<u32> = (0..3000).map(|_| table.insert(1)).collect();
        assert_eq!(slots, (0..3000).collect::<Vec<u32>>());
        assert_eq!((table.len(), table.end()), (3000, 3000));
    }

    #[test]
    fn due_slots_are_found_in_order() {
        let mut table = Table::new(0, 0);
        for slot in 0..2500 {
            table.insert(1);
            table.set_deadline(
                slot,
                Tick(if [3, 1023, 1024, 2499].contains(&slot) {
                    5
                } else {
                    9
                }),
            );
        }
        let mut from = 0;
        let mut due = Vec::new();
        while let Some(slot) = table.next_due(from, Tick(5)) {
            due.push(slot);
            from = slot + 1;
        }
        assert_eq!(due, [3, 1023, 1024, 2499]);
    }
}

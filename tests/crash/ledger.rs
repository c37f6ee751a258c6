//! What the clients of one organisation have seen, each event kept once: two clients that are given
//! different texts under one id have found a mistake.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::support::position::Position;

/// The events of an organisation, by their ids.
#[derive(Default)]
pub(crate) struct Ledger {
    events: Mutex<BTreeMap<Position, String>>,
}

impl Ledger {
    /// A client has received this.
    pub(crate) fn note(&self, position: Position, data: &str) -> Result<(), String> {
        let mut events = self.events.lock().expect("nobody fails while holding this");
        match events.get(&position) {
            Some(known) if known == data => Ok(()),
            Some(known) => Err(format!("two texts for {position}:\n  {known}\n  {data}")),
            None => {
                events.insert(position, data.to_owned());
                Ok(())
            }
        }
    }

    /// Everything that any client has seen, in the order of the ids.
    pub(crate) fn into_events(self) -> BTreeMap<Position, String> {
        self.events
            .into_inner()
            .expect("nobody failed while holding this")
    }
}

//! Names of users and organisations, as small numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub(super) u32);

/// All names that were met.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    numbers: BTreeMap<Arc<str>, Name>,
}

impl Names {
    /// The number of a name, which it keeps.
    pub(super) fn of(&mut self, name: &str) -> Name {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = Name(self.numbers.len() as u32);
        self.numbers.insert(Arc::from(name), number);
        number
    }

    /// The number of a name that was met.
    pub(super) fn find(&self, name: &str) -> Option<Name> {
        self.numbers.get(name).copied()
    }
}

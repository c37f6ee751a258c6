//! What a script came to: so that a seed can be held to its name.

use std::collections::BTreeMap;

/// The places and outcomes a script came to, each with how often.
#[derive(Clone, Debug, Default)]
pub struct Reached(BTreeMap<&'static str, u32>);

impl Reached {
    /// It came to this.
    pub(super) fn mark(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// How often it came to this.
    pub fn count(&self, what: &str) -> u32 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// All that it came to.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

//! What an operator decides about the reader.

use wire::Keys;

use crate::{ConnectInfo, Rules};

/// The configuration of a reader.
#[derive(Clone)]
pub struct Config {
    /// The server and the database (`database.url`).
    pub connect: ConnectInfo,
    /// The publication, which is the list of the tables that are read (`database.publication`).
    pub publication: String,
    /// How the names of our slots begin: the anchor is `<slot>_<database oid>`. At most
    /// [`Config::SLOT_BYTES_MAX`] of PostgreSQL's characters for it: `a-z`, `0-9` and `_`.
    pub slot: String,
    /// Bumped by an operator to begin anew: it goes into the epoch of every id and, where it is not
    /// 0, into the anchor's name as `_g<generation>` (`slot.generation`).
    pub generation: u32,
    /// How far the anchor is held back, in milliseconds (`history.window`).
    pub window_ms: u64,
    /// What may leave, and to whom.
    pub rules: Rules,
    /// Makes the keys of organisations and users.
    pub keys: Keys,
}

impl Config {
    /// The longest beginning of a slot's name: PostgreSQL cuts names at 63 bytes without a word, and
    /// the oid, the generation and the suffix of a copy take up to 40 of them.
    pub const SLOT_BYTES_MAX: usize = 23;

    /// The default of [`Config::slot`].
    pub const SLOT_DEFAULT: &str = "tailrace";

    /// The default of [`Config::window_ms`]: five minutes.
    pub const WINDOW_MS_DEFAULT: u64 = 5 * 60 * 1000;
}

impl std::fmt::Debug for Config {
    /// Without the keys, which are a secret of the boot.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("connect", &self.connect)
            .field("publication", &self.publication)
            .field("slot", &self.slot)
            .field("generation", &self.generation)
            .field("window_ms", &self.window_ms)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

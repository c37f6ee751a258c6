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
    /// Whether the past outlives the node (`slot.mode`).
    pub mode: SlotMode,
    /// How far the anchor is held back, in milliseconds (`history.window`).
    pub window_ms: u64,
    /// How much of the write-ahead log it is held back by at the most, in bytes, where that is less;
    /// 0 is no bound (`history.wal_bytes`).
    pub window_bytes: u64,
    /// How often the anchor and the publication are looked after, in milliseconds.
    pub visit_ms: u64,
    /// What may leave, and to whom.
    pub rules: Rules,
    /// Makes the keys of organisations and users.
    pub keys: Keys,
}

impl Config {
    /// The defaults, for a database.
    pub fn new(connect: ConnectInfo, keys: Keys) -> Self {
        Self {
            connect,
            publication: Self::SLOT_DEFAULT.to_owned(),
            slot: Self::SLOT_DEFAULT.to_owned(),
            generation: 0,
            mode: SlotMode::default(),
            window_ms: Self::WINDOW_MS_DEFAULT,
            window_bytes: Self::WINDOW_BYTES_DEFAULT,
            visit_ms: Self::VISIT_MS_DEFAULT,
            rules: Rules::default(),
            keys,
        }
    }

    /// The longest beginning of a slot's name: PostgreSQL cuts names at 63 bytes without a word, and
    /// the oid, the generation and the suffix of a copy take up to 40 of them.
    pub const SLOT_BYTES_MAX: usize = 23;

    /// The default of [`Config::slot`], and of [`Config::publication`].
    pub const SLOT_DEFAULT: &str = "tailrace";

    /// The default of [`Config::window_ms`]: five minutes.
    pub const WINDOW_MS_DEFAULT: u64 = 5 * 60 * 1000;

    /// The default of [`Config::window_bytes`]: 512 MiB.
    pub const WINDOW_BYTES_DEFAULT: u64 = 512 * 1024 * 1024;

    /// The default of [`Config::visit_ms`].
    pub const VISIT_MS_DEFAULT: u64 = 15_000;
}

/// What of the past is kept in the server, and for whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotMode {
    /// A persistent slot, held back by the window: a node that starts re-reads what it missed.
    #[default]
    Anchor,
    /// A slot that ends with its connection: nothing outlives it, and nothing is left behind.
    Temporary,
}

impl std::fmt::Debug for Config {
    /// Without the keys, which are a secret of the boot.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("connect", &self.connect)
            .field("publication", &self.publication)
            .field("slot", &self.slot)
            .field("generation", &self.generation)
            .field("mode", &self.mode)
            .field("window_ms", &self.window_ms)
            .field("window_bytes", &self.window_bytes)
            .field("visit_ms", &self.visit_ms)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

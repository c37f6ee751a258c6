//! What an operator decides about an engine. The bounds nobody may change are in `limits`.

/// What an operator decides about an engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which engine this is, from 0.
    pub engine: u16,
    /// The nonce of this boot, for connection ids.
    pub boot: u32,
    /// 16 random bytes: for the jitter of `retry:`.
    pub seed: [u8; 16],
    /// The stream paths; needed only to refuse softly when the control thread is overloaded.
    pub streams: Vec<StreamPath>,
    /// How long a stream may be silent before a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// The bound of the log, in bytes (`history.max_bytes`), frames and their bookkeeping together.
    pub log_bytes_max: usize,
    /// Over how long resets of many streams are spread, in milliseconds.
    pub reset_spread_ms: u64,
    /// After how long without a data event a stream is closed, in milliseconds
    /// (`limits.idle_close`); 0 is never. Heartbeats are no data events.
    pub idle_close_ms: u64,
    /// How long a client that is ahead of this node is held, in milliseconds.
    pub resume_wait_ms: u64,
}

/// A path on which streams are served.
#[derive(Clone, Debug)]
pub struct StreamPath {
    /// The path, as in the request line, without query.
    pub path: String,
    /// Whether temporary refusals are written as a short event stream with status 200, so that a
    /// native `EventSource` comes back.
    pub soft_refusal: bool,
}

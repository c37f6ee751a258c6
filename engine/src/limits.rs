//! Every bound of the engine, with its reason. What an operator may change is in `config`.

use std::mem::size_of;

/// The most sends of one group: some 1 to 2 ms of work, after which other events get their turn. A sweep
/// makes groups of fewer where a slice has [`SEND_BYTES`] or more.
pub const GROUP_MAX: usize = 256;

/// A send of a sweep counts as one more of its group for so many bytes, which take the kernel about as long
/// as a short send does: 1 MiB makes a group, of however many sends.
pub const SEND_BYTES: usize = 4 * 1024;

/// The most bytes of one slice of a sweep: a little less than a socket takes at once whose client keeps up,
/// which is one segment of 64 KiB with its headers, however small its `SO_SNDBUF`. A single frame that is
/// larger goes alone.
pub const SLICE_BYTES_MAX: usize = 60 * 1024;

/// What a group of connections that are behind is sent together, in bytes: a further one is added while
/// there is room for a slice.
pub const SCRATCH_BYTES_MAX: usize = 16 * SLICE_BYTES_MAX;

/// What lingering connections may still send before they are closed, in bytes.
pub const LINGER_BYTES_MAX: usize = 64 * 1024;

/// How long a connection lingers for the peer's last words, in milliseconds.
pub const LINGER_MS: u64 = 2_000;

/// How long a request head may take to arrive, in milliseconds, from the accept.
pub const HEAD_MS: u64 = 5_000;

/// How long a request body may take to arrive, in milliseconds, from the end of its head.
pub const BODY_MS: u64 = 10_000;

/// What a request that arrives in pieces may hold of its own, in bytes of memory: as much as its socket's
/// receive buffer, and most heads whole. Longer ones share [`INPUTS_BYTES_MAX`].
pub const INPUT_BYTES_EACH: usize = 4 * 1024;

/// The most bytes of memory that longer requests may hold which arrive in pieces, all of one engine together:
/// some hundred of the longest at a time. Beyond it those are refused that take longest.
pub const INPUTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long the control thread may take for an answer, in milliseconds.
pub const ANSWER_MS: u64 = 30_000;

/// How long a connection that is behind may take nothing, in milliseconds.
pub const STALL_MS: u64 = 30_000;

/// How long last words may take to be written, in milliseconds.
pub const LAST_WORDS_MS: u64 = 10_000;

/// How long before the end of its session a stream is told of it, in milliseconds: time for a page to
/// fetch a fresh one and to renew.
pub const AUTH_NOTICE_MS: u64 = 60_000;

/// The size of a connection's record: one cache line.
pub const RECORD_BYTES: usize = 64;

/// Topics without frames and streams that are remembered, so that a resume is judged by the
/// topic's own evictions. Beyond, the oldest are forgotten together.
pub const IDLE_TOPICS_MAX: usize = 65_536;

/// How many events of each channel of a topic outlive the log, for pages of history: what a page shows
/// that opens.
pub const CHANNEL_EVENTS_KEPT: usize = 50;

/// They have this share of the log's bytes: one part of so many.
pub const KEPT_SHARE: usize = 8;

/// The longest body of a page of history, in bytes, beyond which no further event is added; a single
/// larger event goes alone.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;

/// The most events that are looked at for one page, admitted or not: about a millisecond of work. The
/// page then ends there, and its position says so.
pub const PAGE_SCAN_MAX: usize = 16_384;

/// The most channels, and the most types, that a stream may name, however often some are added: each is
/// compared with each event. As many as a URL may name.
pub const SUBSCRIPTION_NAMES_MAX: usize = wire::http::QUERY_NAMES_MAX;

/// A response up to this length is not counted among those that wait to be taken, in bytes: refusals, and
/// most of what is answered. A socket takes it whole.
pub const RESPONSE_BYTES_EACH: usize = 4 * 1024;

/// The most bytes that longer responses may hold while their clients do not take them, all of one engine
/// together: 256 of the longest pages. Where another one is asked for, its client is told to come again.
pub const RESPONSES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// For how long whoever gets a long response may take nothing of it, in milliseconds, once these hold as
/// much as they may.
pub const RESPONSE_STALL_MS: u64 = 2_000;

/// How often the deadlines of all connections are looked at, in milliseconds.
pub const SCAN_MS: u64 = 1_000;

/// After a longer time without a turn, in milliseconds, it was this process that stood still (SIGSTOP, a
/// machine that was moved): what clients did meanwhile lies in their sockets, and is looked at before their
/// deadlines are.
pub const STANDSTILL_MS: u64 = 3 * SCAN_MS;

/// The generation of a slot has as many bits as `user_data` of a ring leaves for it.
pub const GENERATION_BITS: u32 = 24;

const _: () = assert!(
    size_of::<usize>() >= size_of::<u64>(),
    "a 64-bit machine is needed"
);

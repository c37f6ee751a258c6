//! Every bound and every interval of the reader, with its reason. What an operator may change is in
//! `config` and `rules`.

/// The oldest major version of PostgreSQL whose replication was tried.
pub const SERVER_VERSION_MIN: u32 = 14;

/// The longest message: PostgreSQL builds one in a buffer of at most 1 GiB ("StringInfo").
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// The longest message that is kept whole while it is read: of a longer row the long values are dropped
/// as they arrive, and its event is truncated.
pub const ROW_BYTES_MAX: usize = 16 << 20;

/// The longest value that stays of a row beyond [`ROW_BYTES_MAX`], in bytes: a key is shorter, since an
/// entry of a B-tree is ("B-Tree Indexes").
pub const LONG_ROW_VALUE_BYTES_MAX: usize = 4 * 1024;

// Two versions of a row of as many columns as a table can have ("PostgreSQL Limits") are kept.
const _: () = assert!(2 * 1_600 * (LONG_ROW_VALUE_BYTES_MAX + 5) < ROW_BYTES_MAX);

/// After a longer message the memory it came in is given back, in bytes.
pub const BUFFER_BYTES_KEPT_MAX: usize = 1 << 20;

/// How much is gathered of one transaction before it is handed over, in bytes of frames.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// The longest batch event, in bytes.
pub const BATCH_EVENT_BYTES_MAX: usize = 64 * 1024;

/// How many groups of changes (a type, a channel, an audience) are counted of one transaction for its
/// batch events; of those beyond, only what is handed over together is put together.
pub const BATCH_GROUPS_MAX: usize = 4_096;

/// How often a kind of refused application message is logged at most, in milliseconds.
pub const REFUSED_MS: u64 = 60_000;

/// The longest content of an application message, in bytes.
pub const APPLICATION_BYTES_MAX: usize = 64 * 1024;

/// The longest name of an organisation or a user in an application message, in bytes: no request for a
/// stream could say a longer one.
pub const NAME_BYTES_MAX: usize = 8 * 1024;

/// The longest id of an application message, in bytes: room for any scheme of ids, and little to hash.
pub const ID_BYTES_MAX: usize = 256;

/// How many ids of application messages are remembered within the window, the newest: some 400 a second
/// over five minutes, in about 10 MiB.
pub const SEEN_IDS_MAX: usize = 131_072;

/// The most events of one publication.
pub const PUBLICATION_EVENTS_MAX: usize = 100;

/// How many tables, and how many types, are remembered: more than any schema has.
pub const RELATIONS_MAX: usize = 100_000;

/// The most rows of an answer to a query of ours.
pub const ROWS_MAX: usize = 10_000;

/// How many tables of the publication are looked after: beyond it one that leaves is not noticed.
pub const PUBLISHED_TABLES_MAX: usize = ROWS_MAX;

/// How many of the tables that have left it are asked for at a time.
pub const LEFT_TABLES_MAX: usize = 1_000;

/// How many tables the counters tell apart; the others share one entry.
pub const COUNTED_TABLES_MAX: usize = 1_000;

/// How many channels the figures name.
pub const CHANNELS_MAX: usize = 256;

/// The deepest nesting of an array's text; PostgreSQL's own bound is 6 (`MAXDIM`).
pub const ARRAY_DEPTH_MAX: usize = 6;

/// The longest text of an error of the server that is shown, in bytes.
pub const SERVER_TEXT_BYTES_MAX: usize = 500;

/// The first pause before connecting again, in milliseconds, and the longest; it doubles in between
/// and is jittered by half.
pub const BACK_OFF_MS: (u64, u64) = (500, 5_000);

/// What `wal_sender_timeout` is set to, in milliseconds: the server drops us after that silence.
///
/// Within a large transaction the server looks at what we send only every half of it, which has to be
/// less than [`SILENCE_MS`]: our question would else be answered after we took it for dead.
pub const WAL_SENDER_TIMEOUT_MS: u64 = 12_000;

/// How often a status goes out unasked, in milliseconds: three within the server's patience.
pub const STATUS_MS: u64 = WAL_SENDER_TIMEOUT_MS / 3;

/// How often a position is confirmed at most, in milliseconds.
pub const CONFIRM_MS: u64 = 1_000;

/// How often a `Progress` is handed over at most, in milliseconds.
pub const PROGRESS_MS: u64 = 1_000;

/// After how much silence the server is asked for a sign of life, in milliseconds; after twice as
/// much it is taken for dead.
pub const SILENCE_MS: u64 = 7_000;

/// How long the questions before streaming may take, in milliseconds, all together but for the copy.
pub const PREPARATION_MS_MAX: u64 = 60_000;

/// How long making the copy of the anchor may take, in milliseconds: the server reads its log again
/// from the oldest transaction that was open there. One that is given up keeps its slot until it is
/// done, so that trying again and again would use up all there are.
pub const COPY_MS_MAX: u64 = 600_000;

/// How long the creation of the anchor waits for open transactions, in milliseconds, before it is
/// tried anew: it holds back vacuum while it waits.
pub const LOCK_TIMEOUT_MS: u64 = 4_000;

/// How soon after a visit there may be another one that is urgent, in milliseconds.
pub const VISIT_PAUSE_MS: u64 = 1_000;

/// How long one visit to the anchor may take, in milliseconds: the server reads the log again to
/// move it. It finishes that also for nobody, so giving up loses nothing.
pub const VISIT_MS_MAX: u64 = 60_000;

/// How often a lost anchor is made anew within [`RECREATIONS_MS`]: if that helps it helps at once, and
/// each gap makes every page of every client fetch its state again.
pub const RECREATIONS_MAX: usize = 3;

/// The time in which recreations are counted, in milliseconds.
pub const RECREATIONS_MS: u64 = 3_600_000;

/// How many positions are remembered to find the one that is as old as the window.
pub const WINDOW_MARKS_MAX: usize = 512;

/// For how long something is not taken before the server's end is watched for, in milliseconds: far below
/// what anybody waits for a server that stops.
pub const WATCH_AFTER_MS: u64 = 500;

/// For how long that goes on when everything is taken again, in milliseconds.
pub const WATCH_CALM_MS: u64 = 5_000;

/// The pause after a connection of the watch that failed, in milliseconds.
pub const WATCH_PAUSE_MS: u64 = 1_000;

/// How old a change is that shows, being read, that more is to come than can be taken at once, in
/// milliseconds.
pub const WATCH_LAG_MS: i64 = 2_000;

const _: () = assert!(SILENCE_MS < WAL_SENDER_TIMEOUT_MS && WAL_SENDER_TIMEOUT_MS / 2 < SILENCE_MS);

/// How many revocations of sessions and users are remembered, to find credentials that were judged before
/// them.
pub const REVOCATIONS_REMEMBERED_MAX: usize = 65_536;

/// How many ends of sessions are remembered that were moved, for credentials that were judged before.
pub const SESSION_ENDS_REMEMBERED_MAX: usize = 65_536;

/// How long after a commit was sent to us others may still not see it, in milliseconds: PostgreSQL lets a
/// walsender have it before it takes the transaction out of the list of those that run.
pub const VISIBILITY_MS: u64 = 1_000;

/// How many rows of `tailrace.revocation` are kept that are still in force; beyond it nobody is let in until
/// the last of those that were left out is over.
pub const REVOCATIONS_KEPT_MAX: usize = 65_536;

/// How many users are known at a time who are banned. Where there are more, each change of a user's row counts as if
/// it had lifted a ban.
pub const BANS_MAX: usize = 262_144;

/// How long reading who is banned may take, in milliseconds, behind everything else that is read.
pub const BANS_MS_MAX: u64 = 10_000;

/// How much longer ago than `history.window` a ban may have ended by itself that is read, in milliseconds: the stream
/// may begin before that.
pub const BANS_OVER_MS: u64 = 86_400_000;

/// After memberships were read again, how many may have been lost that are told one by one: beyond it every
/// stream closes, and comes back.
pub const REVOCATIONS_OF_A_LOAD_MAX: usize = 10_000;

/// How long it is remembered which transactions the stream has shown, in milliseconds, and how many: a
/// snapshot that has not seen one of them was taken too early. A commit that waits for a standby is sent to
/// us while it waits.
pub const SHOWN_MS: u64 = 600_000;
/// See [`SHOWN_MS`].
pub const SHOWN_TRANSACTIONS_MAX: usize = 65_536;

/// How long reading the memberships may take, in milliseconds. The stream waits meanwhile.
pub const LOAD_MS_MAX: u64 = 60_000;

/// How many rows of memberships are asked for at a time.
pub const LOAD_ROWS: usize = 2_000;

const _: () = assert!(LOAD_ROWS <= ROWS_MAX);

/// The first pause before memberships are read again that could not be, in milliseconds, and the longest; it
/// doubles in between.
pub const LOAD_PAUSE_MS: (u64, u64) = (1_000, 30_000);

/// The pause after a snapshot that was taken too early, in milliseconds, and how often it is taken again
/// before that is a failure.
pub const LOAD_AGAIN_MS: u64 = 20;
/// See [`LOAD_AGAIN_MS`].
pub const LOAD_AGAIN_MAX: u32 = 100;

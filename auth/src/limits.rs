//! Every bound of this crate, with its reason.

/// The most bytes of cookies that are looked at, all fields of a request together: a chunked session
/// of several libraries fits, a larger header is treated as if it had no cookies.
pub const COOKIES_BYTES_MAX: usize = 64 * 1024;

/// The most pieces of one cookie: what Better Auth writes at most, and more than fit a header.
pub const PIECES_MAX: usize = 100;

/// The longest token that is looked at: a session in a dozen pieces fits.
pub const TOKEN_BYTES_MAX: usize = 48 * 1024;

/// The longest token of a session's row: several times what any library makes (32 to 64 bytes).
pub const ROW_TOKEN_BYTES_MAX: usize = 512;

/// The shortest: what is shorter can be guessed, or is another cookie of the application that was
/// signed with the same secret, such as the word `true`.
pub const ROW_TOKEN_BYTES_MIN: usize = 16;

/// The longest name of a user, a session or an organisation.
pub const NAME_BYTES_MAX: usize = 512;

/// The most organisations that one session may claim: a token with more would not fit a cookie.
pub const ORGANISATIONS_MAX: usize = 256;

/// The longest set of keys that is read; the largest providers publish some 20 KiB.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

/// The most keys of a set, those that cannot be used included.
pub const JWKS_KEYS_MAX: usize = 64;

/// The longest answer of an application about a session.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How long a session lasts of which the application does not say when it ends, in milliseconds: so long
/// may somebody who signed out look on, before the application is asked again.
pub const ANSWER_LASTS_MS: u64 = 5 * 60_000;

/// How far the clocks of the application and of this node may differ, in milliseconds: what Auth.js,
/// Better Auth and Auth0 allow.
pub const SKEW_MS: u64 = 15_000;

/// The last moment that a token may name, the end of the year 9999, in milliseconds since 1970: what
/// is beyond it was not meant as a time in seconds.
pub const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// How long a credential that was verified once is taken at its word, in milliseconds.
pub const CACHE_MS_MAX: u64 = 60_000;

/// How many verified credentials are remembered: one reconnect of the users of a full node is served
/// without a signature and without SQL. One takes some 250 bytes.
pub const CACHE_ENTRIES_MAX: usize = 65_536;

/// The most bytes of what is remembered of them: a session may claim many organisations, and one user
/// can present the same session in many ways.
pub const CACHE_BYTES_MAX: usize = 64 << 20;

/// The age at which a set of keys is fetched anew, in milliseconds.
pub const JWKS_AGE_MS_MAX: u64 = 10 * 60_000;

/// The least time between two fetches of a set of keys, in milliseconds, whatever tokens name.
pub const JWKS_COOL_DOWN_MS: u64 = 30_000;

/// The least time before a fetch that failed is tried again, in milliseconds: an application that comes
/// up with the node, and publishes the keys, is there in a moment.
pub const JWKS_RETRY_MS: u64 = 5_000;

/// How long a fetch of a set of keys may take, in milliseconds.
pub const JWKS_TIMEOUT_MS: u64 = 5_000;

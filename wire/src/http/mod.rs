//! HTTP/1.0 and 1.1 as far as the node speaks it: request heads, queries, origins, response heads,
//! refusals. The state of a connection is not here: it is the engine's.

mod authority;
mod head;
mod origin;
mod query;
mod refusal;
mod response;

pub use head::{
    BODY_BYTES_MAX, FIELDS_MAX, HEAD_BYTES_MAX, HEAD_WITH_COOKIES_BYTES_MAX, Head, HeadError,
    HeadScan, Method, REQUEST_LINE_BYTES_MAX, Request, Version,
};
pub use origin::{OriginError, OriginPolicy, OriginVerdict};
pub use query::{QUERY_NAMES_MAX, QUERY_PAIRS_MAX, Query, QueryError};
pub use refusal::{Refusal, RefusalCode};
pub use response::{Fields, STREAM_VARY, is_field_value, response, response_to_head, stream_head};

//! Holds many SSE streams in one process, reads them, and says what arrived and when.
//!
//! # How it is used
//!
//! The program `swarm` takes JSON, a line each: first a [`Target`], then one [`Order`] after the
//! other on standard input, and answers each with one [`Answer`] on standard output. It ends with
//! its input. A process has room for some 18,000 streams where it may open 20,000 descriptors; who
//! wants more starts several and adds their reports with [`Report::merge`].
//!
//! ```text
//! {"address":"127.0.0.1:8080","path":"/stream?organizationId=o{organization}&user=u{user}", …}
//! {"open":{"first":0,"streams":10000,"per_second":2000,"stalled":false}}
//! "record"
//! "report"
//! "close"
//! ```
//!
//! # What it counts
//!
//! Every event, none sampled. A publisher writes a [`Marker`] into the text of each event: when it
//! was published (`CLOCK_MONOTONIC`, which all processes of a machine share), for which
//! organisation, and with which number. From it come the latency, what a stream missed or got
//! twice, and whether anything reached a stream of another organisation. An event counts when its
//! whole block has arrived, so that one which was cut off counts once when it comes again.
//!
//! # What lives where
//!
//! `target` and `layout` say what is asked for, `order` and `report` what is said; `marker`,
//! `latencies` and `clock` are for both sides. Nothing here publishes or measures a server: that is
//! the runner's.

#![forbid(unsafe_code)]

mod blocks;
mod body;
mod chunked;
mod clock;
mod connection;
mod head;
mod latencies;
mod layout;
mod marker;
mod order;
mod place;
mod pool;
mod program;
mod report;
mod stream;
mod tally;
mod target;
mod work;

pub use clock::monotonic_nanoseconds;
pub use latencies::Latencies;
pub use layout::Layout;
pub use marker::{Marker, Markers, text_with};
pub use order::{Answer, Opened, Order, Reconnected, Until};
pub use program::run;
pub use report::{Group, Report};
pub use target::{Resume, Session, Target, sources};

//! The engine as its driver sees it: scripts with inline expected output, and a model that knows
//! what every connection must have received.

#![expect(
    clippy::unwrap_used,
    reason = "a test that does not find what it looks for fails"
)]

mod expectation;
mod model;
mod script;
mod world;

mod bounds;
mod coalescing;
mod deadlines;
mod delays;
mod fairness;
mod hostile;
mod pages;
mod requests;
mod resume;
mod rights;
mod sessions;
mod slow;
mod streams;
mod subscriptions;

//! Session cookies and tokens to an identity.
//!
//! Pure: the clock and the keys are arguments, and nothing here reads a socket, a file or a database.
//! A [`Verifier`] is made of [`Settings`]; what a request presents gives a [`Verdict`]: who it is, or
//! the one question that the node has to ask first. Whether somebody is a member of an organisation is
//! decided elsewhere, in the order of the write-ahead log. Secrets are types that cannot be printed.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cache;
pub mod cookie;
mod error;
mod fingerprint;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
pub mod introspection;
mod json;
mod jwe;
pub mod jwks;
pub mod jwt;
pub mod limits;
mod secret;
mod settings;
mod time;
mod token_rules;
mod verifier;

pub use error::{IdentityError, TokenError};
pub use fingerprint::Fingerprint;
pub use identity::{ClaimRules, Identity, OrganisationClaim, SessionRow};
pub use secret::Secret;
pub use settings::{
    AUTH_JS_COOKIE, AUTH0_COOKIE, BETTER_AUTH_COOKIE, Method, NEXT_AUTH_COOKIE, Settings,
};
pub use token_rules::TokenRules;
pub use verifier::{Answered, Introspect, Presented, RowQuestion, RowSource, Verdict, Verifier};

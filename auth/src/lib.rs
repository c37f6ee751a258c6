//! Session cookies and tokens to an identity.
//!
//! Pure: the clock is an argument, and nothing here reads a socket, a file or a database. Whether an
//! identity is a member of an organisation is decided by the node. Secrets are types that cannot be
//! printed.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cookie;
mod identity;
pub mod jwt;
mod secret;

pub use identity::{Identity, IdentityError, Policy};
pub use secret::Secret;

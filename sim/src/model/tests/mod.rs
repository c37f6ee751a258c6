//! A judge that cannot find anything wrong is none: every kind of wrong delivery is tried on it (`faults`,
//! `batches`, `histories`), and what the real reader makes of the same log is right (`agreement`).

mod agreement;
mod batches;
mod faults;
mod histories;
pub(crate) mod scene;

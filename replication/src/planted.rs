//! Bugs that are built in on purpose, to see that the tests find them: each is switched on by
//! `--cfg planted="its name"`, which only the option `--planted` of `script/crash` and
//! `script/revocation` gives. No product is built with one.

/// What was received counts as handed over: the anchor follows it, and reading goes on behind it after
/// a connection has broken.
pub(crate) const CONFIRM_BEFORE_HAND_OVER: bool = cfg!(planted = "confirm_before_hand_over");

/// Revocations of a transaction are applied after its events were sent, and not before what comes after
/// them.
pub(crate) const REVOKE_AFTER_SEND: bool = cfg!(planted = "revoke_after_send");

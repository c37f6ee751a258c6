//! Bugs that are built in on purpose, to see that the tests find them: each is switched on by
//! `--cfg planted="its name"`, which only `script/crash --planted` gives. No product is built with
//! one.

/// What was received counts as handed over: the anchor follows it, and reading goes on behind it after
/// a connection has broken.
pub(crate) const CONFIRM_BEFORE_HAND_OVER: bool = cfg!(planted = "confirm_before_hand_over");

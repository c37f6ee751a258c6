//! Bugs that are built in on purpose, to see that the tests find them: each is switched on by
//! `--cfg planted="its name"`, which only the option `--planted` of `script/crash`, `script/revocation` and
//! `script/simulation` gives. No product is built with one.

/// What was received counts as handed over: the anchor follows it, and reading goes on behind it after
/// a connection has broken.
pub(crate) const CONFIRM_BEFORE_HAND_OVER: bool = cfg!(planted = "confirm_before_hand_over");

/// Revocations of a transaction are applied after its events were sent, and not before what comes after
/// them.
pub(crate) const REVOKE_AFTER_SEND: bool = cfg!(planted = "revoke_after_send");

/// Rows that let nobody in any more are not remembered as such: with the simulation's bug of this name, by which what
/// was applied is noted too late, nothing else would catch who read such a row before.
pub(crate) const JUDGED_AFTER_READ: bool = cfg!(planted = "judged_after_read");

/// What is gathered of a transaction is handed over group by group where there are batch events, and not in the
/// order of the ids.
pub(crate) const BATCH_BY_GROUP: bool = cfg!(planted = "batch_by_group");

/// What the server sends again after a connection has broken is taken for new: reading goes on where the slot
/// is, and nothing is recognised by its position.
pub(crate) const REPLAY_IS_NEW: bool = cfg!(planted = "replay_is_new");

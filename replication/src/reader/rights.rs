//! The rights of users, as the reader keeps them: the verdict on a newcomer.

use super::Reader;
use crate::feed::Feed;
use crate::membership::{Admission, MembershipStatus, Moment, Question};

impl Reader {
    /// Whether somebody may be let in, at the place of the batch that was handed over last. To be asked
    /// between two batches only, and again if the grant cannot be handed over at once: an answer that was
    /// kept would have missed what was revoked meanwhile.
    ///
    /// `now_unix_ms` is the time since 1970 by the node's own clock, which [`Question::judged_ms`] is of.
    pub fn admit(&self, question: &Question, now_ms: u64, now_unix_ms: u64) -> Admission {
        assert!(self.outstanding.is_none(), "asked between two batches");
        let moment = Moment {
            now_ms,
            now_unix_ms,
        };
        match &self.feed {
            Some(feed) => feed.rights().admit(question, moment),
            None => Admission::NotReady,
        }
    }

    /// What is known of the memberships.
    pub fn memberships(&self) -> MembershipStatus {
        let rights = self.feed.as_ref().map(Feed::rights);
        rights
            .map(crate::membership::Rights::status)
            .unwrap_or_default()
    }
}

//! What the stream said last of the rows of sessions and users: whether they still let somebody in. Others may
//! not see that yet, however long ago the stream said it. Who is banned is in `bans`.

use wire::RevocationScope;

use super::changes::Origin;
use super::concerns::{Concerns, old_text, text};
use super::rights::Rights;
use crate::router::Row;
use crate::{Action, planted};

impl Rights {
    /// Notes what a row says, after what it revokes has been remembered.
    pub(super) fn note_standing(&mut self, concerns: &Concerns, row: Row<'_>, origin: Origin) {
        if planted::JUDGED_AFTER_READ {
            return;
        }
        let Row { action, new, old } = row;
        let is_deleted = action == Action::Delete;
        let id = |column| match (new, old) {
            (Some(new), _) => text(new, column),
            (None, Some(old)) => old_text(old, column),
            (None, None) => None,
        };
        if let Some(session) = &concerns.session {
            let was = old.and_then(|old| old_text(old, session.id));
            let is = id(session.id);
            if let Some(was) = was.filter(|was| is.is_some_and(|is| is != *was)) {
                let scope = RevocationScope::Session(self.keys.session(was));
                self.ring.set_gone(scope, true);
            }
            // Its end may be moved to where it has passed, and back.
            let is_over = new.is_some_and(|new| session.is_over(new, origin.commit_ms));
            if let Some(is) = is {
                let scope = RevocationScope::Session(self.keys.session(is));
                self.ring.set_gone(scope, is_deleted || is_over);
            }
        }
        if let Some(user) = &concerns.user
            && let Some(id) = id(user.id)
        {
            let scope = RevocationScope::User(self.keys.user(id));
            self.ring.set_gone(scope, is_deleted);
        }
    }
}

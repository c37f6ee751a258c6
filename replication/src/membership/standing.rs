//! What the stream said last of the rows of sessions and users: whether they still let somebody in. Others may
//! not see that yet, however long ago the stream said it.

use wire::RevocationScope;

use super::concerns::{Concerns, old_text, text};
use super::rights::Rights;
use crate::Action;
use crate::router::Row;

impl Rights {
    /// Notes what a row says, after what it revokes has been remembered.
    pub(super) fn note_standing(&mut self, concerns: &Concerns, row: Row<'_>) {
        let Row { action, new, old } = row;
        let is_deleted = action == Action::Delete;
        let id = |column| match (new, old) {
            (Some(new), _) => text(new, column),
            (None, Some(old)) => old_text(old, column),
            (None, None) => None,
        };
        // An update of a session moves its end, and says so by itself.
        let session = concerns.session.filter(|_| action != Action::Update);
        if let Some(id) = session.and_then(|session| id(session.id)) {
            let scope = RevocationScope::Session(self.keys.session(id));
            self.ring.set_gone(scope, is_deleted);
        }
        if let Some(user) = &concerns.user
            && let Some(id) = id(user.id)
        {
            // A ban that has an end is over without another word.
            let is_out = is_deleted || new.is_some_and(|new| user.is_banned_for_ever(new));
            let scope = RevocationScope::User(self.keys.user(id));
            self.ring.set_gone(scope, is_out);
        }
    }
}

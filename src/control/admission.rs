//! What the owner of the memberships is asked, and what it answers. The replication thread owns them:
//! it asks the reader between two batches, and what follows goes into the engine's own channel. What
//! is decided here is plain functions, for either thread.

use std::sync::Arc;

use replication::{Admission, Place, Question};
use wire::{CloseReason, ConnectionId, Grant, Key, Keys, Purpose, Renewal, Scope};

use super::request::Wanted;
use super::verdict;

/// What the replication thread is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Somebody wants in.
    Admit(Box<Admit>),
    /// Nobody vouches for anybody any more: every stream that has a user ends.
    CloseUsers(CloseReason),
}

/// Somebody wants in.
#[derive(Debug)]
pub(crate) struct Admit {
    /// Who asked.
    pub(crate) asker: ConnectionId,
    /// What has to be so; `None` for a service key, of which nothing has to.
    pub(crate) question: Option<Question>,
    pub(crate) wish: Wish,
}

/// What follows where it is so.
#[derive(Debug)]
pub(crate) enum Wish {
    /// A grant.
    Open(Draft),
    /// Nothing yet: which organisation it would be.
    Organisation,
    /// Nothing yet: how the tables spell the user.
    Identify,
    /// A stream goes on. Its user is the one who is found.
    Renew(Renewal),
}

/// A grant, but for what the memberships say.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(super) wanted: Arc<Wanted>,
    /// What a service key named; `None` for a user.
    pub(super) organisation: Option<String>,
    pub(super) session: Option<Key>,
    pub(super) expires_ms: Option<u64>,
}

/// What an engine is told.
#[derive(Debug)]
pub(crate) enum Follows {
    Grant(Grant),
    Renewal(Renewal),
}

/// What the control thread is told.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The grant is on its way to its engine.
    Granted(Granted),
    /// The organisation that it would be.
    Organisation {
        asker: ConnectionId,
        organisation: Option<String>,
    },
    /// The user, as the tables spell it.
    Identified { asker: ConnectionId, user: Key },
    /// The renewal is on its way; its ticket is answered by the engine.
    Renewed { asker: ConnectionId },
    /// It is not so.
    Refused { asker: ConnectionId, why: Admission },
}

/// Who was let in, for the counts and the log.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) connection: ConnectionId,
    /// As the tables spell them.
    pub(crate) user: Option<String>,
    pub(crate) organisation: Option<String>,
    /// As the engine will give them back.
    pub(crate) user_key: Option<Key>,
    pub(crate) scope: Scope,
    /// It waits for a page of history, and is no line in the log: it asks again and again.
    pub(crate) is_page: bool,
}

impl Admit {
    /// The engine in whose channel there must be room for what follows; `None` where nothing does.
    pub(crate) fn engine(&self) -> Option<u16> {
        match &self.wish {
            Wish::Open(_) => Some(self.asker.engine),
            Wish::Organisation | Wish::Identify => None,
            Wish::Renew(renewal) => Some(renewal.connection.engine),
        }
    }

    /// Whether what follows, if anything does, is a grant.
    pub(crate) fn is_for_grant(&self) -> bool {
        matches!(self.wish, Wish::Open(_))
    }

    /// What follows from the verdict: for the engine, and for the control thread.
    pub(crate) fn decide(
        self,
        admission: Option<Admission>,
        keys: &Keys,
    ) -> (Option<Follows>, Answer) {
        let asker = self.asker;
        let place = match admission {
            None => None,
            Some(Admission::Admitted(place)) => Some(place),
            Some(why) => return (None, Answer::Refused { asker, why }),
        };
        match self.wish {
            Wish::Organisation => {
                let organisation = place.and_then(|place| place.organisation);
                let answer = Answer::Organisation {
                    asker,
                    organisation,
                };
                (None, answer)
            }
            Wish::Identify => {
                let place = place.expect("a service key is asked after by nobody");
                let user = keys.user(&place.user);
                (None, Answer::Identified { asker, user })
            }
            Wish::Renew(renewal) => {
                let renewal = match place {
                    None => renewal,
                    Some(place) => Renewal {
                        user: keys.user(&place.user),
                        expires_ms: verdict::earliest(Some(&place), renewal.expires_ms),
                        ..renewal
                    },
                };
                (Some(Follows::Renewal(renewal)), Answer::Renewed { asker })
            }
            Wish::Open(draft) => {
                let grant = verdict::grant(asker, &draft, place.as_ref(), keys);
                let granted = Granted::of(&grant, draft, place);
                (Some(Follows::Grant(grant)), Answer::Granted(granted))
            }
        }
    }
}

impl Granted {
    fn of(grant: &Grant, draft: Draft, place: Option<Place>) -> Self {
        let (user, organisation) = match place {
            None => (None, draft.organisation),
            Some(place) => (Some(place.user), place.organisation),
        };
        Self {
            connection: grant.connection,
            user,
            organisation,
            user_key: grant.user,
            scope: grant.scope,
            is_page: grant.purpose != Purpose::Stream,
        }
    }
}

/// Orders for tests of those who carry them out: a service key's, of whom nothing has to be so.
#[cfg(test)]
pub(crate) mod samples {
    use wire::Resume;
    use wire::http::Fields;

    use super::super::request::Manner;
    use super::*;

    /// Somebody wants a stream.
    pub(crate) fn open(connection: ConnectionId) -> Order {
        let manner = Manner::plain(Fields::new());
        let wanted = Wanted {
            organization: None,
            channels: Vec::new(),
            types: Vec::new(),
            resume: Resume::Live,
            purpose: Purpose::Stream,
            takes_oldest: false,
            manner,
        };
        let draft = Draft {
            wanted: Arc::new(wanted),
            organisation: Some("acme".to_owned()),
            session: None,
            expires_ms: None,
        };
        admit(connection, Wish::Open(draft))
    }

    /// A stream goes on.
    pub(crate) fn renew(connection: ConnectionId) -> Order {
        let keys = Keys::new([3; 16]);
        let renewal = Renewal {
            connection,
            ticket: 1,
            user: keys.user("ada"),
            session: keys.session("s1"),
            expires_ms: None,
            claims: None,
        };
        admit(connection, Wish::Renew(renewal))
    }

    fn admit(asker: ConnectionId, wish: Wish) -> Order {
        Order::Admit(Box::new(Admit {
            asker,
            question: None,
            wish,
        }))
    }
}

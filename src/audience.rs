//! Who would see an event: for one line of the log, and kept only where that line is wanted
//! (`TAILRACE_LOG=info,SSE=debug`). It costs memory for every stream, and every event a look at each
//! of its organisation's; nothing else in the node knows or needs it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use wire::{ConnectionId, Filter, Frame, Grant, Key, Scope, Topic};

use crate::figures;
use crate::logs::TARGET;

/// The streams by scope. There is one log in a process, and so one of these.
static AUDIENCE: OnceLock<Mutex<Audience>> = OnceLock::new();

/// Streams that were granted and not closed yet.
#[derive(Default)]
struct Audience {
    scopes: HashMap<Scope, HashMap<ConnectionId, Listener>>,
}

/// What decides whether a stream gets an event.
struct Listener {
    user: Option<Key>,
    filter: Filter,
}

/// Keeps the audience from now on.
pub(crate) fn watch() {
    let _ = AUDIENCE.set(Mutex::default());
}

/// A stream is granted.
pub(crate) fn join(grant: &Grant) {
    figures::join(grant);
    let Some(mut audience) = audience() else {
        return;
    };
    let listener = Listener {
        user: grant.user,
        filter: grant.filter.clone(),
    };
    audience
        .scopes
        .entry(grant.scope)
        .or_default()
        .insert(grant.connection, listener);
}

/// A granted stream is closed.
pub(crate) fn leave(connection: ConnectionId, scope: Scope) {
    figures::leave(scope);
    let Some(mut audience) = audience() else {
        return;
    };
    if let Some(listeners) = audience.scopes.get_mut(&scope) {
        listeners.remove(&connection);
        if listeners.is_empty() {
            audience.scopes.remove(&scope);
        }
    }
}

/// Events are on their way to the engines.
pub(crate) fn log_published(frames: &[Frame]) {
    let Some(audience) = audience() else { return };
    for frame in frames {
        let (event_type, count) = (frame.event_type(), audience.count(frame));
        tracing::debug!(target: TARGET, "[SSE] Published {event_type} to {count} clients");
    }
}

fn audience() -> Option<MutexGuard<'static, Audience>> {
    Some(
        AUDIENCE
            .get()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    )
}

impl Audience {
    fn count(&self, frame: &Frame) -> usize {
        let audience = frame.audience();
        let is_within = |scope: &Scope| match (audience.topic, audience.within, scope) {
            (Topic::Organisation(one), _, Scope::Organisation(other))
            | (Topic::User(_), Some(one), Scope::Organisation(other)) => one == *other,
            // A service key has no user's topic.
            (Topic::User(_), _, Scope::Everything) => false,
            (Topic::User(_), within, _) => within.is_none(),
            (Topic::Organisation(_), _, Scope::Everything) | (Topic::Global, ..) => true,
            (Topic::Organisation(_), _, Scope::Nothing) => false,
        };
        let is_for = |listener: &&Listener| match audience.topic {
            Topic::User(user) => listener.user == Some(user) && listener.filter.admits(frame),
            _ => listener.filter.admits(frame),
        };
        let scopes = self.scopes.iter().filter(|(scope, _)| is_within(scope));
        scopes
            .map(|(_, listeners)| listeners.values().filter(is_for).count())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wire::{Audience as FrameAudience, EventId, FrameWriter, Keys, Lsn, Name, Source};

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn frame(audience: FrameAudience) -> Frame {
        let id = EventId {
            epoch: 1,
            timeline: 1,
            lsn: Lsn(1),
            index: 1,
        };
        let (event_type, channel) = (name("property.insert"), name("property"));
        let mut writer = FrameWriter::new(id, &event_type, &channel, 0, Source::Postgres);
        let start = writer.json().len();
        writer.json().extend_from_slice(b"null");
        writer.mark_data(start);
        writer.finish(audience)
    }

    #[test]
    fn those_are_counted_who_get_the_event() {
        let keys = Keys::new([1; 16]);
        let (acme, globex) = (keys.organisation("acme"), keys.organisation("globex"));
        let mut audience = Audience::default();
        let mut slot = 0;
        let mut join = |user: Option<&str>, scope, channel: Option<&str>| {
            slot += 1;
            let connection = ConnectionId {
                boot: 0,
                engine: 0,
                slot,
                generation: 0,
            };
            let channels = channel.map(name).into_iter().collect();
            let filter = Filter::new(channels, Vec::new(), Vec::new());
            let listener = Listener {
                user: user.map(|user| keys.user(user)),
                filter,
            };
            audience
                .scopes
                .entry(scope)
                .or_default()
                .insert(connection, listener);
        };
        join(Some("ada"), Scope::Organisation(acme), None);
        join(Some("ada"), Scope::Organisation(acme), Some("property"));
        join(Some("bob"), Scope::Organisation(acme), Some("user"));
        join(Some("ada"), Scope::Organisation(globex), None);
        join(None, Scope::Everything, None);
        let to = |topic| FrameAudience::of(topic);
        let ada = Topic::User(keys.user("ada"));
        assert_eq!(audience.count(&frame(to(Topic::Organisation(acme)))), 3);
        assert_eq!(audience.count(&frame(to(Topic::Organisation(globex)))), 2);
        assert_eq!(audience.count(&frame(to(Topic::Global))), 4);
        assert_eq!(audience.count(&frame(to(ada))), 3);
        assert_eq!(
            audience.count(&frame(FrameAudience {
                within: Some(acme),
                ..to(ada)
            })),
            2
        );
        let roles = Some(Arc::from([name("owner")]));
        let owners = FrameAudience {
            roles,
            ..to(Topic::Organisation(acme))
        };
        assert_eq!(audience.count(&frame(owners)), 0);
    }
}

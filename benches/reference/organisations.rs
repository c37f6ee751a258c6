//! The broadcast channel of each organisation. Who listens to it, and how what it carries gets to a
//! socket, is each server's own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// How many events a stream may lag behind before it misses some. A channel reserves room for them
/// all when it is made, some 57 KiB.
const LAG_MAX: usize = 1024;

/// The channels by the names of their organisations; one is there while it has listeners. The lock
/// is never contended where the server has one thread, and is held for no longer than a look-up.
#[derive(Default)]
pub struct Organisations(Mutex<HashMap<String, Sender<Bytes>>>);

impl Organisations {
    /// A receiver of what is published to this organisation from now on.
    pub fn subscribe(&self, organisation: &str) -> Receiver<Bytes> {
        let mut channels = self.channels();
        if let Some(channel) = channels.get(organisation) {
            return channel.subscribe();
        }
        let (channel, events) = broadcast::channel(LAG_MAX);
        channels.insert(organisation.to_owned(), channel);
        events
    }

    /// Hands these event blocks to every stream of the organisation, or of all of them.
    pub fn publish(&self, organisation: Option<&str>, events: &Bytes) {
        let mut channels = self.channels();
        let Some(organisation) = organisation else {
            channels.retain(|_, channel| channel.send(events.clone()).is_ok());
            return;
        };
        if let Some(channel) = channels.get(organisation)
            && channel.send(events.clone()).is_err()
        {
            // An error means that nobody listens any more.
            channels.remove(organisation);
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, Sender<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reaches_the_streams_of_its_organisation() {
        let organisations = Organisations::default();
        let (mut first, mut second) =
            (organisations.subscribe("o1"), organisations.subscribe("o1"));
        let mut other = organisations.subscribe("o2");
        organisations.publish(Some("o1"), &Bytes::from_static(b"data: 1\n\n"));
        assert_eq!(first.try_recv().as_deref(), Ok(&b"data: 1\n\n"[..]));
        assert_eq!(second.try_recv().as_deref(), Ok(&b"data: 1\n\n"[..]));
        assert!(other.try_recv().is_err());
    }

    #[test]
    fn without_an_organisation_an_event_reaches_everybody() {
        let organisations = Organisations::default();
        let (mut first, mut second) =
            (organisations.subscribe("o1"), organisations.subscribe("o2"));
        organisations.publish(None, &Bytes::from_static(b"data: 1\n\n"));
        assert!(first.try_recv().is_ok());
        assert!(second.try_recv().is_ok());
    }

    #[test]
    fn a_channel_without_listeners_is_given_up() {
        let organisations = Organisations::default();
        drop(organisations.subscribe("o1"));
        organisations.publish(Some("o1"), &Bytes::new());
        assert!(organisations.channels().is_empty());
    }
}

//! How many streams each organisation has open, for `GET /api/realtime/stats`: kept only where somebody
//! may ask (a key with the right `admin`), since it costs memory for every organisation.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Deserialize;
use wire::{Grant, Key, Scope};

/// The figures. There is one node in a process, and so one of these.
static FIGURES: OnceLock<Mutex<Figures>> = OnceLock::new();

/// How many organisations are known by name; of the others there is the number alone.
const NAMES_MAX: usize = 10_000;

/// How many organisations are listed: those with the most streams.
const LISTED_MAX: usize = 100;

/// Streams that were granted and not closed yet.
#[derive(Default)]
struct Figures {
    organisations: HashMap<Key, Organisation>,
    names: usize,
}

struct Organisation {
    streams: u32,
    name: Option<Box<str>>,
}

/// What is said of the organisations.
pub(crate) struct Said {
    /// How many have a stream open.
    pub(crate) count: usize,
    /// Those with the most streams, with how many these are.
    pub(crate) listed: Vec<(String, u32)>,
}

/// Keeps the figures from now on.
pub(crate) fn watch() {
    let _ = FIGURES.set(Mutex::default());
}

/// A stream is granted.
pub(crate) fn join(grant: &Grant) {
    if let (Some(mut figures), Scope::Organisation(key)) = (figures(), grant.scope) {
        figures.join(key, &grant.about);
    }
}

/// A granted stream is closed.
pub(crate) fn leave(scope: Scope) {
    if let (Some(mut figures), Scope::Organisation(key)) = (figures(), scope) {
        figures.leave(key);
    }
}

/// The organisations now.
pub(crate) fn all() -> Said {
    figures().map_or(
        Said {
            count: 0,
            listed: Vec::new(),
        },
        |figures| figures.all(),
    )
}

/// How many streams one organisation has open.
pub(crate) fn of(organisation: Key) -> u32 {
    figures().map_or(0, |figures| figures.of(organisation))
}

fn figures() -> Option<MutexGuard<'static, Figures>> {
    let figures = FIGURES.get()?;
    Some(figures.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Figures {
    fn join(&mut self, key: Key, about: &[u8]) {
        let organisation = self.organisations.entry(key).or_insert(Organisation {
            streams: 0,
            name: None,
        });
        organisation.streams += 1;
        if organisation.name.is_none() && self.names < NAMES_MAX {
            organisation.name = name(about);
            self.names += usize::from(organisation.name.is_some());
        }
    }

    fn leave(&mut self, key: Key) {
        let organisation = self.organisations.get_mut(&key);
        let organisation = organisation.expect("who leaves has joined");
        organisation.streams -= 1;
        if organisation.streams == 0 {
            self.names -= usize::from(organisation.name.is_some());
            self.organisations.remove(&key);
            if self.organisations.len() < self.organisations.capacity() / 8 {
                self.organisations.shrink_to_fit();
            }
        }
    }

    fn of(&self, key: Key) -> u32 {
        self.organisations.get(&key).map_or(0, |it| it.streams)
    }

    fn all(&self) -> Said {
        let named = self.organisations.values().filter_map(|organisation| {
            let name = organisation.name.as_deref()?;
            Some((name.to_owned(), organisation.streams))
        });
        let mut listed: Vec<_> = named.collect();
        listed.sort_by(|(one, ones), (other, others)| others.cmp(ones).then(one.cmp(other)));
        listed.truncate(LISTED_MAX);
        Said {
            count: self.organisations.len(),
            listed,
        }
    }
}

/// The organisation's name, as the stream's `connected` says it.
fn name(about: &[u8]) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct About {
        #[serde(rename = "organizationId")]
        organisation: Option<Box<str>>,
    }
    let object = [b"{", about, b"}"].concat();
    let about: About = serde_json::from_slice(&object).ok()?;
    about.organisation
}

#[cfg(test)]
mod tests {
    use wire::Keys;

    use super::*;

    #[test]
    fn who_joined_is_counted_until_it_leaves() {
        let keys = Keys::new([1; 16]);
        let key = |name: &str| keys.organisation(name);
        let about = |name: &str| format!(r#""userId":"u","organizationId":{name:?}"#);
        let mut figures = Figures::default();
        for name in ["acme", "globex", "acme", "initech"] {
            figures.join(key(name), about(name).as_bytes());
        }
        assert_eq!((figures.of(key("acme")), figures.of(key("none"))), (2, 0));
        let Said { count, listed } = figures.all();
        let named = |name: &str, streams| (name.to_owned(), streams);
        assert_eq!(count, 3);
        assert_eq!(
            listed,
            [named("acme", 2), named("globex", 1), named("initech", 1)]
        );
        for name in ["globex", "acme", "initech", "acme"] {
            figures.leave(key(name));
        }
        assert_eq!((figures.all().count, figures.names), (0, 0));
    }

    #[test]
    fn names_and_the_list_are_bounded_and_the_count_is_exact() {
        let keys = Keys::new([1; 16]);
        let mut figures = Figures::default();
        for at in 0..NAMES_MAX + 5 {
            let about = format!(r#""organizationId":"{at}""#);
            figures.join(keys.organisation(&at.to_string()), about.as_bytes());
        }
        let Said { count, listed } = figures.all();
        assert_eq!((count, listed.len()), (NAMES_MAX + 5, LISTED_MAX));
        assert_eq!(figures.names, NAMES_MAX);
        assert_eq!(
            figures.of(keys.organisation(&(NAMES_MAX + 1).to_string())),
            1
        );
    }
}

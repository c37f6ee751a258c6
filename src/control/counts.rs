//! Who holds how many streams, in as little memory as can be: nine bytes a user before the table's
//! slack. The whole node has a budget of 160 bytes for an idle stream, and nothing else is kept for
//! one on the control thread.
//!
//! A count is taken before a newcomer is judged, and given back where the verdict is no grant, else by
//! the one `Closed` that answers it.

use std::collections::HashMap;
use std::net::IpAddr;

use hashbrown::HashTable;
use wire::http::{Refusal, RefusalCode};
use wire::{ConnectionId, Key, Scope};

use crate::config::Limits;

/// The streams that were granted and not closed yet, counted.
pub(super) struct Counts {
    limits: Limits,
    all: u32,
    users: Tally,
    organisations: HashMap<Key, u32>,
    addresses: HashMap<IpAddr, u16>,
    /// Where the limit per address is set: the address of each stream, for its `Closed`.
    origins: HashMap<Place, IpAddr>,
}

/// A connection, by engine, slot and generation: a slot may be another's before its grant has come back.
type Place = (u16, u32, u32);

/// Whose stream it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) connection: ConnectionId,
    pub(super) user: Option<Key>,
    pub(super) scope: Scope,
    pub(super) address: Option<IpAddr>,
}

/// Why a stream cannot be counted in.
#[derive(Debug)]
pub(super) enum Full {
    /// The user has as many as may be: one of them may end in a moment.
    User(Refusal),
    /// Another limit.
    Other(Refusal),
}

impl Full {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::User(refusal) | Self::Other(refusal) => refusal,
        }
    }
}

impl Counts {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            all: 0,
            users: Tally::default(),
            organisations: HashMap::new(),
            addresses: HashMap::new(),
            origins: HashMap::new(),
        }
    }

    /// Takes a stream into the count.
    ///
    /// # Errors
    ///
    /// The limit that is reached; nothing is counted then.
    pub(super) fn take(&mut self, holder: &Holder) -> Result<(), Full> {
        self.check(holder)?;
        self.all += 1;
        if let Some(user) = holder.user.filter(|_| self.counts_users()) {
            self.users.add(user);
        }
        if let Scope::Organisation(organisation) = holder.scope
            && self.counts_organisations()
        {
            *self.organisations.entry(organisation).or_default() += 1;
        }
        if let Some(address) = holder
            .address
            .filter(|_| self.limits.connections_per_address > 0)
        {
            *self.addresses.entry(address).or_default() += 1;
            self.origins.insert(place(holder.connection), address);
        }
        Ok(())
    }

    /// What was counted in is granted under these names: the database may spell them otherwise than the
    /// session, and they are given back as the grant has them.
    pub(super) fn settle(&mut self, taken: &Holder, user: Option<Key>, scope: Scope) {
        if let (Some(before), Some(after)) = (taken.user, user)
            && before != after
            && self.counts_users()
        {
            self.users.remove(before);
            self.users.add(after);
        }
        if taken.scope != scope && self.counts_organisations() {
            if let Scope::Organisation(before) = taken.scope {
                decrement(&mut self.organisations, &before);
            }
            if let Scope::Organisation(after) = scope {
                *self.organisations.entry(after).or_default() += 1;
            }
        }
    }

    /// Gives a stream back, at its [`engine::Notice::Closed`] or because it was not granted.
    pub(super) fn give_back(&mut self, connection: ConnectionId, user: Option<Key>, scope: Scope) {
        self.all -= 1;
        if let Some(user) = user.filter(|_| self.counts_users()) {
            self.users.remove(user);
        }
        if let Scope::Organisation(organisation) = scope
            && self.counts_organisations()
        {
            decrement(&mut self.organisations, &organisation);
        }
        if let Some(address) = self.origins.remove(&place(connection)) {
            decrement(&mut self.addresses, &address);
        }
    }

    /// How many there are.
    pub(super) fn all(&self) -> u32 {
        self.all
    }

    fn of_organisation(&self, organisation: Key) -> u32 {
        self.organisations
            .get(&organisation)
            .copied()
            .unwrap_or_default()
    }

    fn check(&self, holder: &Holder) -> Result<(), Full> {
        let limits = &self.limits;
        let refusal = |whose: &str, limit: u32, key: &str| {
            let message =
                format!("{whose} has {limit} streams open, as many as limits.{key} allows");
            Refusal::new(RefusalCode::TooManyConnections, message)
        };
        if limits.connections > 0 && self.all >= limits.connections {
            let message = "the node has as many streams as limits.connections allows";
            return Err(Full::Other(Refusal::new(RefusalCode::Overloaded, message)));
        }
        let limit = limits.connections_per_organization;
        if let Scope::Organisation(organisation) = holder.scope
            && limit > 0
            && self.of_organisation(organisation) >= limit
        {
            let key = "connections_per_organization";
            return Err(Full::Other(refusal("the organisation", limit, key)));
        }
        let limit = limits.connections_per_address;
        if let Some(address) = holder.address.filter(|_| limit > 0)
            && self.addresses.get(&address).copied().unwrap_or_default() >= limit
        {
            let key = "connections_per_address";
            return Err(Full::Other(refusal("the address", limit.into(), key)));
        }
        // Last: who waits for it must not wait in vain for another.
        let limit = limits.connections_per_user;
        if let Some(user) = holder.user.filter(|_| limit > 0)
            && self.users.count(user) >= limit
        {
            let key = "connections_per_user";
            return Err(Full::User(refusal("the user", limit.into(), key)));
        }
        Ok(())
    }

    fn counts_users(&self) -> bool {
        self.limits.connections_per_user > 0
    }

    fn counts_organisations(&self) -> bool {
        self.limits.connections_per_organization > 0
    }
}

fn place(connection: ConnectionId) -> Place {
    (connection.engine, connection.slot, connection.generation)
}

fn decrement<K: Eq + std::hash::Hash, N>(counts: &mut HashMap<K, N>, key: &K)
where
    N: Copy + PartialEq + std::ops::SubAssign + From<u8>,
{
    let count = counts.get_mut(key).expect("what is given back was taken");
    *count -= N::from(1);
    if *count == N::from(0) {
        counts.remove(key);
        if counts.len() < counts.capacity() / 8 {
            counts.shrink_to_fit();
        }
    }
}

/// Counts by key in one word each: 48 bits of the key's hash, 16 of the count. Among a million users
/// two share a word with a chance of 0.2 %, and then they share a limit; keys are hashed under the
/// secret of the boot, so nobody can arrange it.
#[derive(Default)]
struct Tally {
    words: HashTable<u64>,
}

const COUNT_BITS: u32 = 16;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

impl Tally {
    fn count(&self, key: Key) -> u16 {
        let tag = key.hash64() & !COUNT_MASK;
        let word = self
            .words
            .find(spread(tag), |word| word & !COUNT_MASK == tag);
        word.map_or(0, |word| (word & COUNT_MASK) as u16)
    }

    /// A count that is full stays full: nobody who is counted has 65,535 streams.
    fn add(&mut self, key: Key) {
        let tag = key.hash64() & !COUNT_MASK;
        match self
            .words
            .find_mut(spread(tag), |word| *word & !COUNT_MASK == tag)
        {
            Some(word) => *word += u64::from(*word & COUNT_MASK < COUNT_MASK),
            None => {
                self.words
                    .insert_unique(spread(tag), tag | 1, |word| spread(*word));
            }
        }
    }

    fn remove(&mut self, key: Key) {
        let tag = key.hash64() & !COUNT_MASK;
        let entry = self
            .words
            .find_entry(spread(tag), |word| *word & !COUNT_MASK == tag);
        let Ok(mut entry) = entry else {
            panic!("what is given back was taken")
        };
        if *entry.get() & COUNT_MASK > 1 {
            *entry.get_mut() -= 1;
            return;
        }
        entry.remove();
        if self.words.len() < self.words.capacity() / 8 {
            self.words.shrink_to_fit(|word| spread(*word));
        }
    }
}

/// The table looks at the lowest and the highest bits: the tag's own bits are moved there.
fn spread(word: u64) -> u64 {
    (word & !COUNT_MASK).rotate_left(64 - COUNT_BITS) | word & !COUNT_MASK
}

#[cfg(test)]
mod tests {
    use wire::Keys;

    use super::*;

    fn limits(user: u16, organization: u32, address: u16) -> Limits {
        Limits {
            connections_per_user: user,
            connections_per_organization: organization,
            connections_per_address: address,
            connects_per_second: 0,
            ..Limits::default()
        }
    }

    fn holder(slot: u32, user: &str, organisation: &str) -> Holder {
        let keys = Keys::new([7; 16]);
        Holder {
            connection: ConnectionId {
                boot: 1,
                engine: 0,
                slot,
                generation: 0,
            },
            user: Some(keys.user(user)),
            scope: Scope::Organisation(keys.organisation(organisation)),
            address: Some(IpAddr::from([10, 0, 0, 1])),
        }
    }

    fn give_back(counts: &mut Counts, holder: &Holder) {
        counts.give_back(holder.connection, holder.user, holder.scope);
    }

    #[test]
    fn a_user_has_as_many_streams_as_the_limit_and_room_again_after_a_close() {
        let mut counts = Counts::new(limits(3, 0, 0));
        for slot in 0..3 {
            assert!(counts.take(&holder(slot, "ada", "acme")).is_ok());
        }
        let Full::User(refusal) = counts.take(&holder(3, "ada", "acme")).unwrap_err() else {
            panic!("another limit");
        };
        assert_eq!(refusal.code, RefusalCode::TooManyConnections);
        assert!(
            refusal.message.contains("limits.connections_per_user"),
            "{}",
            refusal.message
        );
        assert!(counts.take(&holder(3, "bob", "acme")).is_ok());
        give_back(&mut counts, &holder(1, "ada", "acme"));
        assert!(counts.take(&holder(1, "ada", "acme")).is_ok());
    }

    #[test]
    fn organisations_and_addresses_have_limits_of_their_own() {
        let mut counts = Counts::new(limits(0, 2, 0));
        assert!(counts.take(&holder(0, "ada", "acme")).is_ok());
        assert!(counts.take(&holder(1, "bob", "acme")).is_ok());
        assert!(counts.take(&holder(2, "eve", "acme")).is_err());
        assert!(counts.take(&holder(2, "eve", "globex")).is_ok());

        let mut counts = Counts::new(limits(0, 0, 1));
        assert!(counts.take(&holder(0, "ada", "acme")).is_ok());
        assert!(counts.take(&holder(1, "bob", "globex")).is_err());
        give_back(&mut counts, &holder(0, "ada", "acme"));
        assert!(counts.take(&holder(1, "bob", "globex")).is_ok());
    }

    #[test]
    fn a_slot_that_is_used_again_takes_nothing_of_who_had_it_before() {
        let mut counts = Counts::new(limits(0, 0, 1));
        let gone = holder(0, "ada", "acme");
        let mut next = holder(0, "bob", "acme");
        next.connection.generation = 1;
        next.address = Some(IpAddr::from([10, 0, 0, 2]));
        assert!(counts.take(&gone).is_ok() && counts.take(&next).is_ok());
        // Its grant came too late.
        give_back(&mut counts, &gone);
        assert!(counts.take(&holder(1, "ada", "acme")).is_ok());
        let mut other = holder(2, "eve", "acme");
        other.address = next.address;
        assert!(counts.take(&other).is_err(), "it is still there");
        give_back(&mut counts, &next);
        assert!(counts.take(&other).is_ok());
    }

    #[test]
    fn a_node_has_a_limit_of_its_own() {
        let mut counts = Counts::new(Limits {
            connections: 2,
            ..limits(0, 0, 0)
        });
        assert!(counts.take(&holder(0, "ada", "acme")).is_ok());
        assert!(counts.take(&holder(1, "bob", "globex")).is_ok());
        let refusal = counts
            .take(&holder(2, "eve", "acme"))
            .unwrap_err()
            .refusal();
        assert_eq!(refusal.code, RefusalCode::Overloaded);
        give_back(&mut counts, &holder(0, "ada", "acme"));
        assert!(counts.take(&holder(2, "eve", "acme")).is_ok());
        assert_eq!(counts.all(), 2);
    }

    #[test]
    fn what_is_granted_under_another_name_is_given_back_under_it() {
        let mut counts = Counts::new(limits(1, 1, 0));
        let (asked, found) = (holder(0, "ADA", "ACME"), holder(0, "ada", "acme"));
        assert!(counts.take(&asked).is_ok());
        counts.settle(&asked, found.user, found.scope);
        assert!(counts.take(&holder(1, "ada", "globex")).is_err());
        assert!(counts.take(&holder(1, "bob", "acme")).is_err());
        give_back(&mut counts, &found);
        assert_eq!(
            (counts.users.words.len(), counts.organisations.len()),
            (0, 0)
        );
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_limited() {
        let mut counts = Counts::new(limits(0, 0, 0));
        for slot in 0..100 {
            assert!(counts.take(&holder(slot, "ada", "acme")).is_ok());
        }
        assert_eq!(counts.users.words.len(), 0);
        assert!(counts.organisations.is_empty() && counts.origins.is_empty());
        give_back(&mut counts, &holder(0, "ada", "acme"));
    }

    #[test]
    fn the_tally_agrees_with_a_plain_map() {
        let keys = Keys::new([9; 16]);
        let names: Vec<Key> = (0..500).map(|n| keys.user(&n.to_string())).collect();
        let (mut tally, mut plain) = (Tally::default(), HashMap::<Key, u16>::new());
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let key = names[(state >> 33) as usize % names.len()];
            let held = plain.get(&key).copied().unwrap_or_default();
            if held > 0 && state >> 63 == 0 {
                tally.remove(key);
                decrement(&mut plain, &key);
            } else {
                tally.add(key);
                *plain.entry(key).or_default() += 1;
            }
            assert_eq!(
                tally.count(key),
                plain.get(&key).copied().unwrap_or_default()
            );
        }
        assert_eq!(tally.words.len(), plain.len());
    }

    #[test]
    fn a_user_costs_one_word_and_a_byte() {
        let keys = Keys::new([9; 16]);
        let mut tally = Tally::default();
        (0..14_000).for_each(|n| tally.add(keys.user(&n.to_string())));
        assert!(tally.words.allocation_size() <= 14_336 * 8 / 7 * 9 + 64);
    }
}

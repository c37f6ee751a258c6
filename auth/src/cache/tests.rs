//! What is remembered, for how long, and what makes room.

use proptest::prelude::*;

use super::*;
use crate::OrganisationClaim;

fn credential(number: usize) -> Fingerprint {
    Fingerprint::of(&number.to_string())
}

fn identity(user: &str, expires_ms: Option<u64>) -> Identity {
    Identity {
        user: user.to_owned(),
        session: "s1".to_owned(),
        issued_ms: None,
        expires_ms,
        active_organisation: None,
        organisations: None,
    }
}

/// Remembers verdicts by their numbers.
fn put(cache: &mut Cache<usize>, number: usize, now_ms: u64, lasts_ms: u64) {
    cache.put(
        credential(number),
        &identity("ada", None),
        number,
        now_ms,
        lasts_ms,
    );
}

fn kept(cache: &Cache<usize>, numbers: std::ops::Range<usize>, now_ms: u64) -> Vec<usize> {
    numbers
        .filter(|number| {
            let (_, judged) = cache.get(&credential(*number), now_ms).unzip();
            judged
                .inspect(|judged| assert_eq!(judged, number))
                .is_some()
        })
        .collect()
}

#[test]
fn a_verdict_is_good_for_a_minute_and_not_beyond_the_session() {
    let mut cache = Cache::new(10, 1 << 20, 7);
    let mut put = |number, user: &str, lasts_ms, expires_ms| {
        let identity = identity(user, expires_ms);
        cache.put(credential(number), &identity, number, 1_000, lasts_ms);
    };
    put(1, "ada", u64::MAX, None);
    put(2, "bob", u64::MAX, Some(5_000));
    put(3, "eve", 30_000, Some(u64::MAX));
    let good = |number, now_ms| {
        let found = cache.get(&credential(number), now_ms);
        found.map(|(identity, judged)| {
            assert_eq!(judged, number);
            identity.user
        })
    };
    let is_good = |number, now_ms| good(number, now_ms).is_some();
    assert_eq!(good(1, 1_000 + CACHE_MS_MAX - 1).as_deref(), Some("ada"));
    assert!(!is_good(1, 1_000 + CACHE_MS_MAX));
    assert_eq!(good(2, 4_999).as_deref(), Some("bob"));
    assert!(!is_good(2, 5_000));
    assert_eq!(good(3, 30_999).as_deref(), Some("eve"));
    assert!(!is_good(3, 31_000) && !is_good(4, 1_000));
}

#[test]
fn a_clock_that_was_set_back_lengthens_nothing() {
    let mut cache = Cache::new(10, 1 << 20, 7);
    put(&mut cache, 1, 1_000_000, u64::MAX);
    assert!(kept(&cache, 1..2, 999_999).is_empty());
    cache.sweep(999_999);
    assert!(cache.is_empty());
    // Also where older ones keep their page.
    put(&mut cache, 1, 0, u64::MAX);
    put(&mut cache, 2, 50_000, u64::MAX);
    cache.sweep(20_000);
    assert_eq!(kept(&cache, 1..3, 50_000), [1]);
}

#[test]
fn a_credential_has_one_verdict_the_last() {
    let mut cache = Cache::new(10, 1 << 20, 7);
    let users = ["ada", "ada", "eve", "bob", "bob"];
    for (judged, user) in users.iter().enumerate() {
        cache.put(credential(1), &identity(user, None), judged, 0, 1);
        let (found, last) = cache.get(&credential(1), 0).expect("it was put");
        assert_eq!((found.user.as_str(), last), (*user, judged));
    }
    // Those of one identity that follow each other are one.
    assert_eq!((cache.pages.records(), cache.places.len()), (3, 1));
    cache.forget(&credential(1));
    assert!(cache.get(&credential(1), 0).is_none());
    cache.forget(&credential(1));
    // Those before it go with their page, and nobody else's verdict with them.
    put(&mut cache, 1, 2, 1);
    put(&mut cache, 2, 2, 1);
    assert_eq!(kept(&cache, 0..3, 2), [1, 2]);
    assert_eq!(cache.sweep(3), 5);
    assert!(cache.is_empty() && cache.places.is_empty());
    // What is over at once takes no room, and the last verdict with it.
    put(&mut cache, 1, 3, 1);
    cache.put(credential(1), &identity("eve", None), 1, 3, 0);
    put(&mut cache, 2, 3, 0);
    assert!(kept(&cache, 0..3, 3).is_empty());
    assert_eq!((cache.pages.records(), cache.places.len()), (1, 0));
}

#[test]
fn the_oldest_verdicts_make_room() {
    let mut cache = Cache::new(5_000, 1 << 30, 7);
    for number in 0..20_000 {
        put(&mut cache, number, 0, 1);
        assert!(cache.pages.records() <= 5_000);
    }
    let left = kept(&cache, 0..20_000, 0);
    assert!((4_500..=5_000).contains(&left.len()), "{}", left.len());
    assert_eq!(left, Vec::from_iter(20_000 - left.len()..20_000));
    assert_eq!(cache.places.len(), left.len());
}

#[test]
fn long_verdicts_make_room_as_well() {
    let mut cache = Cache::new(100, 1 << 20, 7);
    let long = "a".repeat(100_000);
    for number in 0..30 {
        cache.put(credential(number), &identity(&long, None), number, 0, 1);
        assert!(cache.pages.bytes() <= 1 << 20);
    }
    let left = kept(&cache, 0..30, 0);
    assert!((5..=10).contains(&left.len()), "{left:?}");
    assert_eq!(left, Vec::from_iter(30 - left.len()..30));
    // What would not fit alone is not remembered.
    let longest = "a".repeat(1 << 20);
    cache.put(credential(31), &identity(&longest, None), 31, 0, 1);
    assert!(cache.is_empty() && cache.places.is_empty() && cache.pages.bytes() == 0);
}

#[test]
fn what_is_put_again_and_again_is_bounded_and_what_is_for_none_remembers_nothing() {
    let mut cache = Cache::new(1_000, 1 << 20, 7);
    for now_ms in 0..10_000 {
        if now_ms % 2 == 0 {
            cache.forget(&credential(1));
        }
        put(&mut cache, 1, now_ms, 1_000);
        assert!(cache.places.len() == 1 && cache.pages.records() <= 1_000);
    }
    assert_eq!(kept(&cache, 0..3, 9_999), [1]);
    let mut none = Cache::new(0, 1 << 20, 7);
    put(&mut none, 1, 0, 1_000);
    assert!(none.is_empty() && none.places.is_empty());
}

#[test]
fn what_is_over_is_swept_and_its_memory_given_back() {
    let mut cache = Cache::new(100_000, 1 << 30, 7);
    for number in 0..10_000 {
        put(&mut cache, number, number as u64, 100);
    }
    let swept = cache.sweep(9_999);
    assert!((9_000..=9_900).contains(&swept), "{swept}");
    assert_eq!(
        kept(&cache, 0..10_000, 9_999),
        Vec::from_iter(9_900..10_000)
    );
    assert_eq!(cache.places.len(), 100);
    assert!(cache.places.capacity() < 4_000 && cache.pages.bytes() < 1 << 20);
    assert_eq!(cache.sweep(9_999), 0);
    assert_eq!(cache.sweep(10_099), 10_000 - swept);
    assert!(cache.is_empty() && cache.places.capacity() == 0 && cache.pages.bytes() == 0);
}

proptest! {
    #[test]
    fn an_identity_comes_back_as_it_was(
        user: String,
        session: String,
        issued_ms: Option<u64>,
        expires_ms in 2..u64::MAX,
        active_organisation: Option<String>,
        claims: Option<Vec<(String, Option<String>)>>,
    ) {
        let claim = |(organisation, role)| OrganisationClaim { organisation, role };
        let identity = Identity {
            user,
            session,
            issued_ms,
            expires_ms: Some(expires_ms),
            active_organisation,
            organisations: claims.map(|claims| claims.into_iter().map(claim).collect()),
        };
        let mut cache = Cache::new(10, 1 << 20, 7);
        cache.put(credential(1), &identity, (), 0, 1);
        prop_assert_eq!(cache.get(&credential(1), 0), Some((identity, ())));
    }
}

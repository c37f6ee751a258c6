//! The inputs that fuzzing started from or once stumbled over, run again by every test run.

use std::path::PathBuf;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&folder).expect("the corpus is in the repository");
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        let input = std::fs::read(&path).expect("a corpus holds plain files");
        let outcome = std::panic::catch_unwind(|| body(&input));
        assert!(outcome.is_ok(), "{target} fails on {}", path.display());
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn sessions() {
    replay("session", auth::fuzzing::session);
}

#[test]
fn cookies() {
    replay("cookie", auth::fuzzing::cookie);
}

#[test]
fn sets_of_keys() {
    replay("jwks", auth::fuzzing::jwks);
}

#[test]
fn answers() {
    replay("introspection", auth::fuzzing::introspection);
}

#[test]
fn the_corpus_of_claims_finds_nothing() {
    replay("claims", auth::fuzzing::claims);
}

//! The body of the fuzz target for operations on the engine: what must hold whatever happens, in
//! whatever order. Compiled with the crate, so that it cannot rot; run by `fuzz/`, and over its corpus
//! by the test below.
//!
//! A finding is a panic. No product code calls anything here.
//!
//! The input is a script (`script`); a `Play` carries it out on a real engine over sockets that are
//! none (`kernel`). After each operation the engine's tables must agree with each other (`structure`),
//! and each client must have been told a beginning of what it is to be told (`client`, `page`, `reader`),
//! which is computed from a list of all frames that knows no log, class or cursor (`past`). Every beginning,
//! reset and end needs a cause (`standing`). What a script came to is counted (`reached`).

mod block;
mod client;
mod kernel;
mod page;
mod past;
mod play;
mod reached;
mod reader;
mod script;
mod standing;
mod structure;

use play::Play;
use script::Script;

pub use reached::Reached;

/// How many operations are carried out at most: enough for whatever can come together, and a run that
/// stays a matter of milliseconds.
const OPERATIONS_MAX: usize = 2_000;

/// Carries out a script: first with hardship, then everybody reads and nothing is missing, then
/// everybody is told to go and nothing is left. Returns what it came to.
pub fn operations(input: &[u8]) -> Reached {
    let mut script = Script::new(input);
    let mut play = Play::new(&mut script);
    for operation in script.take(OPERATIONS_MAX) {
        play.carry_out(operation);
        play.check();
    }
    play.become_peaceful();
    play.check_nothing_is_missing();
    play.leave();
    play.check_nothing_is_left();
    play.reached()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The seeds, each with its name.
    fn corpus() -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/operations");
        let entries = std::fs::read_dir(folder).expect("the corpus is in the repository");
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read(path).unwrap())
            })
            .collect()
    }

    /// What a seed has to come to, so that its name is true.
    const REACHES: [(&str, &[&str]); 48] = [
        ("a-frame-larger-than-a-slice", &["live"]),
        (
            "a-gap-and-a-revocation-during-a-sweep",
            &[
                "a revocation during a sweep",
                "a gap during a sweep",
                "publication_changed",
            ],
        ),
        (
            "a-gap-while-a-heartbeat-is-half-sent",
            &["half a control event", "slot_lost"],
        ),
        ("a-gap-while-everybody-is-somewhere", &["held", "slot_lost"]),
        (
            "a-grant-beside-a-revocation",
            &["membership_revoked", "session_revoked", "reauthorize"],
        ),
        (
            "a-page-at-once",
            &["a page", "an empty page", "a page with a reset"],
        ),
        ("a-page-of-what-is-gone", &["a page with a reset"]),
        (
            "a-page-is-held-for-too-long-and-beyond",
            &["a page refused"],
        ),
        (
            "a-page-that-waits",
            &["a page that waited", "a page refused", "an empty page"],
        ),
        ("a-reader-who-takes-nothing", &["stalled"]),
        (
            "a-renewed-session-is-revoked",
            &["renewed", "session_revoked"],
        ),
        (
            "a-resume-at-every-place",
            &["resumed", "held", "history", "unknown_position"],
        ),
        ("a-session-is-revoked", &["session_revoked"]),
        ("a-subscription-of-too-many", &["too many", "subscribed"]),
        (
            "an-event-and-then-a-subscription-within-a-sweep",
            &["a subscription during a sweep"],
        ),
        ("another-ones-import", &["resumed"]),
        (
            "another-timeline",
            &["history_changed", "resumed", "unknown_position"],
        ),
        ("before-the-membership", &["history", "a page with a reset"]),
        ("broken-and-found-by-a-send", &["client_gone"]),
        ("claims", &["renewed", "not a member", "session_expired"]),
        (
            "closed-by-name",
            &["replaced", "reauthorize", "ended by its own client"],
        ),
        (
            "commit-revoke-commit-within-one-intake",
            &["membership_revoked"],
        ),
        ("control-has-no-room", &["a late grant"]),
        ("drained", &["draining", "a page refused"]),
        ("drained-twice", &["draining"]),
        ("drained-while-behind", &["draining"]),
        ("evicted-between-two-frames", &["evicted"]),
        (
            "evicted-while-half-sent",
            &["evicted half-sent", "the intake closed", "history"],
        ),
        ("grants-that-come-too-late", &["a late grant"]),
        ("half-of-a-row-that-moved-is-gone", &["a page with a reset"]),
        ("held-and-reached", &["held", "held and reached", "resumed"]),
        (
            "held-and-reached-by-what-it-has",
            &["held and reached", "resumed"],
        ),
        (
            "held-and-unknown",
            &["held and unknown", "unknown_position"],
        ),
        ("held-for-too-long", &["held", "lagging"]),
        ("idle-streams-are-closed", &["idle"]),
        (
            "joins-and-leaves-during-a-sweep",
            &[
                "a stream during a sweep",
                "a hang-up during a sweep",
                "a commit during a sweep",
            ],
        ),
        ("resumed-beyond-the-log", &["history"]),
        ("resumed-from-before-a-gap", &["history"]),
        ("resumed-from-before-the-membership", &["history"]),
        ("resumed-from-the-log", &["resumed"]),
        (
            "revoked-and-granted-again",
            &["membership_revoked", "session_revoked"],
        ),
        ("revoked-between-two-frames", &["membership_revoked"]),
        (
            "sessions-end-and-are-renewed",
            &["renewed", "extended", "auth", "session_expired"],
        ),
        (
            "subscription-changes-during-a-sweep",
            &["a subscription during a sweep", "subscribed"],
        ),
        ("subscription-changes-while-behind", &["subscribed"]),
        (
            "the-past-is-read-and-held-for",
            &["held and reached", "lagging", "a page refused"],
        ),
        ("told-to-go-and-does-not-read", &["replaced"]),
        ("whose-ticket-it-is", &["foreign", "subscribed", "renewed"]),
    ];

    #[test]
    fn the_corpus_finds_nothing_and_reaches_what_it_is_named_for() {
        let corpus = corpus();
        let mut named = REACHES.to_vec();
        for (name, input) in &corpus {
            let reached = operations(input);
            named.retain(|(seed, reaches)| {
                let missed = reaches.iter().find(|what| reached.count(what) == 0);
                let is_this = seed == name;
                assert!(!is_this || missed.is_none(), "{name} misses {missed:?}");
                !is_this
            });
        }
        assert!(named.is_empty(), "the corpus has lost {named:?}");
    }

    /// Random scripts beside those that a fuzzer found worth keeping: seconds, on every `cargo test`.
    #[test]
    fn random_scripts_find_nothing() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..60 {
            let script: Vec<u8> = (0..700)
                .map(|_| {
                    // xorshift64*: a test's dice.
                    random ^= random >> 12;
                    random ^= random << 25;
                    random ^= random >> 27;
                    (random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
                })
                .collect();
            operations(&script);
        }
    }
}

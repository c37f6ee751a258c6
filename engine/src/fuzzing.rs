//! The body of the fuzz target for operations on the engine: what must hold whatever happens, in
//! whatever order. Compiled with the crate, so that it cannot rot; run by `fuzz/`, and over its corpus
//! by the test below.
//!
//! A finding is a panic. No product code calls anything here.
//!
//! The input is a script (`script`); a `Play` carries it out on a real engine over sockets that are
//! none (`kernel`). After each operation the engine's tables must agree with each other (`structure`),
//! and each client must have been told a beginning of what it is to be told (`client`, `page`), which
//! is computed from a list of all frames that knows no log, class or cursor.

mod client;
mod kernel;
mod page;
mod play;
mod script;
mod structure;

use play::Play;
use script::Script;

/// How many operations are carried out at most: enough for whatever can come together, and a run that
/// stays a matter of milliseconds.
const OPERATIONS_MAX: usize = 2_000;

/// Carries out a script: first with hardship, then everybody reads and nothing is missing, then
/// everybody leaves and nothing is left.
pub fn operations(input: &[u8]) {
    let mut script = Script::new(input);
    let mut play = Play::new(script.argument(), script.argument());
    for operation in script.take(OPERATIONS_MAX) {
        play.carry_out(operation);
        play.check();
    }
    play.become_peaceful();
    play.check_nothing_is_missing();
    play.leave();
    play.check_nothing_is_left();
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

    #[test]
    fn the_corpus_finds_nothing() {
        let corpus = corpus();
        assert!(corpus.len() >= 10, "the corpus has lost its seeds");
        corpus.iter().for_each(|(_, input)| operations(input));
    }

    /// Random scripts beside those that a fuzzer found worth keeping: seconds, on every `cargo test`.
    #[test]
    fn random_scripts_find_nothing() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..100 {
            let script: Vec<u8> = (0..1_500)
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

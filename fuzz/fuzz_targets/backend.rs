//! What a PostgreSQL server answers on each of the reader's connections; the body is in the crate, compiled with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| replication::fuzzing::backend(input));

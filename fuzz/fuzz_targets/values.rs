//! The text of values: arrays, composites and the rest; the body is in the crate, compiled with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| replication::fuzzing::values(input));

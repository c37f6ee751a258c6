//! Claims in every form of a session that an application makes; the body is in the crate, compiled with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| auth::fuzzing::claims(input));

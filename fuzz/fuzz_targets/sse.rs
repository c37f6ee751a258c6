//! Server-Sent Events, written and read again; the body is in the crate, compiled with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wire::fuzzing::sse_round_trip(input));

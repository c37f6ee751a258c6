//! Operations on an engine; the body is in the crate, compiled with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    engine::fuzzing::operations(input);
});

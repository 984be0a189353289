//! The reader and the translation of Flume's configurations take any text: no panic.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    aqueduct_flume::fuzzed(input);
});

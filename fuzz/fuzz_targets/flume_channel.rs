//! The reader of Flume's file channel takes any bytes: no panic, no memory beyond what they say.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    aqueduct_flume_channel::fuzzed::read(input);
});

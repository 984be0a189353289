//! The reader of frames takes any bytes: no panic, no memory beyond what they say.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    aqueduct_channel::testkit::read_segment(input);
});

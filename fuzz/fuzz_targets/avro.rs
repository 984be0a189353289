//! The Avro source takes any bytes: no panic, no memory beyond what they say.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    aqueduct_components::avro::read_all(input);
});

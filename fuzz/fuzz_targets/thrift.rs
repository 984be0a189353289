//! The reader of Thrift calls and answers takes any bytes: no panic, no memory beyond what they
//! say. The first byte names the encoding.

#![no_main]

use aqueduct_components::thrift::{Method, Protocol, answer, batch};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, message)) = input.split_first() else { return };
    let protocol = if first & 1 == 0 { Protocol::Compact } else { Protocol::Binary };
    for method in [Method::Append, Method::AppendBatch] {
        let _ = batch(protocol, method, message);
    }
    let _ = answer(protocol, 1, message);
});

//! Runs a target with libFuzzer: `AQUEDUCT_FUZZ_TARGET` names it, the arguments are libFuzzer's
//! own. `fuzz/run` builds and calls this program.

#![no_main]
// The macro defines the C function that libFuzzer calls.
#![allow(unsafe_code, missing_docs)]

use std::sync::LazyLock;

use aqueduct_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("AQUEDUCT_FUZZ_TARGET").unwrap_or_default();
    let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let target = TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("AQUEDUCT_FUZZ_TARGET must be one of {}", known.join(", ")))
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    TARGET.check(input);
});

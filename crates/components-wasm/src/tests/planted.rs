//! The tests of the contract find planted bugs.

#[test]
fn each_planted_bug_is_found() {
    let of_failures = "tests::interceptor::a_call_that_fails_has_no_effect";
    let of_numbers = "tests::interceptor::a_call_with_another_number_of_events_has_no_effect";
    let of_events = "tests::interceptor::a_call_for_other_events_has_no_effect";
    let of_limits = "staged::tests::every_limit_is_checked";
    for (bug, test, found_by) in [
        ("wasm_answer_unchecked", of_numbers, "each event has its result once"),
        ("wasm_writes_of_fault_applied", of_failures, "each event has its result once"),
        ("wasm_index_unchecked", of_events, "expected \"it names event 150"),
        ("wasm_memory_unlimited", of_failures, "expected \"needs more memory than 1MiB"),
        ("wasm_repeated_not_counted", of_limits, "repeated values count"),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

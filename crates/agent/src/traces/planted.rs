//! The bugs that are planted in traces are found, each by the test of its rule.

const DEAD: &str = "traces::tests::a_receiver_that_is_dead_delays_nothing_and_every_span_is_\
                    counted";
const ATTEMPTS: &str =
    "group::traced_batches::tests::each_attempt_has_its_own_spans_with_their_result";

#[test]
fn each_planted_bug_is_found_by_the_test_of_its_rule() {
    for (bug, test, found_by) in [
        ("trace_last_not_counted", DEAD, "each span is counted"),
        ("trace_attempts_joined", ATTEMPTS, "assertion `left == right` failed"),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

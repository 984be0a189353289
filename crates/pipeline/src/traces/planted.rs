//! The bugs that are planted in traces are found, each by the test of its rule.

const ALIKE: &str = "traces::tests::agents_sample_alike_and_a_higher_rate_includes_a_lower_one";
const ROOM: &str = "traces::tests::counts_spans_without_room_and_never_waits";

#[test]
fn each_planted_bug_is_found_by_the_test_of_its_rule() {
    for (bug, test, found_by) in [
        ("trace_sampled_by_chance", ALIKE, "agents differ"),
        ("trace_rates_apart", ALIKE, "a higher rate leaves out"),
        ("trace_root_by_chance", ALIKE, "id of the first span"),
        ("trace_queue_without_end", ROOM, "spans that found no room"),
        ("trace_drop_not_counted", ROOM, "spans that found no room"),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

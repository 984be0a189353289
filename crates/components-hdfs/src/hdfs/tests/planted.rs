//! The bugs that are planted in the choice of directories are found, each by the test of its rule.

const ROUNDS: &str =
    "hdfs::tests::rolls::a_batch_with_more_paths_than_may_be_open_is_written_in_rounds";
const OVERFLOW: &str = "hdfs::tests::rolls::\
    counts_events_of_too_many_paths_and_stores_them_in_one_file";
const OVER: &str = "hdfs::bucket::tests::\
    a_directory_is_not_over_while_the_clocks_may_bring_its_text_back";

#[test]
fn each_planted_bug_is_found_by_the_test_of_its_rule() {
    for (bug, test, found_by) in [
        ("one_round_only", ROUNDS, "_overflow"),
        ("overflow_not_counted", OVERFLOW, "overflow_events_total"),
        ("marked_before_clocks_back", OVER, "Europe/Berlin"),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

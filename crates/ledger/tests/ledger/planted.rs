//! The bugs that are planted in the ledger of an object store are found, each by the test of its
//! rule.

const CLOSED: &str = "objects::a_commit_that_arrives_after_its_sink_was_closed_finds_its_files";
const DEAD: &str = "objects::a_commit_that_arrives_after_the_next_start_finds_its_index_taken";

#[test]
fn each_planted_bug_is_found_by_the_test_of_its_rule() {
    for (bug, test, found_by) in [
        ("stage_of_a_bucket_cleared", CLOSED, "assertion `left == right` failed"),
        ("bucket_not_fenced", DEAD, "called `Result::unwrap_err()` on an `Ok` value"),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

//! The bugs that are planted in the settlements of a sink are found by the checks that the tests of
//! all sinks share.

const LETTERS: &str =
    "deliver::requests::tests::refused_events_become_letters_and_the_rest_is_delivered";

#[test]
fn each_planted_bug_is_found_by_the_checks_of_settlements() {
    for (bug, found_by) in [
        ("letter_of_part_whole", "the letter of the whole batch 5 has all events"),
        ("refused_and_delivered", "batch 6 is settled, and the sink does not hold it"),
    ] {
        support::mutants::is_found(bug, LETTERS, found_by);
    }
}

//! The tests of the contract find planted bugs.

#[test]
fn each_planted_bug_is_found() {
    let of_interceptor = "tests::interceptor::answer_with_other_results_is_not_used";
    let of_sink = "tests::sink::answer_with_other_outcomes_is_not_used";
    for (bug, test, found_by) in [
        ("plugin_results_unchecked", of_interceptor, "each event has its result once"),
        ("plugin_outcomes_unchecked", of_sink, "each event is stored"),
        (
            "plugin_kept_after_fault",
            "tests::interceptor::each_event_has_its_result_once_whatever_the_plugin_does",
            "no answer after 9 attempts",
        ),
        (
            "plugin_delivered_forgotten",
            "tests::sink::delivered_events_of_a_batch_are_not_sent_again",
            "a delivered event is not sent again",
        ),
        (
            "plugin_choices_unchecked",
            "tests::selector::answer_with_other_choices_is_not_used",
            "each event has its channels",
        ),
        (
            "plugin_file_continued_elsewhere",
            "tests::encoder::a_file_is_not_continued_by_another_process",
            "the state of the first file is lost",
        ),
        (
            "plugin_position_unchecked",
            "tests::source::events_without_a_new_position_are_not_stored",
            "not reported: so a restart would repeat",
        ),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

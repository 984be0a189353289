//! The bugs that are planted in the adapter are found, each by the test of its rule.

const BROKEN: &str = "broken rules";

#[test]
fn each_planted_bug_is_found_by_the_test_of_its_rule() {
    for (bug, test, found_by) in [
        (
            "consume_acknowledged_before_stored",
            "stores_each_message_once_and_in_order_in_every_channel",
            BROKEN,
        ),
        (
            "consume_acknowledgement_forgotten",
            "stores_each_message_once_and_in_order_in_every_channel",
            BROKEN,
        ),
        (
            "consume_held_before_stored",
            "stops_in_front_of_a_held_message_after_everything_before_it",
            "not reached: the messages before it",
        ),
        ("consume_partly_stored_is_stored", "retries_a_round_in_the_channels_that_lack_it", BROKEN),
        (
            "consume_retried_everywhere",
            "retries_a_round_in_the_channels_that_lack_it",
            "assertion `left == right` failed: channel",
        ),
        (
            "consume_stored_is_rejected",
            "stores_each_message_once_and_in_order_in_every_channel",
            BROKEN,
        ),
        (
            "consume_stored_is_returned",
            "stop_waits_for_a_put_that_has_begun_and_acknowledges_it",
            BROKEN,
        ),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

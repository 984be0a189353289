//! The bugs that are planted in the adapter are found, each by the test of its rule.

const BROKEN: &str = "broken rules";

#[test]
fn each_planted_bug_is_found_by_the_test_of_its_rule() {
    for (bug, test, found_by) in [
        (
            "serve_acknowledged_before_stored",
            "acknowledges_messages_that_every_channel_has_stored",
            "assertion `left == right` failed",
        ),
        (
            "serve_cut_ignored",
            "stop_cuts_connections_that_do_not_end",
            "the connection is open after the stop",
        ),
        (
            "serve_failed_is_stored",
            "acknowledges_no_message_that_a_channel_lacks",
            "assertion `left == right` failed: Fails",
        ),
        (
            "serve_put_dropped_with_client",
            "ends_a_put_that_has_begun_without_its_client",
            "the stop waits for the put",
        ),
        (
            "serve_put_outwaits_stop",
            "stop_ends_a_put_that_waits_for_room",
            "assertion `left == right` failed",
        ),
        ("serve_put_not_awaited", "ends_a_put_that_has_begun_without_its_client", BROKEN),
        (
            "serve_retried_everywhere",
            "retries_a_batch_in_the_channels_that_lack_it",
            "assertion `left == right` failed: channel 0",
        ),
        (
            "place_of_connection_kept",
            "serves_at_most_the_permitted_number_of_connections",
            "reply or end",
        ),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

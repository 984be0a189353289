//! Checks that each planted bug in the sharing of resources is found by the test of its rule.

const MODEL: &str = "tenants::tests::what_is_taken_is_given_back_and_charged_to_its_tenant_alone";
const PLACES: &str = "tenants::backlog::tests::each_place_is_free_once_its_batch_is_\
                      delivered_or_was_not_stored";
const ROTATION: &str = "tenants::turns::rotation::tests::one_put_of_a_quiet_tenant_waits_\
                        for_a_round_and_not_for_all_that_came_before";

#[test]
fn each_planted_bug_is_found_by_the_test_of_its_rule() {
    for (bug, test, found_by) in [
        ("tenant_share_kept", MODEL, "given back: 10.0.0."),
        ("tenant_charged_for_another", MODEL, "charged: 10.0.0."),
        ("tenant_backlog_kept", PLACES, "free again: tenant"),
        ("turns_as_they_come_when_many_wait", ROTATION, "assertion `left == right` failed"),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

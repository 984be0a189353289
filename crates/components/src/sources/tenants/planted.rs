//! The bugs that are planted in what tenants share are found, each by the test of its rule.
//!
//! Method: this program runs that test again, in a process of its own, with the bug planted in it.

/// Plants the bug that this process is to have, if it is to have one.
pub(in crate::sources) fn from_environment() {
    #[cfg(feature = "mutants")]
    if let Ok(name) = std::env::var(PLANTED) {
        // A test of many cases plants it again.
        let _ = support::mutants::plant(&name);
    }
}

#[cfg(feature = "mutants")]
const PLANTED: &str = "AQUEDUCT_PLANTED";

#[cfg(feature = "mutants")]
mod tests {
    use std::process::Command;

    use super::PLANTED;

    const MODEL: &str =
        "sources::tenants::tests::what_is_taken_is_given_back_and_charged_to_its_tenant_alone";
    const ROTATION: &str = "sources::tenants::turns::rotation::tests::one_put_of_a_quiet_tenant_\
                            waits_for_a_round_and_not_for_all_that_came_before";
    const HANDSHAKES: &str =
        "sources::tls_between::handshakes_that_fail_give_their_places_and_connections_back";

    /// The result of a test, with a bug planted or without.
    fn run(test: &str, bug: Option<&str>) -> (bool, String) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env_remove(PLANTED);
        command.envs(bug.map(|bug| (PLANTED, bug)));
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("running 1 test\n"), "{test}: {said}");
        (output.status.success(), said)
    }

    #[test]
    fn each_planted_bug_is_found_by_the_test_of_its_rule() {
        for (bug, test, found_by) in [
            ("tenant_share_kept", MODEL, "given back: 10.0.0."),
            ("tenant_charged_for_another", MODEL, "charged: 10.0.0."),
            ("turns_as_they_come_when_many_wait", ROTATION, "assertion `left == right` failed"),
            ("place_of_connection_kept", HANDSHAKES, "its place is not free"),
        ] {
            let (passes, said) = run(test, None);
            assert!(passes, "{test} fails without a bug: {said}");
            let (passes, said) = run(test, Some(bug));
            assert!(!passes, "{bug} is not found by {test}");
            assert!(said.contains(found_by), "{bug} is found by something else: {said}");
        }
    }
}

//! Directories: their quota is used up, or the user loses its access.

use aqueduct_tests::is_long;

use super::site::{Differences, Site, last};

/// A quota, the options that set and clear it, and the text required in the log.
const QUOTAS: [(&str, &str, &str); 2] =
    [("name quota", "-setQuota", "-clrQuota"), ("space quota", "-setSpaceQuota", "-clrSpaceQuota")];

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_quota_that_is_used_up_is_named_and_waited_out() {
    let site = Site::begin("quota", Differences::default());
    let directory = site.directory();
    for (quota, set, lift) in QUOTAS {
        let from = site.logged();
        site.hdfs.admin(&[set, "1", &directory]);
        site.until_said(from, &["WARN", &format!("`hdfs dfsadmin {set}")]);
        site.holds_out(&["Quota", set]);
        last(0, 20);
        site.hdfs.admin(&[lift, &directory]);
        site.recovers(quota);
        site.has_warned_little(from);
    }
    site.end();
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn directory_without_permission_is_reported_until_it_is_fixed() {
    let differences = Differences { user: Some("logs"), ..Differences::default() };
    let site = Site::begin("permission", differences);
    let directory = site.directory();
    for round in 0..if is_long() { 3 } else { 1 } {
        let from = site.logged();
        site.hdfs.fs(&["-chown", "root", &directory]);
        site.until_said(from, &["WARN", "Permission denied: user=logs", "`hdfs dfs -chown"]);
        site.holds_out(&["Permission denied"]);
        last(0, 10 * round);
        site.hdfs.fs(&["-chown", "logs", &directory]);
        site.recovers("permission taken away");
        site.has_warned_little(from);
    }
    site.end();
}

//! The NameNode: it hangs, or rejects changes.

use super::site::{Differences, Site, last};

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_namenode_that_hangs_ends_every_call_and_is_written_to_again() {
    let site = Site::begin("hang", Differences::default());
    let from = site.logged();
    site.hdfs.freeze("namenode");
    // After the timeout of a call, which is 15 seconds.
    site.until_said(from, &["WARN", "no response"]);
    site.holds_out(&["no response", "the NameNode hangs"]);
    last(0, 100);
    site.hdfs.thaw("namenode");
    site.recovers("SIGSTOP of the NameNode");
    site.has_warned_little(from);
    site.end();
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn safe_mode_is_waited_out() {
    let site = Site::begin("safe-mode", Differences::default());
    let from = site.logged();
    site.hdfs.admin(&["-safemode", "enter"]);
    site.until_said(from, &["WARN", "safe mode", "`hdfs dfsadmin -safemode leave`"]);
    site.holds_out(&["safe mode"]);
    last(0, 30);
    site.hdfs.admin(&["-safemode", "leave"]);
    site.recovers("safe mode");
    site.has_warned_little(from);
    site.end();
}

//! Goal: in a fully encrypted cluster with Kerberos, each line arrives once, for longer than a
//! ticket's lifetime; and wrong settings are reported with a fix.
//!
//! Method: a real KDC and a real HDFS with protection `privacy` for RPC and data transfer. Tickets
//! are valid for 10 s. The connection to the NameNode is used after the end of its ticket, then the
//! NameNode is killed, and the KDC's log shows that the collector logs in again. Hadoop's shell
//! shows the owners of the files. Then one collector with one sink for each mistake, and two more
//! with different principals, must all report or do the right thing within one process.
//!
//! Lane: core
//! Needs: java mvn curl krb5kdc kadmin.local kinit gssapi flock
//! Weight: 0
//! Limit: 10m
//! Paths: @core deploy/hadoop crates/sasl2

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, CollectorConfig, ROLL, wait_until_delivered};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::http;
use aqueduct_tests::reconcile::{compare, proved, verify};
use aqueduct_tests::wait;

/// Lifetime of a ticket.
const LIFE: &str = "10 seconds";
/// Lines per log.
const LINES: usize = 2_000;
const STOP: Duration = Duration::from_secs(25);

/// Returns the line of a sink's table that sets principal and keytab.
fn login(principal: &str, keytab: &Path) -> String {
    let keytab = keytab.display();
    format!("kerberos = {{ principal = \"{principal}@EXAMPLE.TEST\", keytab = \"{keytab}\" }}")
}

/// Returns a cluster with the directories of this test.
fn cluster(dir: &Path) -> Hdfs {
    let mut hdfs = Hdfs::configured_with(&dir.join("hdfs"), &["--kerberos"]);
    hdfs.start();
    hdfs.fs(&["-mkdir", "/logs", "/zone", "/coded", "/one", "/other"]);
    hdfs.fs(&["-chown", "logs:logs", "/logs"]);
    hdfs.fs(&["-chmod", "777", "/zone", "/coded", "/one", "/other"]);
    hdfs
}

#[test]
#[ignore = "needs the programs and a KDC: tests/run"]
fn each_line_comes_once_for_longer_than_a_ticket_lives() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let hdfs = cluster(dir);
    let keytab = dir.join("collector.keytab");
    // The NameNode allows this account to act for others; it has another key and shorter tickets.
    hdfs.kdc().add("aqueduct", &keytab, LIFE);
    let listen = http::free_address().to_string();
    let store = format!("{}/logs/%Y-%m-%d", hdfs.url());
    let login = login("aqueduct", &keytab);
    let rights = "proxy_user = \"logs\"\nfile_mode = \"644\"\ndirectory_mode = \"755\"";
    let config = CollectorConfig::new(&listen, &store, &dir.join("collector"));
    let config = config.with_sink_settings(&format!("{ROLL}\n{login}\n{rights}"));
    let mut collector = config
        .agent(dir)
        .with_conf_dir(hdfs.conf_dir())
        .with_variable("KRB5_CONFIG", hdfs.kdc().config());
    let tail = dir.join("*.log").display().to_string();
    let data = dir.join("edge").display().to_string();
    let arguments = ["--tail", &tail, "--to", &listen, "--data-dir", &data];
    let mut edge = Agent::new("aqueduct-edge", &arguments, &dir.join("edge.out"));

    let mut written = Vec::new();
    let mut log = |name: usize| {
        let text: String = (0..LINES).map(|number| format!("{name} {number}\n")).collect();
        written.extend_from_slice(text.as_bytes());
        fs::write(dir.join(format!("{name}.log")), text).expect("a log is written");
    };
    collector.start();
    edge.start();
    log(0);
    wait_until_delivered(&edge, Duration::from_secs(30));
    log(1);
    thread::sleep(Duration::from_millis(700));
    collector.kill();
    collector.start();
    // Without a pause: the connection to the NameNode outlives its ticket.
    for name in 2..14 {
        log(name);
        thread::sleep(Duration::from_secs(1));
    }
    // The next connection needs another ticket, because the first one has expired.
    let before = hdfs.kdc().logins("aqueduct");
    assert!(before >= 2, "{before} logins of two collectors");
    hdfs.kill("namenode");
    log(14);
    hdfs.revive("namenode");
    wait_until_delivered(&edge, Duration::from_secs(60));
    let renewed = hdfs.kdc().logins("aqueduct") - before;
    assert!(renewed >= 1, "no login behind the end of a ticket");

    edge.stop(STOP);
    collector.stop(STOP);
    // The operator's program logs in with the variable of MIT Kerberos.
    let mut verify = verify(&store, &[dir.join("edge/channels/main")]);
    verify.arg("--deep").env("HADOOP_CONF_DIR", hdfs.conf_dir());
    verify.env("KRB5_CONFIG", hdfs.kdc().config()).env("KRB5_CLIENT_KTNAME", &keytab);
    verify.env("KRB5CCNAME", "MEMORY:");
    proved(verify).expect("a proof");
    let found = compare(&written, &hdfs.read("/logs/20*/*.log"));
    assert!(found.is_none(), "{found}");
    eprintln!("{found}; {renewed} logins behind the end of a ticket");
    belongs_to_the_proxy_user(&hdfs);
}

/// Asserts owner and mode of everything in `/logs`.
fn belongs_to_the_proxy_user(hdfs: &Hdfs) {
    let listing = String::from_utf8(hdfs.fs(&["-ls", "-R", "/logs"])).expect("UTF-8");
    let mut files = 0;
    for line in listing.lines().filter(|line| line.contains("/logs/")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let rights = if line.starts_with('d') { "drwxr-xr-x" } else { "-rw-r--r--" };
        assert_eq!((words[0], words[2]), (rights, "logs"), "{line}");
        files += usize::from(line.contains("/logs/20") && line.ends_with(".log"));
    }
    assert!(files > 0, "no files in:\n{listing}");
}

#[test]
#[ignore = "needs the programs and a KDC: tests/run"]
fn wrong_settings_are_reported_with_a_remedy() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let hdfs = cluster(dir);
    let (right, other) = (dir.join("one.keytab"), dir.join("other.keytab"));
    hdfs.kdc().add("one", &right, "1 day");
    hdfs.kdc().add("other", &other, "1 day");
    // Its key changes below: the first keytab becomes useless.
    let (old, new) = (dir.join("old.keytab"), dir.join("new.keytab"));
    hdfs.kdc().add("changed", &old, "1 day");
    hdfs.kdc().add("changed", &new, "1 day");
    let policy = "XOR-2-1-1024k";
    let coding = "org.apache.hadoop.hdfs.tools.ECAdmin";
    hdfs.java(coding, &["-enablePolicy", "-policy", policy]);
    hdfs.java(coding, &["-setPolicy", "-path", "/coded", "-policy", policy]);
    let zones = "org.apache.hadoop.hdfs.tools.CryptoAdmin";
    hdfs.java(zones, &["-createZone", "-keyName", "zone", "-path", "/zone"]);

    let url = hdfs.url();
    let one = login("one", &right);
    let wrong = [
        ("plain", "/one", String::new(), "set `kerberos.principal`"),
        ("unknown", "/one", login("unknown", &right), "`kerberos.keytab` has no key"),
        ("foreign", "/one", login("other", &right), "`kerberos.keytab` has no key"),
        ("changed", "/one", login("changed", &old), "the key was changed at the KDC"),
        ("absent", "/one", login("one", &dir.join("none")), "setting `kerberos.keytab`"),
        ("proxy", "/one", format!("{one}\nproxy_user = \"logs\""), "hadoop.proxyuser.USER.hosts"),
        ("zone", "/zone", one.clone(), "encryption zone"),
        ("coded", "/coded", one.clone(), "hdfs ec -setPolicy -replicate"),
        ("foreign_dir", "/private", one.clone(), "Permission denied"),
        ("conf", "/one", format!("{one}\nconf_dir = \"{}\"", dir.display()), "`conf_dir`"),
    ];
    let data = dir.join("collector");
    let mut text = format!("[agent]\ndata_dir = \"{}\"\n", data.display());
    let right = [("good_one", "/one", &one), ("good_other", "/other", &login("other", &other))];
    let wrong_sinks = wrong.iter().map(|(name, path, settings, _)| (*name, *path, settings));
    for (name, path, settings) in wrong_sinks.chain(right) {
        write!(
            text,
            "[sources.{name}]\ntype = \"sequence\"\ncount = 10\nchannels = [\"{name}\"]\n\
             [channels.{name}]\ntype = \"memory\"\ncapacity = \"1MiB\"\n\
             [sinks.{name}]\ntype = \"hdfs\"\nurl = \"{url}{path}/%Y\"\nchannel = \"{name}\"\n\
             roll = {{ age_max = \"1s\" }}\n{settings}\n"
        )
        .expect("a string can be written");
    }
    let mut collector = Agent::configured("aqueduct-collector", dir, "wrong", &text)
        .with_conf_dir(hdfs.conf_dir())
        .with_variable("KRB5_CONFIG", hdfs.kdc().config())
        .with_variable("KRB5CCNAME", dir.join("no-cache"));
    collector.start();
    let began = Instant::now();
    loop {
        let output = collector.output();
        let said = |name: &str, remedy: &str| {
            output.lines().any(|line| line.contains(name) && line.contains(remedy))
        };
        let missing = wrong.iter().find(|(name, _, _, remedy)| !said(name, remedy));
        let Some((name, _, _, remedy)) = missing else { break };
        assert!(began.elapsed() < STOP, "{name} does not say {remedy}:\n{output}");
        thread::sleep(Duration::from_millis(100));
    }
    // Dozens of clients were created by now; the sinks of one identity share its tickets.
    let logins = hdfs.kdc().logins("one");
    assert!((1..=8).contains(&logins), "{logins} logins of one principal");
    for (_, path, _) in right {
        wait::until(&format!("files in {path}"), STOP, || {
            let lines = hdfs.read(&format!("{path}/20*/*.log"));
            (lines.iter().filter(|byte| **byte == b'\n').count() == 10).then_some(())
        });
    }
    collector.stop(STOP);
}

//! A node with TLS only, and logins with write access only.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::solr::{PASSWORD, READER, Solr, WRITER};
use aqueduct_tests::{certificates, wait};

use super::{LIMIT, flow, numbers};

#[test]
#[ignore = "needs the programs, Java, Maven and openssl: tests/run"]
fn right_login_stores_each_event_once_and_wrong_ones_name_the_remedy() {
    const EVENTS: u64 = 1_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    certificates::make(dir);
    let solr = Solr::start_secured(dir, dir);
    solr.create();
    let urls = format!("urls = [\"https://{}/solr\"]", solr.address());
    let (at, right) = (dir.display(), format!("password = \"{PASSWORD}\""));
    let settings = |user: &str, password: &str, authority: &str| {
        let tls = format!("tls = {{ ca = \"{at}/{authority}.pem\" }}");
        format!("{urls}\n{user}\n{password}\n{tls}")
    };
    let writer = format!("user = \"{WRITER}\"");
    let reader = format!("user = \"{READER}\"");
    let attempts = [
        (settings("", "", "ca"), "require authentication): correct `user` and `password`"),
        (
            settings(&writer, "password = \"wrong\"", "ca"),
            "rejects the login (Error 401 Bad credentials)",
        ),
        (settings(&reader, &right, "ca"), "the permission `update`"),
        (
            settings(&writer, &right, "other"),
            "add its authority, or the certificate itself, to `ca`",
        ),
    ];
    let mut lines = String::new();
    (0..EVENTS).for_each(|n| writeln!(lines, "{{\"n\":{n}}}").expect("text"));
    let good = settings(&writer, &right, "ca");
    let first = flow(dir, &[("out", &attempts[0].0)]);
    fs::write(dir.join("in/lines.log"), lines).expect("the test's own folder");
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &first);
    for (settings, expected) in &attempts {
        fs::write(dir.join("agent.toml"), flow(dir, &[("out", settings)])).expect("a file");
        agent.start();
        agent.until_logged(expected, LIMIT);
        agent.kill();
        assert!(!agent.output().contains(PASSWORD), "a password is shown");
        assert!(solr.documents().is_empty(), "written with {settings}");
    }
    fs::write(dir.join("agent.toml"), flow(dir, &[("out", &good)])).expect("a file");
    agent.start();
    wait::until("all events in Solr", LIMIT, || {
        (solr.documents().len() as u64 >= EVENTS).then_some(())
    });
    agent.stop(LIMIT);
    assert_eq!(numbers(&solr.documents()), (0..EVENTS).collect::<Vec<_>>());
    eprintln!("{EVENTS} events by TLS and a login, {:?}", began.elapsed());
}

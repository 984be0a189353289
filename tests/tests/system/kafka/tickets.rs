//! A broker that requires Kerberos, with repeated authentication on a connection: for a source, a
//! sink and a channel.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, ROLL};
use aqueduct_tests::certificates;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::kdc::Kdc;
use aqueduct_tests::wait;

use super::secured::stored;
use super::{PATIENCE, STOP};

/// Lines of a part of the log.
const LINES: usize = 200;
/// Lifetime of a ticket that must be renewed.
const LIFE: &str = "10 seconds";
/// Longer than that lifetime.
const GOES_ON_FOR: Duration = Duration::from_secs(12);

/// Returns client settings with a ticket of this principal; `more` contains additional properties.
fn client(broker: &str, (principal, keytab): (&str, &Path), more: &str) -> String {
    let keytab = keytab.display();
    format!(
        "brokers = [\"{broker}\"]\nproperties = {{ \"sasl.mechanism\" = \"GSSAPI\", \
         \"sasl.kerberos.principal\" = \"{principal}@EXAMPLE.TEST\", \
         \"sasl.kerberos.keytab\" = \"{keytab}\", \"reconnect.backoff.max.ms\" = \"500\", \
         {more} }}\n"
    )
}

const PLAIN: &str = "\"security.protocol\" = \"sasl_plaintext\"";

/// Returns a collector that finds the KDC, and has no ticket.
fn collector(dir: &Path, kdc: &Kdc, name: &str, text: &str) -> Agent {
    Agent::configured("aqueduct-collector", dir, name, text)
        .with_variable("KRB5_CONFIG", kdc.config())
        .with_variable("KRB5CCNAME", dir.join("no-cache"))
}

/// Runs a collector with one sink for each mistake, and one source, which reports the wrong setting
/// of each sink. Returns the collector, because the source takes longer.
fn mistakes_are_named(dir: &Path, kdc: &Kdc, broker: &str) -> Agent {
    let (right, old, gone) =
        (dir.join("a.keytab"), dir.join("old.keytab"), dir.join("gone.keytab"));
    kdc.add("changed", &old, LIFE);
    kdc.add("changed", &dir.join("new.keytab"), LIFE);
    kdc.add("gone", &gone, LIFE);
    kdc.remove("gone");
    let none = format!(
        "brokers = [\"{broker}\"]\nproperties = {{ \"sasl.mechanism\" = \"GSSAPI\", {PLAIN} }}\n"
    );
    let service = format!("{PLAIN}, \"sasl.kerberos.service.name\" = \"stream\"");
    let wrong = [
        ("foreign", client(broker, ("changed", &right), PLAIN), "has no key of"),
        ("changed", client(broker, ("changed", &old), PLAIN), "the key was changed at the KDC"),
        ("absent", client(broker, ("a", &dir.join("none")), PLAIN), "No such file"),
        ("gone", client(broker, ("gone", &gone), PLAIN), "does not know `sasl.kerberos.principal`"),
        ("service", client(broker, ("a", &right), &service), "`sasl.kerberos.service.name`"),
        ("nothing", none, "set `sasl.kerberos.principal` and `sasl.kerberos.keytab`"),
    ];
    let mut text = format!("[agent]\ndata_dir = \"{}/wrong\"\n", dir.display());
    for (name, client, _) in &wrong {
        write!(
            text,
            "[sources.{name}]\ntype = \"sequence\"\ncount = 1\nchannels = [\"{name}\"]\n\
             [channels.{name}]\ntype = \"memory\"\ncapacity = \"1MiB\"\n\
             [sinks.{name}]\ntype = \"kafka\"\ntopic = \"none\"\nchannel = \"{name}\"\n{client}"
        )
        .expect("a string can be written");
    }
    let client = &wrong[0].1;
    write!(
        text,
        "[sources.reader]\ntype = \"kafka\"\ntopics = [\"none\"]\ngroup = \"none\"\n{client}\
         channels = [\"foreign\"]\n"
    )
    .expect("a string can be written");
    let mut agent = collector(dir, kdc, "wrong-agent", &text);
    agent.start();
    for (name, _, helps) in wrong {
        let says = |line: &str| line.contains(name) && line.contains(helps);
        wait::until(&format!("{name} to say {helps}"), PATIENCE, || {
            agent.output().lines().any(says).then_some(())
        });
    }
    agent
}

/// Lines flow with two principals for longer than a ticket's lifetime, over connections that must
/// authenticate every few seconds, and each arrives once. A wrong keytab, principal or service is
/// reported with its setting.
pub(crate) fn a_ticket_is_renewed_by_its_keytab() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    certificates::make(dir);
    let kdc = Kdc::start(&dir.join("kdc"));
    let (one, other) = (dir.join("a.keytab"), dir.join("b.keytab"));
    kdc.add("a", &one, LIFE);
    kdc.add("b", &other, "1 day");
    let (_kafka, plain, sealed) = Kafka::start_with_tickets(dir, dir, &kdc);
    let mut wrong = mistakes_are_named(dir, &kdc, &plain);

    let at = dir.display();
    let tls = format!(
        "\"security.protocol\" = \"sasl_ssl\", \"ssl.ca.location\" = \"{at}/ca.pem\", \
         \"sasl.kerberos.service.name\" = \"kafka\""
    );
    let (a, b) = (client(&plain, ("a", &one), PLAIN), client(&sealed, ("b", &other), &tls));
    let text = format!(
        "[agent]\ndata_dir = \"{at}/agent\"\n\
         [sources.files]\ntype = \"tail_dir\"\npaths = [\"{at}/in.log\"]\nchannels = [\"out\"]\n\
         [channels.out]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"kafka\"\ntopic = \"tickets\"\nexactly_once = true\n\
         channel = \"out\"\n{b}\
         [sources.in]\ntype = \"kafka\"\ntopics = [\"tickets\"]\ngroup = \"stores\"\n{a}\
         channels = [\"in\"]\n\
         [channels.in]\ntype = \"kafka\"\ntopic = \"buffer\"\ncreate_with_replicas = 1\n{a}\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store/%Y\"\nchannel = \"in\"\n{ROLL}\n"
    );
    let before = kdc.logins("a");
    let mut log = fs::File::create(dir.join("in.log")).expect("a log");
    let mut agent = collector(dir, &kdc, "agent", &text);
    agent.start();
    let (mut parts, since) = (0, Instant::now());
    let renewed = wait::until("a ticket to be renewed", PATIENCE, || {
        let lines: String = (0..LINES).map(|line| format!("line {parts}-{line}\n")).collect();
        std::io::Write::write_all(&mut log, lines.as_bytes()).expect("a log");
        parts += 1;
        thread::sleep(Duration::from_millis(400));
        let now = kdc.logins("a") - before;
        (now >= 2 && since.elapsed() > GOES_ON_FOR).then_some(now)
    });
    wait::until("all lines", PATIENCE, || (stored(dir).len() == parts * LINES).then_some(()));
    assert!(stored(dir).values().all(|times| *times == 1), "a line is stored twice");
    // Several clients have authenticated several times, and share its tickets.
    let shared = kdc.logins("b");
    assert!((1..=4).contains(&shared), "{shared} logins for tickets that live for a day");
    agent.stop(STOP);
    // Its client delivers its log only while it is polled.
    wait::until("the source to say why no broker can be used", PATIENCE, || {
        let parts = ["reader", "check `brokers`", "has no key of"];
        let says = |line: &str| parts.iter().all(|part| line.contains(part));
        wrong.output().lines().any(says).then_some(())
    });
    wrong.kill();
    eprintln!(
        "{} lines by tickets, {renewed} and {shared} logins, {:?}",
        parts * LINES,
        began.elapsed()
    );
}

//! Brokers that are down when an agent starts: it waits, reports why, and continues automatically.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Instant;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::http;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::wait;

use super::{PATIENCE, STOP, stored, until_stored};

/// Returns the output of `aqueduct check --connect`, and whether everything is reachable.
fn check(config: &Path) -> (bool, String) {
    let output = program("aqueduct").args(["check", "--connect"]).arg(config).output();
    let output = output.expect("the program runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Its two sources have a channel each: one on topics, one on the disk.
pub(crate) fn it_is_opened_later() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let mut kafka = Kafka::start(dir);
    kafka.kill();
    let at = dir.display();
    let (intake, broker) = (http::free_address(), kafka.address());
    let text = format!(
        "[agent]\ndata_dir = \"{at}/data\"\n\
         [sources.in]\ntype = \"tail_dir\"\npaths = [\"{at}/in.log\"]\nchannels = [\"main\"]\n\
         [sources.web]\ntype = \"http\"\nlisten = \"{intake}\"\n\
         channels = [\"main\"]\n\
         [sources.other]\ntype = \"tail_dir\"\npaths = [\"{at}/other.log\"]\n\
         channels = [\"disk\"]\n\
         [channels.disk]\ntype = \"durable\"\ncapacity = \"16MiB\"\n\
         [channels.main]\ntype = \"kafka\"\nbrokers = [\"{broker}\"]\ntopic = \"late\"\n\
         create_with_replicas = 1\nproperties = {{ \"reconnect.backoff.max.ms\" = \"500\" }}\n\
         [sinks.disk]\ntype = \"file_roll\"\ndirectory = \"{at}/disk\"\nchannel = \"disk\"\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store/%Y\"\nchannel = \"main\"\n\
         roll = {{ age_max = \"1s\", idle_max = \"1s\" }}\n"
    );
    let config = dir.join("agent.toml");
    fs::write(&config, &text).expect("the test's own folder");
    // Both take as long as the timeout of the brokers.
    let checked = thread::spawn({
        let config = config.clone();
        move || check(&config)
    });
    let mut log = fs::File::create(dir.join("in.log")).expect("a log");
    log.write_all(b"one\ntwo\n").expect("a log is written");
    fs::write(dir.join("other.log"), "of the disk\n").expect("a log is written");
    let mut agent = Agent::configured("aqueduct-collector", dir, "late", &text);
    agent.start();
    let why = "check `brokers`";
    wait::until("/readyz to say why", PATIENCE, || {
        let (status, body) = http::get(agent.admin(), "/readyz")?;
        let says = body.contains("channel `main` has not been open") && body.contains(why);
        (status == 503 && says && body.contains("refused")).then_some(())
    });
    wait::until("the other channel to be served", PATIENCE, || {
        let files = fs::read_dir(dir.join("disk")).ok()?.flatten();
        let has_line =
            |path| fs::read_to_string(path).is_ok_and(|text| text.contains("of the disk"));
        files.map(|file| file.path()).any(has_line).then_some(())
    });
    let (is_reached, said) = checked.join().expect("the program runs");
    assert!(!is_reached && said.contains("channel main: FAILED") && said.contains(why), "{said}");
    kafka.revive();
    until_stored(dir, 8);
    wait::until("/readyz to be content", PATIENCE, || {
        http::get(agent.admin(), "/readyz").filter(|(status, _)| *status == 200)
    });
    assert!(TcpStream::connect(intake).is_ok(), "the other source of the channel listens");
    let found = compare(b"one\ntwo\n", &stored(dir));
    assert!(found.is_none(), "{found}");
    // The agent owns the topic, and remains the owner.
    let (is_reached, said) = check(&config);
    let found = "channel main: topic `late` has the required settings";
    assert!(!is_reached && said.contains(found), "{said}");
    log.write_all(b"three\n").expect("a log is written");
    until_stored(dir, 14);
    agent.stop(STOP);
    let found = compare(b"one\ntwo\nthree\n", &stored(dir));
    assert!(found.is_none(), "{found}");
    eprintln!("a channel over topics was opened later, {:?}", began.elapsed());
}

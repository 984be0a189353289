//! A broker that wants a token and ends a connection when its token has expired.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use aqueduct_tests::agent::{Agent, ROLL};
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::wait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secured::stored;
use crate::{PATIENCE, STOP};

/// Lines of a part of the log.
const LINES: usize = 200;
/// How long a token is good for, and after how long another one takes its place.
const GOOD_FOR: Duration = Duration::from_secs(4);
const ANEW_AFTER: Duration = Duration::from_secs(1);
/// Longer than that of any token that was there at the beginning.
const GOES_ON_FOR: Duration = Duration::from_secs(6);

/// Puts an unsigned token into the file, which is good for so long.
fn write_token(file: &Path, good_for: Duration) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    let until = (now + good_for).as_secs_f64();
    let claims = format!("{{\"sub\":\"agent\",\"iat\":{},\"exp\":{until:.3}}}", now.as_secs());
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let token = format!("{}.{}.\n", encoded("{\"alg\":\"none\"}"), encoded(&claims));
    let new = file.with_extension("new");
    fs::write(&new, token).expect("the test's own folder");
    fs::rename(new, file).expect("the test's own folder");
}

/// An agent that sends lines of `in.log` to a topic, each once, and stores what it reads there;
/// `has_channel`: from a channel that is a topic of the same broker.
fn agent(dir: &Path, broker: &str, has_channel: bool) -> Agent {
    let at = dir.display();
    let client = format!(
        "brokers = [\"{broker}\"]\ntoken_file = \"{at}/token\"\n\
         properties = {{ \"security.protocol\" = \"sasl_plaintext\", \
         \"reconnect.backoff.max.ms\" = \"500\" }}\n"
    );
    let channel = match has_channel {
        true => format!("type = \"kafka\"\ntopic = \"buffer\"\ncreate_with_replicas = 1\n{client}"),
        false => "type = \"durable\"\ncapacity = \"64MiB\"".to_owned(),
    };
    let text = format!(
        "[agent]\ndata_dir = \"{at}/agent\"\n\
         [sources.files]\ntype = \"tail_dir\"\npaths = [\"{at}/in.log\"]\nchannels = [\"out\"]\n\
         [channels.out]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"kafka\"\ntopic = \"tokens\"\nexactly_once = true\n\
         channel = \"out\"\n{client}\
         [sources.in]\ntype = \"kafka\"\ntopics = [\"tokens\"]\ngroup = \"stores\"\n{client}\
         channels = [\"in\"]\n\
         [channels.in]\n{channel}\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store/%Y\"\nchannel = \"in\"\n{ROLL}\n"
    );
    Agent::configured("aqueduct-collector", dir, "tokens", &text)
}

/// Lines go through while tokens expire, each once; with a token that has expired none does, and
/// the log says so.
pub(crate) fn an_expired_token_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, file) = (folder.path(), folder.path().join("token"));
    let (_kafka, broker) = Kafka::start_with_tokens(dir);
    fs::write(dir.join("in.log"), "").expect("a log is written");
    write_token(&file, Duration::ZERO);
    let mut refused = agent(dir, &broker, false);
    refused.start();
    refused.until_logged("(`token_file`) holds a token that has expired", PATIENCE);
    refused.kill();

    let mut agent = agent(dir, &broker, true);
    let (is_over, written) = (Arc::new(AtomicBool::new(false)), file.clone());
    let watched = is_over.clone();
    write_token(&file, GOOD_FOR);
    let writer = thread::spawn(move || {
        while !watched.load(Ordering::Relaxed) {
            thread::sleep(ANEW_AFTER);
            write_token(&written, GOOD_FOR);
        }
        write_token(&written, Duration::from_secs(3600));
    });
    agent.start();
    let (began, mut parts) = (Instant::now(), 0);
    while began.elapsed() < GOES_ON_FOR {
        let lines: String = (0..LINES).map(|line| format!("line {parts}-{line}\n")).collect();
        let log = fs::OpenOptions::new().append(true).open(dir.join("in.log"));
        std::io::Write::write_all(&mut log.expect("a log"), lines.as_bytes()).expect("a log");
        parts += 1;
        thread::sleep(ANEW_AFTER);
    }
    is_over.store(true, Ordering::Relaxed);
    writer.join().expect("tokens are written");
    wait::until("all lines", PATIENCE, || (stored(dir).len() == parts * LINES).then_some(()));
    assert!(stored(dir).values().all(|times| *times == 1), "a line is stored twice");
    agent.stop(STOP);
    eprintln!("{} lines with {parts} tokens, {:?}", parts * LINES, began.elapsed());
}

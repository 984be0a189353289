//! A broker that requires a token and ends a connection when its token expires: a token from a
//! file, and one from an OAuth 2 server.

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

use super::secured::stored;
use super::token_server::{Answer, TokenServer};
use super::{PATIENCE, STOP};

/// Lines of a part of the log.
const LINES: usize = 200;
/// Lifetime of a token, and time until another one replaces it.
const GOOD_FOR: Duration = Duration::from_secs(4);
const ANEW_AFTER: Duration = Duration::from_secs(1);
/// Longer than the lifetime of any token from the beginning.
const GOES_ON_FOR: Duration = Duration::from_secs(6);

/// Returns an unsigned token with this lifetime.
pub(crate) fn token(good_for: Duration) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    let until = (now + good_for).as_secs_f64();
    let claims = format!("{{\"sub\":\"agent\",\"iat\":{},\"exp\":{until:.3}}}", now.as_secs());
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", encoded("{\"alg\":\"none\"}"), encoded(&claims))
}

/// Writes such a token to the file.
fn write_token(file: &Path, good_for: Duration) {
    let token = format!("{}\n", token(good_for));
    let new = file.with_extension("new");
    fs::write(&new, token).expect("the test's own folder");
    fs::rename(new, file).expect("the test's own folder");
}

/// Returns an agent that sends lines of `in.log` to a topic, each once, and stores what it reads
/// there. With `has_channel`, its channel is a topic of the same broker. `proof` is the setting of
/// the token.
fn agent(dir: &Path, broker: &str, proof: &str, has_channel: bool) -> Agent {
    let at = dir.display();
    let topic = dir.file_name().and_then(|name| name.to_str()).expect("a folder").replace('.', "");
    let client = format!(
        "brokers = [\"{broker}\"]\n{proof}\n\
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
         [sinks.out]\ntype = \"kafka\"\ntopic = \"{topic}\"\nexactly_once = true\n\
         channel = \"out\"\n{client}\
         [sources.in]\ntype = \"kafka\"\ntopics = [\"{topic}\"]\ngroup = \"stores\"\n{client}\
         channels = [\"in\"]\n\
         [channels.in]\n{channel}\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store/%Y\"\nchannel = \"in\"\n{ROLL}\n"
    );
    Agent::configured("aqueduct-collector", dir, "tokens", &text)
}

/// Lines flow while tokens expire, each once; with an expired token none does, and the log contains
/// the reason.
pub(crate) fn an_expired_token_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, file) = (folder.path(), folder.path().join("token"));
    let (_kafka, broker) = Kafka::start_with_tokens(dir);
    let proof = format!("token_file = \"{}\"", file.display());
    fs::write(dir.join("in.log"), "").expect("a log is written");
    write_token(&file, Duration::ZERO);
    let mut refused = agent(dir, &broker, &proof, false);
    refused.start();
    refused.until_logged("(`token_file`) contains a token that expired", PATIENCE);
    refused.kill();

    let mut agent = agent(dir, &broker, &proof, true);
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
    let (began, parts) = (Instant::now(), write_parts(dir));
    is_over.store(true, Ordering::Relaxed);
    writer.join().expect("tokens are written");
    all_are_stored(dir, parts);
    agent.stop(STOP);
    eprintln!("{} lines with {parts} tokens, {:?}", parts * LINES, began.elapsed());
    a_server_of_tokens_may_fail(&dir.join("by-server"), &broker);
}

/// Same with tokens from a server that fails at first, and again later.
fn a_server_of_tokens_may_fail(dir: &Path, broker: &str) {
    fs::create_dir(dir).expect("the test's own folder");
    fs::write(dir.join("in.log"), "").expect("a log is written");
    let good = Answer::Good(GOOD_FOR);
    let answers = [Answer::Fails, Answer::Slow, good, Answer::Expired, Answer::Fails, good];
    let server = TokenServer::start("s3cret+%26", "kafka+all", answers.to_vec());
    let proof = format!(
        "oauth = {{ url = \"http://{}/token\", client_id = \"agent\", \
         client_secret = \"s3cret &\", scope = \"kafka all\" }}",
        server.address
    );
    let mut agent = agent(dir, broker, &proof, false);
    let began = Instant::now();
    agent.start();
    let parts = write_parts(dir);
    all_are_stored(dir, parts);
    // The next one is fetched before the last one expires.
    let given = wait::until("every answer to be given", PATIENCE, || {
        Some(server.given()).filter(|given| given.len() > answers.len())
    });
    assert!(given.starts_with(&answers), "{given:?}");
    agent.stop(STOP);
    let output = agent.output();
    assert!(!output.contains("s3cret"), "no secret is shown");
    eprintln!("{} tokens of a server, {:?}", given.len(), began.elapsed());
}

/// Writes lines for longer than a token's lifetime; returns the number of parts.
fn write_parts(dir: &Path) -> usize {
    let (began, mut parts) = (Instant::now(), 0);
    while began.elapsed() < GOES_ON_FOR {
        let lines: String = (0..LINES).map(|line| format!("line {parts}-{line}\n")).collect();
        let log = fs::OpenOptions::new().append(true).open(dir.join("in.log"));
        std::io::Write::write_all(&mut log.expect("a log"), lines.as_bytes()).expect("a log");
        parts += 1;
        thread::sleep(ANEW_AFTER);
    }
    parts
}

/// Waits until each line is stored once.
fn all_are_stored(dir: &Path, parts: usize) {
    wait::until("all lines", PATIENCE, || (stored(dir).len() == parts * LINES).then_some(()));
    assert!(stored(dir).values().all(|times| *times == 1), "a line is stored twice");
}

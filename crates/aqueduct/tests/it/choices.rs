//! Goal: with the selector `priority`, an agent accepts as many events as its channels can hold,
//! rejects the rest, and delivers each acknowledged line once. `aqueduct check` rejects the
//! selector where it would lose or duplicate lines.
//!
//! Method: an agent in a child process has small channels whose collectors do not exist. Requests
//! are answered 200 until both channels are full, then 503. The same agent restarts with sinks that
//! write to a store, where every line must be once.

#[allow(dead_code, reason = "a part of it is used here")]
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use support::loopback::free_address;

use crate::common::{Agent, aqueduct, stored, write};

/// Lines per request.
const LINES: usize = 50;
/// Capacity of the first and the second channel, in events.
const CAPACITIES: [usize; 2] = [100, 400];

fn settings(dir: &Path, source: &str, sink: &str) -> String {
    let [first, second] = CAPACITIES;
    format!(
        "[agent]\ndata_dir = \"{}/data\"\ngrace = \"1s\"\n\
         [sources.in]\n{source}\nchannels = [\"first\", \"second\"]\n\
         selector = {{ type = \"priority\" }}\n\
         [channels.first]\ntype = \"durable\"\ncapacity = \"16MiB\"\ncapacity_events = {first}\n\
         [channels.second]\ntype = \"durable\"\ncapacity = \"16MiB\"\ncapacity_events = {second}\n\
         [sinks.one]\n{sink}\nchannel = \"first\"\n\
         [sinks.other]\n{sink}\nchannel = \"second\"\n",
        dir.display(),
    )
}

/// Sends lines and returns the status, or `None` while no agent listens. The fate of an interrupted
/// request is unknown, so it is never resent: it fails the test with its reason.
fn post(address: &str, lines: &[String]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let body = lines.join("\n");
    let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ";
    let request = format!("{head}{}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("the request: {error}"));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("the answer: {error}"));
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    Some(status.unwrap_or_else(|| panic!("no status in the answer `{answer}`")))
}

#[test]
fn each_line_is_delivered_once_whichever_channel_had_room() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address().to_string();
    let source = format!(
        "type = \"http\"\nlisten = \"{address}\"\ndecoder = \"lines\"\nwait_max = \"200ms\""
    );
    let nowhere = format!("type = \"grpc\"\naddress = \"127.0.0.1:{}\"", free_address().port());
    let agent = Agent::configured(dir.path(), "agent", &settings(dir.path(), &source, &nowhere));
    let requests = CAPACITIES.iter().sum::<usize>() / LINES;
    let lines = |request: usize| -> Vec<String> {
        (0..LINES).map(|line| format!("request {request:03} line {line:03}")).collect()
    };
    for request in 0..requests {
        let mut status = None;
        agent.until(|| {
            status = post(&address, &lines(request));
            status.is_some()
        });
        assert_eq!(status, Some(200), "request {request}");
    }
    assert_eq!(post(&address, &lines(requests)), Some(503), "both channels are full");
    agent.stop();

    let store = format!(
        "type = \"hdfs\"\nurl = \"file://{}/store\"\nroll = {{ age_max = \"200ms\" }}",
        dir.path().display()
    );
    let agent = Agent::configured(dir.path(), "agent", &settings(dir.path(), &source, &store));
    // Resend rejected lines.
    agent.until(|| post(&address, &lines(requests)) == Some(200));
    agent.until(|| stored(dir.path()).len() >= (requests + 1) * LINES);
    agent.stop();
    let all: Vec<String> = (0..=requests).flat_map(lines).collect();
    assert!(stored(dir.path()) == all, "every line once");
}

#[test]
fn a_source_that_reads_again_is_refused_with_the_setting_and_what_helps() {
    let dir = tempfile::tempdir().unwrap();
    let source = "type = \"tail_dir\"\npaths = [\"/var/log/*.log\"]";
    let file = dir.path().join("agent.toml");
    write(&file, &settings(dir.path(), source, "type = \"discard\""));
    let checked = aqueduct(&["check", &file.display().to_string()]);
    assert!(!checked.status.success());
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    for part in ["sources.in.selector.type", "source `in` (`tail_dir`)", "`spill`"] {
        assert!(said.contains(part), "{part} in: {said}");
    }
}

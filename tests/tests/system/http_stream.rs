//! Goal: events of an HTTP server are stored, each once if the server can continue after a
//! position, while agent and connections are killed. A server that rejects requests or is silent
//! gets the pauses that it requests.
//!
//! Method: our own server with a log of numbered events (`http_stream/server.rs`), also over a
//! WebSocket (`http_stream/socket.rs`), and a real collector with a `file://` store, which is
//! killed (-9).
//!
//! Lane: connector
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-http-stream

use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::seed;
use aqueduct_tests::wait;
use rand::prelude::*;

mod cuts;

mod server;

mod site;

mod sockets;

use server::{Manner, Server};
use site::{PAUSES, agent, counted, line, repeats, stored, stored_soon};

const LIMIT: Duration = Duration::from_secs(60);

/// Pauses short enough for a test.
const SHORT: &str = r#"backoff = { network = { first = "0s", step = "5ms", limit = "20ms" } }"#;

/// Appends events while the agent is killed at random moments.
fn append_through_kills(server: &Server, agent: &mut Agent, kills: usize, events: usize) {
    let mut rng = seed::rng("http_stream");
    thread::scope(|scope| {
        let appending = scope.spawn(|| {
            for _ in 0..events / 10 {
                server.append_numbers(10, "");
                thread::sleep(Duration::from_millis(12));
            }
        });
        for _ in 0..kills {
            thread::sleep(Duration::from_millis(rng.random_range(300..1500)));
            agent.kill();
            agent.start();
        }
        appending.join().expect("all is appended");
    });
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn events_with_ids_are_stored_once_through_kills_and_cut_connections() {
    const EVENTS: usize = 6000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = Server::new(Manner {
        is_sse: true,
        resumes: true,
        cut_within: Some(2500),
        splits: true,
        ..Manner::default()
    });
    let url = format!("http://{}/stream", server.address);
    let settings = format!("format = \"sse\"\nbatch_wait = \"20ms\"\n{SHORT}");
    let mut agent = agent(dir, "http_stream", &url, &settings);
    agent.start();
    append_through_kills(&server, &mut agent, 5, EVENTS);
    wait::until("200 connections", LIMIT, || (server.streams() >= 200).then_some(()));
    server.set(|manner| manner.cut_within = None);
    assert_eq!(repeats(dir, EVENTS), 0);
    eprintln!("{EVENTS} events, {} connections, 5 kills", server.streams());
    assert!(counted(&agent, "event_unfinished") > 0.0, "connections ended within events");
    agent.stop(LIMIT);
}

/// A stream that continues at an id in its events, by a parameter, and repeats that event.
#[test]
#[ignore = "needs the programs: tests/run"]
fn ids_keep_what_a_server_repeats_from_being_stored_again() {
    const EVENTS: usize = 3000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    // Without a position: each client gets the last 1,500 events again.
    let server = Server::new(Manner {
        repeats: 1500,
        cut_within: Some(60_000),
        ends_well: true,
        splits: true,
        ..Manner::default()
    });
    let url = format!("http://{}/stream", server.address);
    let settings = format!("id = \"/n\"\nids_max = 2000\nbatch_wait = \"20ms\"\n{SHORT}");
    let mut agent = agent(dir, "http_stream", &url, &settings);
    agent.start();
    append_through_kills(&server, &mut agent, 3, EVENTS);
    server.set(|manner| manner.cut_within = None);
    assert_eq!(repeats(dir, EVENTS), 0);
    eprintln!("{EVENTS} events, {} connections, 3 kills", server.streams());
    assert!(counted(&agent, "event_repeated") > 1000.0, "the server has repeated events");
    agent.stop(LIMIT);
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn stream_that_cannot_resume_leaves_counted_gaps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = Server::new(Manner {
        cut_within: Some(3000),
        ends_well: true,
        splits: true,
        ..Manner::default()
    });
    let url = format!("http://{}/stream", server.address);
    let settings = r#"batch_wait = "20ms"
backoff = { network = { first = "700ms", step = "0s", limit = "700ms" } }"#;
    let mut agent = agent(dir, "http_stream", &url, settings);
    agent.start();
    let mut events = 0;
    for _ in 0..400 {
        events = server.append_numbers(2, "");
        thread::sleep(Duration::from_millis(10));
    }
    server.set(|manner| manner.cut_within = None);
    wait::until("a gap", LIMIT, || {
        (agent.metrics()?.sum("aqueduct_http_stream_gap_seconds_total")? >= 2.0).then_some(())
    });
    thread::sleep(Duration::from_secs(1));
    server.append_numbers(1, "");
    wait::until("the last event", LIMIT, || stored(dir).contains_key(&line(events)).then_some(()));
    let stored = stored(dir);
    assert!(stored.len() < events, "events of the gaps are not there");
    let whole = |line: &String| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(stored.keys().all(whole), "no halves: {stored:?}");
    assert!(stored.values().all(|times| *times == 1), "none twice");
    assert!(counted(&agent, "event_unfinished") > 0.0);
    eprintln!("{} of {events} events through {} gaps", stored.len(), server.streams() - 1);
    agent.stop(LIMIT);
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn silent_server_is_left_and_a_refusing_one_retried_at_its_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = Server::new(Manner {
        is_sse: true,
        resumes: true,
        stalls_after: Some(10),
        keep_alive: Some(Duration::from_millis(300)),
        ..Manner::default()
    });
    server.append_numbers(30, "");
    let busy = |head: &str| format!("HTTP/1.1 {head}\r\ncontent-length: 4\r\n\r\nwait");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a clock");
    let reset = now.as_secs() + 5;
    let reset_at = Instant::now() + (Duration::from_secs(reset) - now);
    server.answer_with(&[
        &busy("429 Too Many Requests\r\nretry-after: 2"),
        &busy(&format!("429 Too Many Requests\r\nx-rate-limit-reset: {reset}")),
        &busy("503 Service Unavailable"),
        &busy("503 Service Unavailable"),
    ]);
    let url = format!("http://{}/stream", server.address);
    let settings = format!(
        r#"format = "sse"
batch_wait = "20ms"
idle_timeout = "3s"
{PAUSES}"#
    );
    let mut agent = agent(dir, "http_stream", &url, &settings);
    agent.start();
    wait::until("the first stream", LIMIT, || (server.streams() > 0).then_some(()));
    let asked = server.asked();
    let pauses: Vec<f64> =
        asked.windows(2).map(|two| (two[1].at - two[0].at).as_secs_f64()).collect();
    eprintln!("pauses after 429, 429, 503 and 503: {pauses:?}");
    let early = reset_at.saturating_duration_since(asked[2].at);
    assert!(early < Duration::from_millis(50), "{early:?} before the reset");
    let least = [2.0, 0.0, 0.3, 0.6];
    assert!(pauses.iter().zip(least).all(|(pause, least)| *pause >= least), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause < 10.0), "{pauses:?}");

    // Heartbeats keep the connection alive.
    thread::sleep(Duration::from_millis(4500));
    assert_eq!(server.streams(), 1, "{}", agent.output());
    server.set(|manner| manner.keep_alive = None);
    // This stream still has them; the next ones are silent after ten events.
    server.set(|manner| manner.stalls_after = Some(20));
    assert_eq!(stored_soon(dir, 10).len(), 10);
    agent.kill();
    agent.start();
    let began = Instant::now();
    wait::until("another stream", LIMIT, || (server.streams() >= 3).then_some(()));
    let left_after = began.elapsed();
    eprintln!("a silent stream is left after {left_after:?}");
    assert!(left_after > Duration::from_millis(2700) && left_after < Duration::from_secs(30));
    assert_eq!(repeats(dir, 30), 0);
    agent.until_logged("no data for 3s", LIMIT);
    agent.stop(LIMIT);
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn a_token_is_fetched_kept_and_fetched_again_and_rules_are_set() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = Server::new(Manner {
        token: Some("none".into()),
        keep_alive: Some(Duration::from_millis(300)),
        ..Manner::default()
    });
    server.set_rules(&[("old", ""), ("cat", "cats"), ("dog", "other")]);
    let address = server.address;
    let settings = format!(
        r#"preset = "x"
id = "/n"
batch_wait = "20ms"
rules = [{{ value = "cat", tag = "cats" }}, {{ value = "dog", tag = "dogs" }}]
{SHORT}
[sources.in.access.oauth]
url = "http://{address}/token"
client_id = "a b"
client_secret = "s:s"
"#
    );
    let mut agent = agent(dir, "http_stream", &format!("http://{address}/stream"), &settings);
    agent.start();
    wait::until("the stream", LIMIT, || (server.streams() == 1).then_some(()));
    let rules = [("cat", "cats"), ("dog", "dogs")].map(|(v, t)| (v.to_owned(), t.to_owned()));
    assert_eq!(server.rules(), rules);
    let tokens = || server.asked().iter().filter(|it| it.line.contains("/token")).count();
    assert_eq!(tokens(), 1, "it is kept");
    let asked = server.asked();
    let form = &asked.iter().find(|it| it.line.contains("/token")).expect("asked").body;
    assert_eq!(form, "grant_type=client_credentials");
    let basic = asked.iter().find_map(|it| it.header("authorization")?.strip_prefix("Basic "));
    assert_eq!(basic, Some("YStiOnMlM0Fz"), "`a+b:s%3As`");
    // The server forgets the token, and a working connection ends.
    thread::sleep(Duration::from_millis(1500));
    server.set(|manner| manner.token = Some("another".into()));
    server.end_streams();
    wait::until("another stream", LIMIT, || (server.streams() == 2).then_some(()));
    assert_eq!(tokens(), 2, "it is fetched again");
    agent.until_logged("reconnecting", LIMIT); // It is no failure of the source.
    assert!(!agent.output().contains("s:s"), "secrets are not shown");
    agent.stop(LIMIT);
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn list_is_read_page_by_page_from_the_cursor_and_stored_once() {
    const EVENTS: usize = 1500;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = Server::new(Manner::default());
    let url = format!("http://{}/list", server.address);
    let settings = format!(
        "items = \"/data\"\nid = \"/n\"\ncursor = \"/n\"\nresume = \"since\"\n\
         interval = \"100ms\"\nbatch_events = 7\n{SHORT}"
    );
    let mut agent = agent(dir, "http_poll", &url, &settings);
    agent.start();
    append_through_kills(&server, &mut agent, 3, EVENTS);
    assert_eq!(repeats(dir, EVENTS), 0);
    let asked = server.asked();
    let has_asked = |text: &str| asked.iter().any(|it| it.line.contains(text));
    assert!(has_asked("?since=") && has_asked("until="), "by cursor and by page");
    let before = server.asked().len();
    thread::sleep(Duration::from_millis(500));
    let idle = server.asked().split_off(before);
    assert!(!idle.is_empty() && idle.iter().all(|it| it.header("if-none-match").is_some()));
    eprintln!("{EVENTS} events by {before} requests, 3 kills");
    agent.stop(LIMIT);
}

/// A channel with little space, and a sink whose server is down at first.
#[test]
#[ignore = "needs the programs: tests/run"]
fn a_full_channel_keeps_the_stream_from_being_read_and_nothing_is_lost() {
    const EVENTS: usize = 20_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = Server::new(Manner {
        is_sse: true,
        keep_alive: Some(Duration::from_millis(200)),
        ..Manner::default()
    });
    let at = dir.display();
    let text = format!(
        r#"
[agent]
data_dir = "{at}/data"
[sources.in]
type = "http_stream"
url = "http://{}/stream"
format = "sse"
idle_timeout = "1s"
channels = ["main"]
{SHORT}
[channels.main]
type = "durable"
capacity = "4MiB"
[sinks.store]
type = "file_roll"
directory = "{at}/store/all"
channel = "main"
"#,
        server.address
    );
    // A file blocks the path of the directory.
    std::fs::create_dir_all(dir.join("store")).expect("a folder");
    std::fs::write(dir.join("store/all"), "").expect("a file");
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &text);
    agent.start();
    wait::until("the stream", LIMIT, || (server.streams() == 1).then_some(()));
    let padding = "x".repeat(2000);
    server.append_numbers(EVENTS, &padding);
    let sent = wait::until("the server to wait", LIMIT, || {
        let before = server.sent_bytes();
        thread::sleep(Duration::from_millis(1500));
        (server.sent_bytes() == before && before > 0).then_some(before)
    });
    eprintln!("{} of {} MiB are sent to a full channel", sent >> 20, (EVENTS * 2000) >> 20);
    // Channel, batches, and kernel buffers on both sides.
    assert!(sent < EVENTS * 2000 * 2 / 3, "{sent} bytes are held somewhere");
    std::fs::remove_file(dir.join("store/all")).expect("the file");
    let there = || stored(dir).len();
    wait::until("all events", LIMIT, || (there() == EVENTS).then_some(()));
    assert_eq!(server.streams(), 1, "a stream that is not read is not silent");
    agent.stop(LIMIT);
}

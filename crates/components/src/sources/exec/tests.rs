//! Lines of a command arrive in order with any content; its exit, its failures and a stop follow
//! the documentation.
//!
//! Method: the source as a configuration builds it, with real commands of `/bin/sh`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::testkit::channels::Channels;
use kit::testkit::narrow::Narrow;
use metrics::SourceReason;
use pipeline::Intake;
use pipeline::testkit::{build, plain_context};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

struct Fixture {
    source: Box<dyn Source>,
    metrics: Metrics,
    cx: SourceContext,
}

impl Fixture {
    fn new(settings: &Value, intake: Arc<dyn Intake>) -> Self {
        let cx = crate::alone("in", Path::new("unused"), env::real());
        let metrics = cx.metrics.clone();
        let source = build::<Config>(settings, &cx).unwrap();
        let cx = plain_context(intake, CancellationToken::new());
        Self { source, metrics, cx }
    }

    fn sh(script: &str, intake: Arc<dyn Intake>) -> Self {
        Self::new(&json!({ "shell": "/bin/sh -c", "command": script }), intake)
    }

    async fn run(&mut self) -> Result<(), SourceError> {
        self.source.open(&self.cx).await?;
        self.source.run(self.cx.clone()).await
    }

    fn spawn(mut self) -> (JoinHandle<Result<(), SourceError>>, CancellationToken) {
        let stop = self.cx.stop.clone();
        (tokio::spawn(async move { self.run().await }), stop)
    }

    fn counted(&self, reason: &'static str) -> u64 {
        let label = SourceReason { source: "in".into(), reason };
        self.metrics.source_anomalies.get_or_create(&label).get()
    }
}

#[tokio::test]
async fn lines_are_events_whatever_they_hold_and_the_last_one_needs_no_end() {
    let channels = Arc::new(Channels::new(1));
    let script = r"printf 'one\n\ntwo\r\n\377\0\nlast'; echo oops >&2";
    let mut fixture = Fixture::sh(script, channels.clone());
    fixture.run().await.unwrap();
    assert_eq!(channels.bodies(0), ["one", "", "two", "\u{fffd}\0", "last"]);
    assert_eq!(fixture.counted("command_failed"), 0);
}

#[tokio::test]
async fn a_command_without_a_shell_gets_its_arguments_as_they_are() {
    for (command, expected) in [
        (json!("printf %s| *.rs  'b'"), vec!["*.rs|'b'|"]),
        (json!(["printf", "%s|", "a b", ""]), vec!["a b||"]),
    ] {
        let channels = Arc::new(Channels::new(1));
        let mut fixture = Fixture::new(&json!({ "command": command }), channels.clone());
        fixture.run().await.unwrap();
        assert_eq!(channels.bodies(0), expected);
    }
}

#[tokio::test]
async fn cuts_long_lines_and_bounds_the_memory_of_endless_ones() {
    let channels = Arc::new(Channels::new(1));
    let script = "head -c 20000000 /dev/zero | tr '\\0' x; echo; echo next";
    let settings = json!({ "shell": "/bin/sh -c", "command": script, "line_max": "8B" });
    let mut fixture = Fixture::new(&settings, channels.clone());
    fixture.run().await.unwrap();
    assert_eq!(channels.bodies(0), ["xxxxxxxx", "next"]);
    let events = channels.events(0);
    assert_eq!(events[0].headers["truncated"], "true");
    assert!(events[1].headers.is_empty());
    assert_eq!(fixture.counted("line_cut"), 1);
}

#[tokio::test]
async fn a_line_waits_for_its_batch_no_longer_than_set() {
    let channels = Arc::new(Channels::new(1));
    let mut settings = json!({ "shell": "/bin/sh -c", "command": "echo one; exec sleep 600" });
    settings["batch_timeout"] = json!("20ms");
    let (running, stop) = Fixture::new(&settings, channels.clone()).spawn();
    channels.wait_for_line("one").await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_command_that_has_ended_is_started_again_on_request_only() {
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    let script = format!("echo x >> {0}; wc -l < {0}", count.display());
    let mut settings = json!({ "shell": "/bin/sh -c", "command": script });
    let once = Arc::new(Channels::new(1));
    Fixture::new(&settings, once.clone()).run().await.unwrap();
    assert_eq!(once.bodies(0), ["1"]);
    settings["restart"] = json!(true);
    settings["restart_throttle"] = json!("100ms");
    let channels = Arc::new(Channels::new(1));
    let (running, stop) = Fixture::new(&settings, channels.clone()).spawn();
    channels.wait_for_line("4").await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(channels.bodies(0)[..3], ["2", "3", "4"]);
}

#[tokio::test]
async fn a_command_that_fails_is_an_error_with_its_last_words_and_is_paused_for() {
    let channels = Arc::new(Channels::new(1));
    let script = "echo out; echo first >&2; echo no such host >&2; exit 7";
    let mut settings = json!({ "shell": "/bin/sh -c", "command": script });
    let mut fixture = Fixture::new(&settings, channels.clone());
    fixture.run().await.unwrap();
    assert_eq!(fixture.counted("command_failed"), 1);
    settings["restart"] = json!(true);
    settings["restart_throttle"] = json!("150ms");
    let mut fixture = Fixture::new(&settings, channels.clone());
    let error = fixture.run().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.message.contains("exit status: 7: no such host"), "{error}");
    let failed = Instant::now();
    fixture.source.open(&fixture.cx).await.unwrap();
    assert!(failed.elapsed() >= Duration::from_millis(100), "it is not started at once");
    assert_eq!(channels.bodies(0), ["out", "out"]);
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_an_error_of_opening() {
    for command in ["/no/such/program -x", "/etc/passwd"] {
        let mut fixture = Fixture::new(&json!({ "command": command }), Arc::new(Channels::new(1)));
        let error = fixture.source.open(&fixture.cx).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "it may come");
        assert!(error.message.contains(command), "{error}");
    }
}

#[tokio::test]
async fn a_stop_stores_what_came_and_ends_the_command_and_all_that_it_started() {
    let channels = Arc::new(Channels::new(1));
    let script = "sleep 600 & trap 'echo bye; exit' TERM; echo $!; wait";
    let settings = json!({ "shell": "/bin/sh -c", "command": script, "batch_events": 1 });
    let (running, stop) = Fixture::new(&settings, channels.clone()).spawn();
    channels.wait_for_events(1).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let bodies = channels.bodies(0);
    assert_eq!(bodies[1..], ["bye"]);
    let lives = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", bodies[0]));
        status.is_ok_and(|status| !status.contains("State:\tZ"))
    };
    for _ in 0..2_000 {
        if !lives() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("the inner process lives");
}

#[tokio::test]
async fn a_command_that_ignores_the_stop_is_killed() {
    let channels = Arc::new(Channels::new(1));
    let script = "trap '' TERM; echo one; while :; do sleep 600; done";
    let settings = json!({ "shell": "/bin/sh -c", "command": script, "batch_events": 1 });
    let (running, stop) = Fixture::new(&settings, channels.clone()).spawn();
    channels.wait_for_line("one").await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_channel_holds_the_command_back_and_a_failing_one_loses_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("done");
    let channels = Arc::new(Channels::new(1));
    let narrow = Arc::new(Narrow::new(channels.clone(), 0));
    let script = format!("seq 200000; touch {}", marker.display());
    let (running, _stop) = Fixture::sh(&script, narrow.clone()).spawn();
    narrow.wait_for_waiting(1).await;
    assert!(!marker.exists(), "it waits at its next write");
    channels.refuse(0, 1);
    narrow.give(1_000);
    running.await.unwrap().unwrap();
    assert!(marker.exists());
    let expected: Vec<String> = (1..=200_000).map(|n: u32| n.to_string()).collect();
    assert_eq!(channels.bodies(0), expected);
}

/// A stack trace.
const TRACE: &str = "2026-11-25 ERROR failed\njava.lang.X: no answer\n\n\tat a.B(C.java:1)";

fn joined(script: &str) -> Value {
    json!({
        "shell": "/bin/sh -c", "command": script,
        "multiline": { "start": r"^\d{4}-", "timeout": "50ms" },
    })
}

#[tokio::test]
async fn a_stack_trace_is_one_event_and_the_end_of_the_output_ends_the_last_one() {
    let channels = Arc::new(Channels::new(1));
    // Written in pieces, with both kinds of line ends.
    let script = r"printf '2026-11-25 ERROR fai'; printf 'led\njava.lang.X: no answer\r\n\n';
        printf '\tat a.B(C.java:1)\n2026-11-25 INFO last\n  of all'";
    let mut settings = joined(script);
    settings["multiline"]["timeout"] = json!("1h");
    Fixture::new(&settings, channels.clone()).run().await.unwrap();
    assert_eq!(channels.bodies(0), [TRACE, "2026-11-25 INFO last\n  of all"]);
}

#[tokio::test]
async fn a_pause_ends_an_event_and_later_lines_begin_another() {
    let channels = Arc::new(Channels::new(1));
    let script = r"printf '2026- a\n b\n'; sleep 0.5; printf ' c\n 2026-\n'; exec sleep 600";
    let mut settings = joined(script);
    settings["batch_timeout"] = json!("10ms");
    let (running, stop) = Fixture::new(&settings, channels.clone()).spawn();
    channels.wait_for_line(" c\n 2026-").await;
    assert_eq!(channels.bodies(0), ["2026- a\n b", " c\n 2026-"]);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_stores_the_unfinished_event() {
    for (begins, ends) in [("", ""), ("trap '' TERM; ", "; while :; do sleep 600; done")] {
        let channels = Arc::new(Channels::new(1));
        let script = format!(r"{begins}printf '2026- a\n2026- b\n c\n'{ends}; exec sleep 600");
        let mut settings = joined(&script);
        settings["multiline"]["timeout"] = json!("1h");
        settings["batch_events"] = json!(1);
        let (running, stop) = Fixture::new(&settings, channels.clone()).spawn();
        channels.wait_for_line("2026- a").await;
        stop.cancel();
        running.await.unwrap().unwrap();
        assert_eq!(channels.bodies(0), ["2026- a", "2026- b\n c"], "{script}");
    }
}

#[tokio::test]
async fn divides_large_events_and_cuts_long_lines() {
    let channels = Arc::new(Channels::new(1));
    let mut settings = joined(r"printf '2026-\n1\n2\n3\n12345678\n4\n'");
    settings["multiline"]["lines_max"] = json!(3);
    settings["line_max"] = json!("7B");
    let mut fixture = Fixture::new(&settings, channels.clone());
    fixture.run().await.unwrap();
    assert_eq!(channels.bodies(0), ["2026-\n1\n2", "3", "1234567", "4"]);
    assert_eq!(channels.events(0)[2].headers["truncated"], "true");
    assert_eq!((fixture.counted("event_divided"), fixture.counted("line_cut")), (1, 1));
}

#[test]
fn settings_that_can_never_work_are_named() {
    let cx = crate::alone("in", Path::new("unused"), env::real());
    for (settings, named) in [
        (json!({ "command": " " }), "command"),
        (json!({ "command": [] }), "command"),
        (json!({ "command": ["ls"], "shell": "/bin/sh -c" }), "command"),
        (json!({ "command": "ls", "shell": "" }), "shell"),
        (json!({ "command": "ls", "line_max": "0B" }), "line_max"),
        (json!({ "command": "ls", "batch_events": 0 }), "batch_events"),
        (json!({ "command": "ls", "restart_throttle": "0s" }), "restart_throttle"),
        (json!({ "command": "ls", "multiline": {} }), "multiline"),
    ] {
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, named, "{error}");
    }
}

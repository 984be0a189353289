//! A journalctl that fails, exits early or prints invalid output loses and repeats no entry, and
//! the problem is logged.
//!
//! Method: the source as a configuration builds it, with a shell script instead of journalctl,
//! because the real one does not fail at a chosen byte. The system test `journald` reads a real
//! journal.

#![expect(clippy::disallowed_methods, reason = "the tests write a program")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use kit::testkit::channels::Channels;
use metrics::SourceReason;
use pipeline::testkit::{build, position_context};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;

/// Shell function that prints an entry like journalctl.
const ENTRY: &str = r#"entry() { # number, message
    printf '__CURSOR=s=a;i=%x;b=b;m=%x;t=%x;x=%x\n' "$1" "$1" "$1" "$1"
    printf '__REALTIME_TIMESTAMP=%d000\nPRIORITY=6\nMESSAGE=%s\n\n' "$1" "$2"
}
"#;

struct Fixture {
    directory: tempfile::TempDir,
    source: Box<dyn Source>,
    metrics: Metrics,
    channels: Arc<Channels>,
    cx: SourceContext,
}

impl Fixture {
    fn new(script: &str, mut settings: Value, channels: Arc<Channels>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("journalctl");
        let script = format!("#!/bin/sh\necho \"$@\" >> $0.calls\n{ENTRY}{script}\n");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        settings["journalctl"] = json!(program);
        let cx = crate::alone("in", Path::new("unused"), env::real());
        let metrics = cx.metrics.clone();
        let source = build::<Config>(&settings, &cx).unwrap();
        let cx = position_context(channels.clone(), CancellationToken::new());
        Self { directory, source, metrics, channels, cx }
    }

    async fn run(&mut self) -> SourceError {
        loop {
            let Err(error) = self.source.open(&self.cx).await else { break };
            // The child of another test still had the script open for writing.
            let cause = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
            if !cause.contains("busy") {
                return error;
            }
            tokio::task::yield_now().await;
        }
        self.source.run(self.cx.clone()).await.unwrap_err()
    }

    fn counted(&self, reason: &'static str) -> u64 {
        let label = SourceReason { source: "in".into(), reason };
        self.metrics.source_anomalies.get_or_create(&label).get()
    }

    /// Returns the arguments of the calls so far.
    fn calls(&self) -> Vec<String> {
        let path = self.directory.path().join("journalctl.calls");
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_call_goes_on_where_the_one_before_it_ended_and_half_an_entry_is_none() {
    let script = r#"case "$*" in
        *--follow*--cursor=*i=2*) entry 2 two; entry 3 three; printf 'MESSAGE=half of'; exit 1 ;;
        *--follow*) exit 9 ;;
        *i=3*) entry 3 three; entry 4 four; exit 1 ;;
        *) entry 1 one; entry 2 two ;;
    esac"#;
    let mut fixture = Fixture::new(script, json!({}), Arc::new(Channels::new(1)));
    let error = fixture.run().await;
    assert!(error.message.contains("exit status: 1"), "{error}");
    fixture.run().await;
    assert_eq!(fixture.channels.bodies(0), ["one", "two", "three", "four"]);
    assert_eq!(fixture.counted("journalctl_failed"), 2);
    assert_eq!(fixture.counted("cursor_gone"), 0);
    let calls = fixture.calls();
    assert!(!calls[0].contains("--cursor") && calls[2].contains("i=3;"), "{calls:?}");
}

#[tokio::test]
async fn an_entry_that_is_gone_is_counted_once_and_reading_goes_on_behind_it() {
    let script = r#"case "$*" in
        *--follow*) entry 2 two; exit 1 ;;
        *i=2*) entry 7 seven; entry 9 nine; exit 1 ;;
        *) entry 2 two ;;
    esac"#;
    let mut fixture = Fixture::new(script, json!({}), Arc::new(Channels::new(1)));
    fixture.run().await;
    fixture.run().await;
    assert_eq!(fixture.channels.bodies(0), ["two", "seven", "nine"]);
    assert_eq!(fixture.counted("cursor_gone"), 1);
}

#[tokio::test]
async fn invalid_output_ends_the_call_and_earlier_entries_are_read_once() {
    let script = "case \"$*\" in *i=1*) entry 1 one; entry 2 two; exit 1 ;;
        *) entry 1 one; echo '-- No entries --'; exec sleep 600 ;; esac";
    let settings = json!({ "batch_events": 1 });
    let mut fixture = Fixture::new(script, settings, Arc::new(Channels::new(1)));
    let error = fixture.run().await;
    assert!(error.message.contains("not in the export format of the journal"), "{error}");
    assert_eq!(fixture.counted("output_malformed"), 1);
    fixture.run().await;
    assert_eq!(fixture.channels.bodies(0), ["one", "two"]);
}

#[tokio::test]
async fn a_source_that_starts_at_the_end_keeps_its_time_after_a_restart() {
    let settings = json!({ "begin": "end" });
    let mut fixture = Fixture::new("exit 1", settings, Arc::new(Channels::new(1)));
    fixture.run().await;
    fixture.run().await;
    let calls = fixture.calls();
    assert!(calls[0].contains("--since=@"), "{calls:?}");
    assert_eq!(calls[0], calls[1]);
}

#[tokio::test]
async fn reports_missing_features_of_journalctl_with_a_remedy() {
    let script = "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1";
    let mut fixture = Fixture::new(script, json!({}), Arc::new(Channels::new(1)));
    let error = fixture.run().await;
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.message.contains("insufficient permissions"), "{error}");
    assert!(error.message.contains("group `systemd-journal`"), "{error}");
    assert_eq!(fixture.counted("journalctl_warned"), 1);
    let cx = crate::alone("in", Path::new("unused"), env::real());
    let mut missing = build::<Config>(&json!({ "journalctl": "/no/such" }), &cx).unwrap();
    let error = missing.open(&fixture.cx).await.unwrap_err();
    let cause = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(error.message.contains("install") && cause.contains("/no/such"), "{error}: {cause}");
    let none = position_context(Arc::new(Channels::new(0)), CancellationToken::new());
    let error = fixture.source.open(&none).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Fatal);
}

#[tokio::test]
async fn channel_that_is_behind_gets_the_missing_entries_only() {
    let script = r#"case "$(wc -l < $0.calls) $*" in
        "1 "*) entry 1 one; entry 2 two; exit 1 ;;
        *i=2*) entry 2 two; entry 3 three; exit 1 ;;
        *) entry 1 one; entry 2 two; entry 3 three; exec sleep 600 ;;
    esac"#;
    let mut fixture = Fixture::new(script, json!({}), Arc::new(Channels::new(2)));
    fixture.run().await;
    fixture.channels.clear(1);
    fixture.run().await;
    for channel in 0..2 {
        assert_eq!(fixture.channels.bodies(channel), ["one", "two", "three"], "{channel}");
    }
    assert_eq!(fixture.counted("cursor_gone"), 0);
}

#[tokio::test]
async fn a_long_message_is_cut_marked_and_counted_and_headers_show_fields() {
    let script = r#"entry 5 "$(head -c 5000 /dev/zero | tr '\0' x)"; entry 6 six; exit 1"#;
    let settings = json!({ "message_max": "4KiB" });
    let mut fixture = Fixture::new(script, settings, Arc::new(Channels::new(1)));
    fixture.run().await;
    let events = fixture.channels.events(0);
    assert_eq!(events[0].body.len(), 4096);
    assert_eq!(events[0].headers["truncated"], "true");
    assert_eq!(events[1].headers["timestamp"], "6");
    assert_eq!(events[1].headers["Severity"], "6");
    assert!(!events[1].headers.contains_key("truncated"));
    assert_eq!(fixture.counted("message_cut"), 1);
}

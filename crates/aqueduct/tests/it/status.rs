//! Goal: an operator sees the state of an agent from outside, working or not, and every event is
//! accounted for.
//!
//! Method: an agent in a child process generates numbers and stores them in files. `aqueduct
//! status` queries it, as text and as JSON.

#[allow(dead_code, reason = "a part of it is used here")]
use std::fs;
use std::net::TcpListener;

use crate::common::{Agent, aqueduct, storing, text, write};
use agent::status::{MemberStatus, Snapshot, State};
use support::loopback::free_address;

/// Numbers that the source generates.
const COUNT: u64 = 1_000;

struct Place {
    dir: tempfile::TempDir,
    admin: String,
}

impl Place {
    /// Configures an agent with additional settings of its source and its channel.
    fn new(source: &str, channel: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let admin = free_address().to_string();
        let config = storing(dir.path(), &admin, source, channel);
        write(&dir.path().join("agent.toml"), &config);
        Self { dir, admin }
    }

    fn start(&self) -> Agent {
        let config = self.dir.path().join("agent.toml").display().to_string();
        Agent::start(&["collector", "--config", &config])
    }

    /// Returns exit code and output.
    fn status(&self) -> (Option<i32>, String) {
        let output = aqueduct(&["status", &self.admin]);
        (output.status.code(), text(&output))
    }

    /// Returns the agent's snapshot when it meets a condition.
    fn once(&self, agent: &Agent, so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let snapshot = || {
            let output = aqueduct(&["status", &format!("http://{}/", self.admin), "--json"]);
            serde_json::from_str::<Snapshot>(&text(&output)).ok()
        };
        agent.until(|| snapshot().is_some_and(|snapshot| so(&snapshot)));
        snapshot().unwrap()
    }
}

fn member(snapshot: &Snapshot) -> &MemberStatus {
    &snapshot.groups[0].members[0]
}

fn numbers() -> String {
    format!("type = \"sequence\"\ncount = {COUNT}\nbatch_events = 10")
}

const DURABLE: &str = "type = \"durable\"\ncapacity = \"64MiB\"";

#[test]
fn a_healthy_agent_shows_what_went_through_it_and_where_each_event_is() {
    let filter = "interceptors = [{ type = \"regex_filter\", regex = \"7$\", exclude = true }]";
    let place = Place::new(&format!("{}\n{filter}", numbers()), DURABLE);
    let agent = place.start();
    let stored = COUNT - COUNT / 10;
    let snapshot = place.once(&agent, |snapshot| {
        let is_stored = snapshot.groups[0].delivered.events_total == stored;
        // The last file is closed after its events were delivered.
        is_stored && snapshot.ready && member(snapshot).open_files == Some(0)
    });
    let (source, channel) = (&snapshot.sources[0], &snapshot.channels[0]);
    assert_eq!((&*source.kind, &*source.guarantee), ("sequence", "exactly_once"));
    assert_eq!((&source.state, source.accepted.events_total), (&State::Running, COUNT));
    assert_eq!(channel.stored.events_total, stored);
    assert_eq!((channel.depth_events, channel.oldest_event_seconds), (0, None));
    assert_eq!(channel.consumers, ["store"]);
    let store = member(&snapshot);
    assert_eq!((&store.state, store.delivered_events), (&State::Running, stored));
    assert!(store.last_delivery_seconds_ago.is_some() && store.open_files == Some(0), "{store:?}");
    assert!(store.last_commit.as_ref().unwrap().contains(" events, "), "{store:?}");
    let sum = &snapshot.conservation;
    assert_eq!((sum.accepted_events, sum.delivered_events), (COUNT, stored));
    assert_eq!(sum.dropped_events["filtered_by_interceptor"], COUNT / 10);
    assert_eq!((sum.held_events, sum.difference_events), (0, 0));
    let (code, page) = place.status();
    assert_eq!(code, Some(0), "{page}");
    let sum = format!("1000 accepted = {stored} delivered + 100 filtered by interceptor");
    for wanted in ["agent one, version ", ": ready\n", "sequence  running", &sum, "difference 0"] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    agent.stop();
}

#[test]
fn a_sink_that_fails_is_shown_with_its_error_and_its_events_are_held() {
    let place = Place::new(&numbers(), DURABLE);
    fs::write(place.dir.path().join("store"), "in the way").unwrap();
    let agent = place.start();
    let snapshot = place.once(&agent, |snapshot| {
        let fails = matches!(member(snapshot).state, State::Failing { .. });
        fails && snapshot.conservation.held_events == COUNT && snapshot.ready
    });
    let State::Failing { last_error, .. } = &member(&snapshot).state else { panic!("it fails") };
    assert!(last_error.contains("store"), "{last_error}");
    assert!(matches!(snapshot.groups[0].state, State::Waiting { .. }), "{snapshot:?}");
    assert_eq!(snapshot.channels[0].depth_events, COUNT);
    assert!(snapshot.channels[0].oldest_event_seconds.is_some());
    assert_eq!(snapshot.conservation.difference_events, 0);
    let (code, page) = place.status();
    assert_eq!(code, Some(0), "traffic may go on: {page}");
    assert!(page.contains("FAILING") && page.contains("sink store fails: "), "{page}");
    let help = "no restart is needed: https://aqueduct.example/runbook.html#a-source-a-sink-or-";
    assert!(page.contains(help), "{page}");
    agent.stop();
    // After a restart, the agent delivers the remaining events.
    fs::remove_file(place.dir.path().join("store")).unwrap();
    let agent = place.start();
    let done = |snapshot: &Snapshot| snapshot.conservation.delivered_events == COUNT;
    let sum = place.once(&agent, done).conservation;
    assert_eq!((sum.held_at_start_events, sum.accepted_events), (COUNT, 0));
    assert_eq!((sum.held_events, sum.difference_events), (0, 0));
    agent.stop();
}

#[test]
fn a_full_channel_stops_its_source_which_waits_and_the_agent_is_not_ready() {
    let numbers = "type = \"sequence\"\nsize = \"1KiB\"\nbatch_events = 10";
    let place = Place::new(numbers, "type = \"memory\"\ncapacity = \"256KiB\"");
    fs::write(place.dir.path().join("store"), "in the way").unwrap();
    let agent = place.start();
    let snapshot = place.once(&agent, |snapshot| match &snapshot.sources[0].state {
        State::Waiting { since_seconds_ago, .. } => *since_seconds_ago > 0.5,
        _ => false,
    });
    let State::Waiting { waits_for, .. } = &snapshot.sources[0].state else { panic!("it waits") };
    assert_eq!(waits_for, "free capacity in channel `main`");
    let channel = &snapshot.channels[0];
    assert!(channel.intake_stopped && channel.fill_ratio > 0.9, "{channel:?}");
    assert!(channel.waiting_since_seconds_ago.unwrap() > 0.5, "{channel:?}");
    assert!(!snapshot.ready && snapshot.reasons[0].contains("channel `main`"), "{snapshot:?}");
    assert_eq!(snapshot.conservation.difference_events, 0, "nothing moves: {snapshot:?}");
    assert_eq!(channel.until_full_seconds, None, "it is full");
    let root = &snapshot.troubles[0];
    assert_eq!((&*root.component, &root.caused_by), ("sink store", &None), "{snapshot:?}");
    assert!(root.since_seconds_ago.is_some(), "{root:?}");
    let caused = |component: &str| {
        let it = snapshot.troubles.iter().find(|it| it.component == component);
        it.and_then(|it| it.caused_by.as_deref())
    };
    assert_eq!(caused("channel main"), Some("sink store"));
    assert_eq!(caused("source in"), Some("sink store"));
    let (code, page) = place.status();
    assert_eq!(code, Some(1), "{page}");
    for wanted in ["NOT READY", " STOPPED", "source in waits for free capacity in channel `main`"] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    agent.stop();
}

#[test]
fn a_source_that_follows_no_file_is_found_until_there_is_one() {
    let logs = tempfile::tempdir().unwrap();
    let paths = format!("paths = [\"{}/*.log\"]", logs.path().display());
    let place = Place::new(&format!("type = \"tail_dir\"\n{paths}"), DURABLE);
    let agent = place.start();
    let found = |snapshot: &Snapshot| snapshot.verdict.text.contains("source in follows 0 files");
    let snapshot = place.once(&agent, found);
    let trouble = &snapshot.troubles[0];
    assert!(trouble.text.contains("*.log`: no file in "), "{trouble:?}");
    assert!(trouble.runbook.ends_with("#a-source-follows-no-files"), "{trouble:?}");
    assert!(snapshot.ready, "it may be created later");
    let (_, page) = place.status();
    assert!(page.contains("FILES") && page.contains("0, 0 B unread"), "{page}");
    fs::write(logs.path().join("a.log"), "1\n").unwrap();
    let snapshot = place.once(&agent, |snapshot| snapshot.verdict.text == "All is well");
    let files = snapshot.sources[0].files.as_ref().unwrap();
    assert_eq!((files.followed, files.unreadable, &files.problem), (1, 0, &None));
    agent.stop();
}

#[test]
fn a_source_whose_port_is_taken_fails_until_it_is_free() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("type = \"grpc\"\nlisten = \"{}\"", other.local_addr().unwrap());
    let place = Place::new(&listen, DURABLE);
    let agent = place.start();
    let failing = |snapshot: &Snapshot| matches!(snapshot.sources[0].state, State::Failing { .. });
    let snapshot = place.once(&agent, failing);
    let State::Failing { last_error, .. } = &snapshot.sources[0].state else { panic!("it fails") };
    assert!(last_error.contains("in use") && !snapshot.ready, "{snapshot:?}");
    assert_eq!(place.status().0, Some(1));
    drop(other);
    let running = |snapshot: &Snapshot| snapshot.sources[0].state == State::Running;
    assert!(place.once(&agent, running).ready);
    agent.stop();
}

#[test]
fn an_address_where_no_agent_answers_is_named() {
    let address = free_address().to_string();
    let output = aqueduct(&["status", &address]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for wanted in [&*address, "refused", "agent.admin"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert!(output.stdout.is_empty());
}

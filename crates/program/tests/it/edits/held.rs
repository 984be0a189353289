//! Parts that an operator stops stay stopped, started ones resume, and channels are empty at the
//! end of a drain and of finite sources.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use agent::status::{Cause, DrainState, ReloadResult, Snapshot, State};
use control::audit::{Line, Outcome};

use super::place::{Agent, Place, status};

/// Numbers of a source that ends.
const NUMBERS: u64 = 3_000;

/// A flow into files that stay open for an hour, as fast as `rate` numbers a second.
fn flow(place: &Place, rate: u64, more: &str) -> String {
    let at = place.dir.path().display();
    format!(
        "[agent]\nname = \"a\"\ndata_dir = \"{at}/data\"\nadmin = \"127.0.0.1:{}\"\n\
         grace = \"9s\"\n\
         [sources.in]\ntype = \"sequence\"\ncount = {NUMBERS}\nrate = {rate}\nbatch_events = 10\n\
         channels = [\"main\"]\n[channels.main]\ntype = \"durable\"\n\
         [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\nurl = \"file://{at}/store\"\n\
         roll = {{ idle_max = \"1h\", age_max = \"1h\" }}\n{more}",
        place.admin
    )
}

fn start(place: &Place, text: &str) -> Agent {
    fs::write(place.file(), text).unwrap();
    let agent = Agent::start(place);
    place.until("the start", || status(place.admin).is_some());
    agent
}

fn is_held(state: &State) -> bool {
    matches!(state, State::Held { .. })
}

fn delivered(status: &Snapshot) -> u64 {
    status.conservation.delivered_events
}

fn audited(place: &Place) -> Vec<(String, Outcome)> {
    let lines: Vec<Line> = serde_json::from_str(&place.ask("GET /audit?newest=50")).unwrap();
    lines.into_iter().map(|line| (line.action, line.outcome)).collect()
}

/// Each number is in the store once, and the agent agrees.
fn assert_once(place: &Place) {
    let stored = place.stored("store");
    assert_eq!(stored.len() as u64, NUMBERS);
    assert!(stored.values().all(|times| *times == 1), "a number is repeated");
}

#[test]
fn stopped_group_stays_stopped_over_reloads_and_restarts() {
    let place = Place::new();
    let agent = start(&place, &flow(&place, 1_000, ""));
    place.until("the first numbers", || {
        status(place.admin).is_some_and(|it| it.channels[0].stored.events_total > 100)
    });
    let done = place.change("stop?group=store");
    assert_eq!(
        (done.result, &*done.changed),
        (ReloadResult::Applied, &["groups.store".into()][..])
    );
    let again = place.change("stop?group=store");
    assert_eq!((again.result, again.held.len()), (ReloadResult::Unchanged, 1));
    let stays = |what: &str| {
        let before = delivered(&place.status());
        std::thread::sleep(Duration::from_millis(600));
        let shown = place.status();
        assert!(is_held(&shown.groups[0].state), "{what}: {:?}", shown.groups[0].state);
        assert_eq!(delivered(&shown), before, "{what}: it delivers");
        assert!(shown.troubles.iter().any(|it| it.cause == Cause::Held), "{what}");
        assert!(shown.ready && shown.remarks[0].starts_with("groups.store has been"), "{what}");
        let metrics = place.ask("GET /metrics");
        assert!(metrics.contains("aqueduct_part_held_since_seconds{part=\"groups.store\"} 1"));
        assert!(!metrics.contains("aqueduct_sink_up{"), "{what}: it neither works nor fails");
    };
    stays("stopped");
    assert_eq!(place.reload().result, ReloadResult::Unchanged);
    stays("nothing has changed");
    // Its own settings, its channel's settings, and another part's.
    for change in [
        ("1h\" }", "2h\" }"),
        ("\"durable\"", "\"durable\"\ncapacity = \"32MiB\""),
        ("= 10\n", "= 20\n"),
    ] {
        let text = fs::read_to_string(place.file()).unwrap().replace(change.0, change.1);
        fs::write(place.file(), text).unwrap();
        let answer = place.reload();
        assert!(answer.error.is_none(), "{change:?}: {answer}");
        stays(change.1);
    }
    agent.stop();
    let agent = start(&place, &fs::read_to_string(place.file()).unwrap());
    stays("after a restart");

    let done = place.change("start?group=store");
    assert_eq!((done.result, done.held.len()), (ReloadResult::Applied, 0), "{done}");
    assert!(!place.ask("GET /metrics").contains("aqueduct_part_held_since_seconds{"));
    place.until("all numbers", || {
        let stored = place.stored("store").len() as u64;
        stored + place.status().channels[0].depth_events == NUMBERS
    });
    assert_eq!(place.status().conservation.difference_events, 0);
    // Stopping the agent without a drain leaves the backlog in the channel.
    place.change("drain?timeout=60&exit");
    agent.end();
    assert_once(&place);
}

#[test]
fn a_drain_ends_with_empty_channels_whatever_the_sinks_keep_open() {
    let place = Place::new();
    let agent = start(&place, &flow(&place, 200, ""));
    place.until("the first numbers", || {
        status(place.admin).is_some_and(|it| it.channels[0].stored.events_total > 100)
    });
    let begun = place.change("drain?timeout=60");
    assert_eq!(begun.drain.map(|it| it.state), Some(DrainState::Draining));
    assert!(begun.held[0].by_drain && begun.held[0].part == "sources.in", "{:?}", begun.held);
    place.until("the drain", || {
        let shown = place.status();
        let drain = shown.drain.clone().unwrap();
        let is_over = drain.state != DrainState::Draining;
        assert!(!is_over || shown.channels[0].depth_events == 0, "{drain:?}");
        is_over
    });
    let shown = place.status();
    assert_eq!(shown.drain.as_ref().map(|it| it.state), Some(DrainState::Drained));
    let accepted = shown.conservation.accepted_events;
    assert_eq!((shown.channels[0].depth_events, delivered(&shown)), (0, accepted));
    assert_eq!(place.stored("store").len() as u64, accepted, "what is delivered is visible");
    assert!(!shown.ready && shown.reasons[0].contains("every source"), "{:?}", shown.reasons);
    assert!(place.ask("GET /livez").starts_with("alive"), "no restart would help");

    // A stopped group cannot drain, which is reported immediately.
    place.change("stop?group=store");
    let refused = place.change("drain");
    assert!(refused.error.is_some_and(|it| it.contains("start the group first")));
    // A source that starts again ends a drain.
    assert_eq!(place.change("start?all").changed, ["sources.in", "groups.store"]);
    place.until("it to go on", || place.status().channels[0].depth_events > 0);
    assert!(place.status().ready);
    place.change("drain?timeout=60");
    place.change("start?source=in");
    place.until("the end of the drain", || {
        place.status().drain.is_some_and(|it| it.state == DrainState::Ended)
    });
    // A drain that takes too long reports that, and the source stays stopped.
    place.change("start?all");
    let text = fs::read_to_string(place.file()).unwrap();
    fs::write(place.dir.path().join("in-the-way"), "no folder").unwrap();
    fs::write(place.file(), text.replace("/store\"", "/in-the-way/store\"")).unwrap();
    assert!(place.reload().error.is_none());
    place.until("what cannot be stored", || place.status().channels[0].depth_events > 0);
    place.change("drain?timeout=1");
    place.until("its limit", || {
        place.status().drain.is_some_and(|it| it.state == DrainState::TimedOut)
    });
    assert!(is_held(&place.status().sources[0].state));
    fs::write(place.file(), &text).unwrap();
    assert!(place.reload().error.is_none());

    // With `exit` the agent ends, and its next start is a whole one.
    place.change("drain?timeout=60&exit");
    agent.end();
    let agent = start(&place, &text);
    assert_eq!(place.status().held, []);
    place.until("the last number", || {
        let stored = place.stored("store").len() as u64;
        stored + place.status().channels[0].depth_events == NUMBERS
    });
    agent.stop();
    assert_once(&place);
}

#[test]
fn unstartable_parts_stay_stopped_and_removed_ones_are_forgotten() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let more = format!(
        "[sources.web]\ntype = \"http\"\nlisten = \"127.0.0.1:{port}\"\nchannels = [\"main\"]\n"
    );
    let agent = start(&place, &flow(&place, 1_000, &more));
    place.until_ready();
    assert_eq!(place.change("stop?source=web").result, ReloadResult::Applied);
    assert!(place.status().ready, "another source takes events");
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let failed = place.change("start?source=web");
    assert_eq!(failed.result, ReloadResult::RolledBack, "{failed}");
    assert!(failed.error.is_some_and(|it| it.contains("source `web`: ")));
    assert_eq!(failed.held.len(), 1);
    drop(taken);
    agent.stop();
    let agent = start(&place, &fs::read_to_string(place.file()).unwrap());
    place.until_ready();
    let shown = place.status();
    let web = shown.sources.iter().find(|it| it.name == "web").unwrap();
    assert!(is_held(&web.state), "{:?}", web.state);
    // Without a separate port.
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
    fs::write(place.file(), flow(&place, 1_000, "")).unwrap();
    assert!(place.reload().error.is_none());
    let shown = place.status();
    assert_eq!((shown.held.len(), shown.sources.len()), (0, 1), "{:?}", shown.sources);
    fs::write(place.file(), flow(&place, 1_000, &more)).unwrap();
    assert!(place.reload().error.is_none());
    place.until_ready();
    assert!(TcpListener::bind(("127.0.0.1", port)).is_err(), "it is a new source");
    assert_eq!(place.change("stop?source=wab").result, ReloadResult::Refused);
    let done = |action: &str, outcome| (action.to_owned(), outcome);
    assert_eq!(
        audited(&place),
        [
            done("stop", Outcome::Failed),
            done("reload", Outcome::Done),
            done("reload", Outcome::Unchanged),
            done("start", Outcome::Failed),
            done("stop", Outcome::Done),
        ]
    );
    agent.stop();
}

#[test]
fn finite_run_stores_its_last_events_without_waiting_for_idle_files() {
    let place = Place::new();
    // A source of the kind `sequence` stays connected after its last number.
    let text = flow(&place, 100_000, "");
    let own = format!("type = \"sequence\"\ncount = {NUMBERS}\nrate = 100000\nbatch_events = 10\n");
    let ends = format!("type = \"exec\"\ncommand = \"seq 1 {NUMBERS}\"\n");
    let agent = start(&place, &text.replace(&own, &ends));
    place.until("all numbers", || status(place.admin).is_some_and(|it| delivered(&it) == NUMBERS));
    let shown = place.status();
    assert_eq!(
        (&shown.sources[0].state, &shown.groups[0].state),
        (&State::Stopped, &State::Running)
    );
    assert_eq!((shown.drain, shown.channels[0].depth_events), (None, 0), "no drain was needed");
    agent.stop();
    assert_once(&place);
}

/// A group that was ahead before a restart has less to deliver than the others after it.
#[test]
fn groups_with_different_backlogs_are_balanced_after_a_restart() {
    let place = Place::new();
    let other = "[sinks.other]\ntype = \"discard\"\nchannel = \"main\"\n";
    let text = flow(&place, 100_000, other);
    let agent = start(&place, &text);
    let done = place.change("stop?group=store");
    assert_eq!(done.result, ReloadResult::Applied, "{done}");
    place.until("all numbers in the other sink", || {
        let groups = place.status().groups;
        groups.iter().any(|it| it.name == "other" && it.delivered.events_total == NUMBERS)
    });
    let depth = place.status().channels[0].depth_events;
    assert!(depth > 0, "the stopped group has them all");
    agent.stop();
    let agent = start(&place, &text);
    let shown = place.status();
    assert_eq!(shown.channels[0].depth_events, depth);
    assert_eq!(shown.conservation.difference_events, 0, "{:?}", shown.conservation);
    place.change("start?group=store");
    place.change("drain?timeout=60");
    place.until("the drain", || place.status().channels[0].depth_events == 0);
    let shown = place.status();
    assert_eq!(shown.conservation.difference_events, 0, "{:?}", shown.conservation);
    agent.stop();
    assert_once(&place);
}

//! Effects of a reload on single parts.

use std::fs;
use std::time::Duration;

use agent::status::{LeftBehind, ReloadResult};

use super::place::{Agent, Place};

/// Numbers of a source that ends.
const NUMBERS: usize = 500;

/// The tables of an agent with a flow `main`, which ends in a discarding sink.
fn agent(place: &Place, settings: &str) -> String {
    let at = place.dir.path().display();
    format!(
        "[agent]\nname = \"a\"\ndata_dir = \"{at}/data\"\nadmin = \"127.0.0.1:{}\"\n{settings}\n\
         [sources.main]\ntype = \"sequence\"\nrate = 100\nbatch_events = 10\n\
         channels = [\"main\"]\n[channels.main]\ntype = \"durable\"\n\
         [sinks.main]\ntype = \"discard\"\nchannel = \"main\"\n",
        place.admin
    )
}

fn start(place: &Place, text: &str) -> Agent {
    fs::write(place.file(), text).unwrap();
    let agent = Agent::start(place);
    place.until_ready();
    agent
}

#[test]
fn removed_channel_stays_on_disk_until_it_is_configured_again() {
    let place = Place::new();
    let at = place.dir.path().display();
    let without = agent(&place, "grace = \"1s\"");
    let with = format!(
        "{without}[sources.away]\ntype = \"sequence\"\ncount = {NUMBERS}\nbatch_events = 10\n\
         channels = [\"away\"]\n[channels.away]\ntype = \"durable\"\n\
         [sinks.away]\ntype = \"hdfs\"\nchannel = \"away\"\nurl = \"file://{at}/store/away\"\n\
         roll = {{ idle_max = \"40ms\" }}\n"
    );
    // A file at the path of the store.
    let store = place.dir.path().join("store");
    fs::write(&store, "in the way").unwrap();
    let agent = start(&place, &with);
    let held = || {
        let status = place.status();
        let channel = status.channels.iter().find(|it| it.name == "away");
        channel.map_or(0, |it| it.depth_events as usize)
    };
    place.until("the numbers", || held() == NUMBERS);

    fs::write(place.file(), &without).unwrap();
    let status = place.reload();
    assert_eq!(status.result, ReloadResult::Applied, "{status}");
    let left = LeftBehind { channel: "away".to_owned(), events: NUMBERS as u64 };
    assert_eq!(status.left_behind, [left]);
    assert!(status.took_seconds >= 1.0, "it waits for the grace: {status}");
    let shown = place.status();
    assert!(shown.channels.iter().all(|it| it.name != "away"), "it has left the page");
    assert!(shown.groups.iter().all(|it| it.name != "away"), "so has its group");
    assert!(!shown.remarks.iter().any(|it| it.contains("away")), "{:?}", shown.remarks);
    let metrics = place.ask("GET /metrics");
    for gauge in ["aqueduct_sink_up{sink=", "aqueduct_channel_events{channel="] {
        let is_shown = |name: &str| metrics.contains(&format!("{gauge}\"{name}\"}}"));
        assert!(is_shown("main") && !is_shown("away"), "{gauge} {metrics}");
    }

    fs::remove_file(&store).unwrap();
    fs::write(place.file(), &with).unwrap();
    let status = place.reload();
    assert_eq!(status.result, ReloadResult::Applied, "{status}");
    assert!(status.left_behind.is_empty(), "{status}");
    place.until("the numbers in the store", || place.stored("store/away").len() == NUMBERS);
    place.until("the channel to be empty", || held() == 0);
    agent.stop();
    let stored = place.stored("store/away");
    assert_eq!(stored.keys().copied().collect::<Vec<_>>(), (0..NUMBERS as u64).collect::<Vec<_>>());
    assert!(stored.values().all(|times| *times == 1), "each once");
}

#[test]
fn changes_that_need_a_restart_refuse_the_whole_file_by_name() {
    let place = Place::new();
    let agent_runs = start(&place, &agent(&place, "grace = \"5s\""));
    let changed = agent(&place, "grace = \"6s\"\nflume_metrics = \"127.0.0.1:0\"");
    let changed = changed.replace("rate = 100", "rate = 200");
    fs::write(place.file(), format!("{changed}[dead_letters]\ncapacity = \"77MiB\"\n")).unwrap();
    let status = place.reload();
    assert_eq!(status.result, ReloadResult::Refused, "{status}");
    let error = status.error.unwrap();
    let named = "`agent.grace`, `agent.flume_metrics`, `dead_letters` needs a restart";
    assert!(error.contains(named), "{error}");
    assert!(place.ask("GET /config").contains("rate = 100"), "the page shows what runs");
    fs::write(place.file(), agent(&place, "grace = \"5s\"").replace("rate = 100", "rate = 200"))
        .unwrap();
    assert_eq!(place.reload().result, ReloadResult::Applied);
    assert!(place.ask("GET /config").contains("rate = 200"), "the page shows what runs");
    agent_runs.stop();
}

#[test]
fn changed_files_are_reloaded_including_included_ones() {
    let place = Place::new();
    let included = place.dir.path().join("part.toml");
    let part = |kind: &str| format!("[sinks.more]\ntype = \"{kind}\"\nchannel = \"main\"\n");
    fs::write(&included, part("discard")).unwrap();
    let text = agent(&place, "reload = \"watch\"");
    let agent = start(&place, &format!("include = [\"part.toml\"]\n{text}"));
    let asked = |result: ReloadResult| {
        place.until("the file to be read", || {
            let last = place.status().last_reload;
            last.is_some_and(|last| last.asked_by == "file change" && last.result == result)
        });
    };
    fs::write(&included, part("discart")).unwrap();
    asked(ReloadResult::Refused);
    let error = place.status().last_reload.unwrap().error.unwrap();
    assert!(error.contains("part.toml:2:8: "), "{error}");
    fs::write(&included, part("logger")).unwrap();
    asked(ReloadResult::Applied);
    let status = place.status();
    let group = status.groups.iter().find(|it| it.name == "more").unwrap();
    assert_eq!(group.members[0].kind, "logger");
    std::thread::sleep(Duration::from_secs(5));
    let last = place.status().last_reload.unwrap();
    assert!(last.finished_seconds_ago > 4.0, "a file that stays is not read again: {last}");
    agent.stop();
}

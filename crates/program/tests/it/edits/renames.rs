//! Sources whose positions have another name or are in another channel.
//!
//! Goal: no rename resends events without a report of the amount, and the remedy in the report
//! keeps every event stored once. Method: an agent that follows a file.

use std::fs;
use std::io::Write;

use agent::status::ReloadResult;
use catalogue::FULL;

use super::place::{Agent, Place};

/// Lines of the file.
const LINES: u64 = 100;

/// The configuration with these names.
fn named(place: &Place, source: &str, channel: &str) -> String {
    let at = place.dir.path().display();
    format!(
        "[agent]\nname = \"a\"\ndata_dir = \"{at}/data\"\nadmin = \"127.0.0.1:{}\"\n\
         [sources.{source}]\ntype = \"tail_dir\"\npaths = [\"{at}/logs/*.log\"]\n\
         channels = [\"{channel}\"]\n[channels.{channel}]\ntype = \"durable\"\n\
         [sinks.out]\ntype = \"hdfs\"\nchannel = \"{channel}\"\nurl = \"file://{at}/store/out\"\n\
         roll = {{ idle_max = \"40ms\" }}\n",
        place.admin
    )
}

/// An agent that has stored the file.
fn started(place: &Place) -> Agent {
    fs::create_dir(place.dir.path().join("logs")).unwrap();
    let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    fs::write(place.dir.path().join("logs/a.log"), lines).unwrap();
    fs::write(place.file(), named(place, "logs", "main")).unwrap();
    let agent = Agent::start(place);
    place.until_ready();
    until_stored(place, 1);
    agent
}

/// Waits until each line is stored this many times and the channel is empty.
fn until_stored(place: &Place, times: usize) {
    place.until("the lines in the store", || {
        let stored = place.stored("store/out");
        stored.len() as u64 == LINES && stored.values().all(|it| *it == times)
    });
    let is_empty = || place.status().channels.iter().all(|it| it.depth_events == 0);
    place.until("the channel to be empty", is_empty);
}

/// The warnings of `aqueduct check`.
fn checked(place: &Place) -> Vec<String> {
    let env = env::real();
    let settings = config::read_file(&place.file(), &env).unwrap();
    let (plan, errors) = config::examine("agent.toml", settings, "host");
    assert!(errors.is_empty(), "{errors:?}");
    agent::resends(&plan, FULL, &env).unwrap()
}

#[test]
fn check_and_reload_report_resends_after_a_rename() {
    for (source, channel, parts) in [
        (
            "logs",
            "other",
            ["1 position with 290B read are in channel `main`", "name the channel `main` again"],
        ),
        (
            "other",
            "main",
            ["1 position with 290B read of source `logs`", "name the source `logs` again"],
        ),
        ("other", "too", ["of source `logs` are in channel `main`", "if you renamed both"]),
    ] {
        let place = Place::new();
        let agent = started(&place);
        assert_eq!(checked(&place), [""; 0], "nothing is renamed");
        fs::write(place.file(), named(&place, source, channel)).unwrap();
        let before = checked(&place);
        let [report] = &before[..] else { panic!("{before:?}") };
        assert!(parts.iter().all(|part| report.contains(part)), "{report}");
        let status = place.reload();
        assert_eq!(status.result, ReloadResult::Applied, "{status}");
        assert_eq!(status.resends, before);
        assert!(status.to_string().contains(report), "{status}");
        until_stored(&place, 2);
        assert_eq!(checked(&place), [""; 0], "it has positions now");
        agent.stop();
    }
}

#[test]
fn positions_follow_the_directory_of_a_channel() {
    let place = Place::new();
    started(&place).stop();
    fs::write(place.file(), named(&place, "logs", "other")).unwrap();
    let reports = checked(&place);
    let channels = place.dir.path().join("data/channels");
    let (from, to) = (channels.join("main"), channels.join("other"));
    let remedy = format!("rename {} to {}", from.display(), to.display());
    assert!(matches!(&reports[..], [it] if it.contains(&remedy)), "{reports:?}");
    fs::rename(from, to).unwrap();
    assert_eq!(checked(&place), [""; 0]);
    let agent = Agent::start(&place);
    place.until_ready();
    let log = place.dir.path().join("logs/a.log");
    let mut log = fs::File::options().append(true).open(log).unwrap();
    writeln!(log, "{LINES}").unwrap();
    place.until("the new line", || place.stored("store/out").len() as u64 == LINES + 1);
    agent.stop();
    assert!(place.stored("store/out").values().all(|times| *times == 1), "each line once");
}

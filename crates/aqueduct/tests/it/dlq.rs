//! Undeliverable events of an agent are kept, shown, replayed, and finally arrive once.
//!
//! Method: the real executable in child processes. A collector accepts only small batches, so that
//! it permanently rejects an edge's large line; then its limit is raised.

#[allow(dead_code, reason = "a part of it is used here")]
use serde_json::Value;
use support::loopback::free_address;

use crate::common::{Agent, aqueduct, edge, read, stored, text, write};

#[test]
fn refused_line_stays_in_the_dead_letters_until_it_is_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let large = format!("large {}", "x".repeat(8000));
    write(&dir.path().join("a.log"), &format!("{large}\n"));
    let admin = free_address().to_string();
    let grace = format!("admin = \"{admin}\"\ngrace");
    let settings = edge(&at("edge"), &at("*.log")).replace("grace", &grace);
    write(&dir.path().join("edge.toml"), &settings);
    let store = format!("file://{}", at("store"));
    let verified = |account: &str, letters: u32, more: &[&str]| {
        let output = aqueduct(&[&["verify", "--store", &store, account], more].concat());
        let line = format!("  in dead letters {letters:>8} events\n");
        assert!(text(&output).contains(&line), "{output:?}");
        output.status.code()
    };

    let (collector, address) = Agent::collector(dir.path(), "4KiB");
    let edge = Agent::edge(dir.path(), &address);
    edge.until(|| !read(&dir.path().join("edge/dead-letters/LOCK")).is_empty());
    write(&dir.path().join("b.log"), "small\n");
    collector.until(|| stored(dir.path()).contains(&"small".to_owned()));
    let running = format!("http://{admin}");
    assert_eq!(verified(&running, 1, &[]), Some(1), "what is among dead letters is not proved");
    assert_eq!(verified(&running, 1, &["--complete"]), Some(1));

    let looked = aqueduct(&["dlq", "list", &at("edge")]);
    assert!(text(&looked).contains("main -> collector-1: 1 letter, 1 event"), "{looked:?}");
    assert!(text(&aqueduct(&["dlq", "show", &at("edge")])).contains(&large));
    let held = aqueduct(&["dlq", "replay", &at("edge")]);
    assert_eq!(held.status.code(), Some(1), "{held:?}");
    let owner = format!("process {} uses it", edge.child.id());
    let said = String::from_utf8_lossy(&held.stderr).into_owned();
    assert!(said.contains(&owner) && said.contains("use its admin address"), "{said}");
    edge.stop();
    collector.stop();
    assert_eq!(stored(dir.path()), ["small"]);
    let stopped = at("edge/channels/main");
    assert_eq!(verified(&stopped, 1, &[]), Some(1));

    let list = aqueduct(&["dlq", "list", &at("edge"), "--json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let expected = serde_json::json!(["too_large", "collector-1", "main", 1, 1, 8006]);
    let keys = ["reason", "sink", "channel", "letters", "events", "bytes"];
    assert_eq!(Value::from_iter(keys.map(|key| list[key].clone())), expected, "{list}");
    let text = text(&aqueduct(&["dlq", "list", &at("edge")]));
    assert!(text.contains("main -> collector-1: 1 letter, 1 event"), "{text}");

    let shown = aqueduct(&["dlq", "show", &at("edge"), "--format", "json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["events"][0]["body"], large.as_str());
    assert!(shown["events"][0]["headers"]["dead_letter.key"].is_null(), "{shown}");
    let identity = shown["identity"].as_str().unwrap();
    let typo = aqueduct(&["dlq", "list", &at("edge"), "--reason", "toolarge"]);
    assert_eq!(typo.status.code(), Some(2), "{typo:?}");
    let said = String::from_utf8_lossy(&typo.stderr).into_owned();
    assert!(said.contains("unknown reason `toolarge`; did you mean `too_large`?"), "{said}");
    let none = aqueduct(&["dlq", "list", &at("edge"), "--sink", "another"]);
    assert_eq!(none.stdout, b"no matching dead letters; 1 others exist\n", "{none:?}");
    let other = ["dlq", "show", &at("edge"), "--sink", "another"];
    assert_eq!(aqueduct(&other).stdout, b"");
    assert_eq!(aqueduct(&["dlq", "drop", &at("edge")]).status.code(), Some(2), "without --yes");

    let replay = ["dlq", "replay", &at("edge"), "--identity", identity];
    let replayed = aqueduct(&replay);
    assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
    assert!(replayed.stdout.starts_with(b"1 letter with 1 event replayed; 0 "), "{replayed:?}");
    assert!(aqueduct(&replay).stdout.starts_with(b"0 letters "));

    let (collector, address) = Agent::collector(dir.path(), "1MiB");
    let edge = Agent::edge(dir.path(), &address);
    collector.until(|| stored(dir.path()).len() == 2);
    edge.stop();
    collector.stop();
    assert_eq!(stored(dir.path()), [large, "small".to_owned()]);
    assert_eq!(aqueduct(&["dlq", "list", &at("edge")]).stdout, b"no dead letters\n");
    assert_eq!(verified(&stopped, 0, &["--complete"]), Some(0));
}

#[test]
fn rejected_events_are_listed_by_source_and_cannot_be_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    write(&dir.path().join("a.log"), "good\nodd\nfine\n");
    let filter = "interceptors = [{ type = \"regex_filter\", regex = \"o.?d|fine\", dropped = \
                  \"dead_letters\" }, { type = \"regex_filter\", regex = \"^o\", exclude = true, \
                  dropped = \"dead_letters\" }]\n[channels.main]";
    let settings = edge(&at("edge"), &at("*.log")).replace("[channels.main]", filter);
    write(&dir.path().join("edge.toml"), &settings);
    let (collector, address) = Agent::collector(dir.path(), "1MiB");
    let edge = Agent::edge(dir.path(), &address);
    collector.until(|| stored(dir.path()).len() == 2);
    edge.stop();
    collector.stop();
    assert_eq!(stored(dir.path()), ["fine", "good"]);

    let list = text(&aqueduct(&["dlq", "list", &at("edge"), "--source", "tail"]));
    let expected = "filtered           tail, interceptor regex_filter: 1 letter, 1 event, 3 bytes";
    assert!(list.starts_with(expected), "{list}");
    assert!(list.ends_with("the body matches `^o`\n"), "{list}");
    let shown = text(&aqueduct(&["dlq", "show", &at("edge"), "--reason", "filtered"]));
    assert!(shown.ends_with("\nodd\n"), "{shown}");
    let replayed = aqueduct(&["dlq", "replay", &at("edge")]);
    assert_eq!(replayed.status.code(), Some(1), "{replayed:?}");
    let said = String::from_utf8_lossy(&replayed.stderr).into_owned();
    assert!(said.starts_with("cannot replay 1 letter: an interceptor rejected"), "{said}");
    let dropped = aqueduct(&["dlq", "drop", &at("edge"), "--source", "tail", "--yes"]);
    assert_eq!(text(&dropped), "1 letter dropped, 1 event lost\n");
}

#[test]
fn directory_of_no_agent_has_no_letters() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    for action in [&["dlq", "list", &path][..], &["dlq", "replay", &path]] {
        let output = aqueduct(action);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("not the data directory of an agent"), "{said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

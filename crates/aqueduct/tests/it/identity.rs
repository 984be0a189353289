//! Reused identities: an old backup of an edge's data directory, a cloned machine.
//!
//! Method: the real executable in child processes, and copies of a data directory. Each line is
//! unique and is looked up in the store.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test handles files as an operator would, and ends at the first thing that goes \
         wrong"
)]

#[allow(dead_code, reason = "a part of it is used here")]
use crate::common;
use std::fs;
use std::path::{Path, PathBuf};

use support::loopback::free_address;

use crate::common::{Agent, aqueduct, edge, stored, text, write};

/// Returns the lines of one file.
fn lines(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name} {number}")).collect()
}

/// Creates a file with these lines.
fn log(dir: &Path, name: &str, count: usize) -> Vec<String> {
    let lines = lines(name, count);
    write(&dir.join(format!("{name}.log")), &format!("{}\n", lines.join("\n")));
    lines
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let at = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &at),
            false => drop(fs::copy(entry.path(), at).unwrap()),
        }
    }
}

/// Writes the configuration of an edge with the data directory `name`; returns its path.
fn configured(dir: &Path, name: &str, files: &str) -> PathBuf {
    let (data, files) = (dir.join(name), dir.join(files));
    let text = edge(&data.display().to_string(), &files.display().to_string());
    write(&dir.join("edge.toml"), &text);
    data
}

fn letters(data: &Path) -> String {
    text(&aqueduct(&["dlq", "list", &data.display().to_string()]))
}

/// Asserts that each of these lines is in the store exactly once.
fn assert_once(dir: &Path, wanted: &[String]) {
    let stored = stored(dir);
    for line in wanted {
        let times = stored.iter().filter(|found| *found == line).count();
        assert_eq!(times, 1, "{line} in {stored:?}");
    }
}

/// An edge with a restored old backup, and a collector that knows what came after the backup.
struct Restored {
    data: PathBuf,
    collector: Agent,
    address: String,
    /// Lines stored before the backup.
    before: Vec<String>,
}

/// Files read after the backup.
const LOST: [&str; 3] = ["lost-1", "lost-2", "lost-3"];

/// After its backup, the edge runs once for each file of [`LOST`], so that its declared floor is
/// above the start of a restored copy. The files are gone with the machine: only later files are
/// left to read.
fn restored(dir: &Path) -> Restored {
    let data = configured(dir, "edge", "*.log");
    let (collector, address) = Agent::collector(dir, "1MiB");
    let run = |expected: &[String]| {
        let edge = Agent::edge(dir, &address);
        collector.until(|| expected.iter().all(|line| stored(dir).contains(line)));
        edge.stop();
    };
    let before = log(dir, "before", 20);
    run(&before);
    copy(&data, &dir.join("backup"));
    LOST.iter().for_each(|name| run(&log(dir, name, 20)));
    for name in LOST {
        fs::remove_file(dir.join(format!("{name}.log"))).unwrap();
    }
    fs::remove_dir_all(&data).unwrap();
    copy(&dir.join("backup"), &data);
    Restored { data, collector, address, before }
}

#[test]
fn edge_restored_from_a_backup_delivers_new_events() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let Restored { data, collector, address, before } = restored(path);

    let mut new = log(path, "new", 1000);
    let edge = Agent::edge(path, &address);
    collector.until(|| new.iter().all(|line| stored(path).contains(line)));
    new.extend(log(path, "newer", 100));
    collector.until(|| new.iter().all(|line| stored(path).contains(line)));
    edge.stop();
    // Also after a restart.
    new.extend(log(path, "newest", 100));
    let edge = Agent::edge(path, &address);
    collector.until(|| new.iter().all(|line| stored(path).contains(line)));
    edge.stop();
    collector.stop();
    assert_eq!(letters(&data), "no dead letters\n");
    assert_once(path, &[before, new].concat());
    assert!(data.join("channels/main/names").exists(), "the life was renamed");
}

/// If a copy sent events before a collector could warn it, the other copy may have delivered them:
/// an operator decides.
#[test]
fn batches_of_a_closed_epoch_are_replayed_under_a_new_identity() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let Restored { data, collector, address, .. } = restored(path);

    let offline = log(path, "offline", 30);
    let alone = Agent::edge(path, &free_address().to_string());
    let at = data.display().to_string();
    let channel = format!("{at}/channels/main");
    alone.until(|| fs::read_dir(data.join("channels/main/log")).is_ok());
    alone.until(|| {
        let log = fs::read_dir(data.join("channels/main/log")).unwrap();
        log.flatten().any(|file| {
            let bytes = common::read(&file.path());
            bytes.windows(10).any(|bytes| bytes == b"offline 29")
        })
    });
    alone.stop();
    let mut wanted = log(path, "new", 30);
    let edge = Agent::edge(path, &address);
    collector.until(|| wanted.iter().all(|line| stored(path).contains(line)));
    collector.until(|| data.join("dead-letters/LOCK").exists());
    edge.stop();
    let list = letters(&data);
    assert!(list.contains("epoch_closed"), "{list}");
    assert!(!stored(path).contains(&offline[0]));

    let refused = aqueduct(&["dlq", "replay", &at]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--new-identity") && said.contains("twice"), "{said}");
    let replayed = aqueduct(&["dlq", "replay", &at, "--new-identity"]);
    assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
    assert_eq!(aqueduct(&["channel", "check", &channel]).status.code(), Some(0));
    let edge = Agent::edge(path, &address);
    collector.until(|| offline.iter().all(|line| stored(path).contains(line)));
    edge.stop();
    collector.stop();
    assert_eq!(letters(&data), "no dead letters\n");
    wanted.extend(offline);
    assert_once(path, &wanted);
}

#[test]
fn both_edges_of_a_cloned_machine_deliver_all_their_lines_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (collector, address) = Agent::collector(path, "1MiB");
    let clone_data = configured(path, "clone", "clone-*.log");
    let clone_config = fs::read_to_string(path.join("edge.toml")).unwrap();
    let data = configured(path, "edge", "own-*.log");
    let own_config = fs::read_to_string(path.join("edge.toml")).unwrap();
    let mut wanted = log(path, "own-0", 20);
    let first = Agent::edge(path, &address);
    collector.until(|| wanted.iter().all(|line| stored(path).contains(line)));
    first.stop();
    copy(&data, &clone_data);

    let mut own = Agent::edge(path, &address);
    for round in 1..5 {
        // The next one starts from the same file, which this one has read.
        wanted.extend(log(path, &format!("own-{round}-a"), 50));
        collector.until(|| wanted.iter().all(|line| stored(path).contains(line)));
        write(&path.join("edge.toml"), &clone_config);
        let cloned = Agent::edge(path, &address);
        wanted.extend(log(path, &format!("own-{round}"), 50));
        wanted.extend(log(path, &format!("clone-{round}"), 50));
        collector.until(|| wanted.iter().all(|line| stored(path).contains(line)));
        wanted.extend(log(path, &format!("own-{round}-b"), 50));
        wanted.extend(log(path, &format!("clone-{round}-b"), 50));
        collector.until(|| wanted.iter().all(|line| stored(path).contains(line)));
        cloned.stop();
        if round == 3 {
            own.stop();
            write(&path.join("edge.toml"), &own_config);
            own = Agent::edge(path, &address);
        }
    }
    own.stop();
    collector.stop();
    let renamed = |data: &Path| data.join("channels/main/names").exists();
    assert!(renamed(&data) || renamed(&clone_data), "neither has closed a life of the other");
    assert_eq!([letters(&data), letters(&clone_data)], ["no dead letters\n"; 2]);
    assert_once(path, &wanted);
}

/// A supervisor restarts an agent as soon as it has exited, or even earlier.
#[test]
fn edge_killed_and_restarted_immediately_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    configured(path, "edge", "*.log");
    let (collector, address) = Agent::collector(path, "1MiB");
    let mut wanted = log(path, "a", 20);
    let mut killed = Agent::edge(path, &address);
    collector.until(|| wanted.iter().all(|line| stored(path).contains(line)));
    for round in 0..5 {
        // Do not wait for its end.
        killed.child.kill().unwrap();
        let next = Agent::edge(path, &address);
        wanted.extend(log(path, &format!("b-{round}"), 20));
        collector.until(|| wanted.iter().all(|line| stored(path).contains(line)));
        killed = next;
    }
    killed.stop();
    collector.stop();
    assert_once(path, &wanted);
}

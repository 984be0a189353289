//! Goal: every journal entry is stored once and unchanged, in the order of the journal, while its
//! files are rotated and removed, and the agent and its journalctl are killed.
//!
//! Method: a real systemd-journald with its own directories (`journald/journal.rs`). Entries of
//! every format are sent with its own protocol, `logger` and `systemd-cat`. A collector reads them
//! with the host's journalctl into a store of files, which is compared with journalctl's own list.
//! At the end, entries at the agent's position are vacuumed away while it is stopped: the rest must
//! arrive, and the gap must be reported.
//!
//! ```text
//!   datagrams, logger … ─► journald ─► journalctl ─► source ─► durable ─► files
//!                             └─► journalctl --output=json ────── compared ──┘
//! ```
//!
//! Lane: core
//! Needs: systemd-journald unshare
//! Root: yes
//! Weight: 1
//! Limit: 10m
//! Paths: crates/components crates/kit

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, ROLL};
use aqueduct_tests::http::Metrics;
use aqueduct_tests::site::read_below;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

mod journal;

use journal::{Entry, Journal, entry};

/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);
/// Total number of entries.
const ENTRIES: usize = 20_000;
/// Entries between two rotations.
const ROTATION: usize = 2_500;
const _: () = assert!((ENTRIES / 2).is_multiple_of(ROTATION), "it is vacuumed after a rotation");
/// Number of agent runs while they arrive.
const LIVES: usize = 5;
/// The identifier of the entries.
const NAME: &str = "aqueduct-test";

fn collector(dir: &Path, journal: &Journal) -> Agent {
    let text = format!(
        r#"
[agent]
data_dir = "{at}/data"
[sources.in]
type = "journald"
journalctl = "{journalctl}"
identifiers = ["{NAME}"]
body = "json"
batch_events = 200
channels = ["main"]
[channels.main]
type = "durable"
capacity = "256MiB"
[sinks.store]
type = "hdfs"
url = "file://{at}/store/%{{identifier}}"
encoder = "text"
channel = "main"
{ROLL}
"#,
        at = dir.display(),
        journalctl = journal.journalctl.display(),
    );
    Agent::configured("aqueduct-collector", dir, "agent", &text)
}

/// Sends the entry of this number: one of every format in turn.
fn send(journal: &Journal, number: usize) {
    let text = format!("entry {number}");
    let name = ("SYSLOG_IDENTIFIER", NAME.as_bytes());
    let several = format!("{text}\n\n\tat a.B(C.java:{number})\n");
    let bytes: Vec<u8> = (0..=255).collect();
    let long = text.repeat(3_000);
    match number % 1_000 {
        0 => {
            let input = text.as_bytes();
            drop(journal.run(
                &["logger", "--tag", NAME, "--socket-errors=off", "--journald"],
                &[b"SYSLOG_IDENTIFIER=", NAME.as_bytes(), b"\nMESSAGE=", input, b"\n"].concat(),
            ));
        }
        1 => drop(journal.run(&["systemd-cat", "-t", NAME, "echo", &text], b"")),
        2 => journal.send(&[name, ("MESSAGE", long.as_bytes())]),
        _ => match number % 5 {
            0 => journal.send(&[name, ("MESSAGE", several.as_bytes()), ("PRIORITY", b"3")]),
            1 => journal.send(&[name, ("MESSAGE", text.as_bytes()), ("RAW", &bytes)]),
            2 => {
                let number = ("N", text.as_bytes());
                journal.send(&[name, ("RAW", &bytes), ("MESSAGE", &bytes), number]);
            }
            3 => journal.send(&[name, ("N", text.as_bytes()), ("N", b"two"), ("MESSAGE", b"")]),
            _ => journal.send(&[name, ("MESSAGE", text.as_bytes())]),
        },
    }
}

/// Returns the entries of each file of the store.
fn files(dir: &Path) -> Vec<Vec<Entry>> {
    let Ok(folder) = fs::read_dir(dir.join("store").join(NAME)) else { return Vec::new() };
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let text = |bytes| String::from_utf8(bytes).expect("JSON is text");
    let read = |path: std::path::PathBuf| {
        if path.is_dir() { read_below(&path) } else { fs::read(&path).unwrap_or_default() }
    };
    paths.map(|path| text(read(path)).lines().map(entry).collect()).collect()
}

/// Returns the number of entries in the store.
fn stored(dir: &Path) -> usize {
    files(dir).iter().map(Vec::len).sum()
}

fn until_stored(dir: &Path, entries: usize) {
    wait::until(&format!("{entries} entries in the store"), LIMIT, || {
        (stored(dir) >= entries).then_some(())
    });
}

/// Returns the sequence number of an entry in its journal.
fn number(entry: &Entry) -> u64 {
    let cursor = String::from_utf8_lossy(&entry["__CURSOR"][0]).into_owned();
    let number = cursor.split(';').find_map(|part| part.strip_prefix("i=")).expect("a number");
    u64::from_str_radix(number, 16).expect("a number")
}

/// Asserts that the store contains these entries, each once and unchanged, and in order within each
/// file.
fn holds(dir: &Path, expected: &[Entry]) {
    let files = files(dir);
    for file in &files {
        assert!(file.is_sorted_by_key(number), "the entries of a file are in order");
    }
    let by_number = |entries: &mut dyn Iterator<Item = Entry>| {
        let mut all = BTreeMap::<u64, Vec<Entry>>::new();
        entries.for_each(|entry| all.entry(number(&entry)).or_default().push(entry));
        all
    };
    let there = by_number(&mut files.into_iter().flatten());
    let expected = by_number(&mut expected.iter().cloned());
    let lost = expected.keys().filter(|number| !there.contains_key(number)).count();
    let repeated = there.values().filter(|copies| copies.len() > 1).count();
    assert_eq!((lost, repeated), (0, 0), "entries that are lost, and that are repeated");
    for (number, entry) in &there {
        assert_eq!(expected.get(number), Some(entry), "entry {number} is as journalctl lists it");
    }
}

/// Kills the agent's journalctl, if it has one.
fn kill_journalctl(agent: &mut Agent) {
    let pid = agent.process().pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the agent runs");
    for task in tasks.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let kill = std::process::Command::new("kill").args(["-9", child]).status();
            assert!(kill.is_ok_and(|status| status.success()), "{child}");
        }
    }
}

fn counted(metrics: &Metrics, reason: &str) -> f64 {
    let series = format!("aqueduct_source_anomalies_total{{source=\"in\",reason=\"{reason}\"}}");
    metrics.value(&series).unwrap_or_default()
}

#[test]
#[ignore = "needs the programs, systemd and root: tests/run"]
fn every_entry_of_a_journal_is_stored_once_over_kills_rotation_and_vacuum() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let (began, mut rng) = (Instant::now(), seed::rng("journald"));
    let journal = Journal::start(dir);
    let mut agent = collector(dir, &journal);
    agent.start();
    let sent = AtomicUsize::new(0);
    let before_vacuum = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut before_vacuum = Vec::new();
            for number in 0..ENTRIES {
                send(&journal, number);
                sent.store(number, Ordering::Relaxed);
                if number % ROTATION == ROTATION - 1 {
                    journal.call(&["--rotate"]);
                }
                if number == ENTRIES / 2 {
                    // Only stored entries are removed, and not the last of them: a restarted
                    // source begins there, and would report a gap.
                    before_vacuum = journal.list(NAME, number + 1);
                    until_stored(dir, before_vacuum.len());
                    journal.call(&["--vacuum-files=1"]);
                }
            }
            before_vacuum
        });
        for life in 1..LIVES {
            let entries = life * ENTRIES / LIVES + rng.random_range(0..ENTRIES / LIVES / 2);
            wait::until("entries to be sent", LIMIT, || {
                (sent.load(Ordering::Relaxed) >= entries).then_some(())
            });
            if life == 2 {
                kill_journalctl(&mut agent);
            } else {
                agent.kill();
                agent.start();
            }
        }
        sending.join().expect("the entries are sent")
    });
    let mut expected = before_vacuum;
    let vacuumed = expected.len() - 1;
    let listed = journal.list(NAME, ENTRIES - vacuumed);
    assert!(number(&listed[0]) > number(&expected[0]), "files were removed");
    let last = number(expected.last().expect("there were entries"));
    expected.extend(listed.into_iter().filter(|entry| number(entry) > last));
    assert_eq!(expected.len(), ENTRIES, "the journal took every entry; {vacuumed} are gone again");
    until_stored(dir, ENTRIES);
    holds(dir, &expected);
    let metrics = agent.metrics().expect("the agent answers");
    assert_eq!(counted(&metrics, "cursor_gone"), 0.0, "nothing was missed");
    eprintln!("{ENTRIES} entries, {LIVES} lives: {:?}", began.elapsed());

    // Entries sent while it is stopped are removed before it reads them.
    agent.stop(LIMIT);
    (0..10).for_each(|number| send(&journal, 5 * number + 4));
    journal.list(NAME, ENTRIES - vacuumed + 10);
    journal.call(&["--rotate", "--vacuum-files=1"]);
    (0..10).for_each(|number| send(&journal, 5 * number + 4));
    let left = journal.list(NAME, 10);
    assert_eq!(left.len(), 10, "what came first is gone");
    expected.extend(left);
    agent.start();
    until_stored(dir, expected.len());
    holds(dir, &expected);
    let metrics = agent.metrics().expect("the agent answers");
    assert_eq!(counted(&metrics, "cursor_gone"), 1.0);
    let output = agent.output();
    assert!(output.contains("later entries may be lost"), "{output}");
    agent.stop(LIMIT);
    journal.stop();
    eprintln!("{:?} in all", began.elapsed());
}

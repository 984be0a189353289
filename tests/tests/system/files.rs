//! Goal: files are read unchanged, whatever their names are and whatever else is in their
//! directory; unnamed files are not read; and a batch damaged on the disk is read again from its
//! file.
//!
//! Method: a folder as an application might leave it, an edge that is restarted with another
//! configuration, and a flipped bit in its channel while it is down.
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::site::Site;

const LIMIT: Duration = Duration::from_secs(60);

/// Returns the edge, tailing every name, with `more` in its source's settings.
fn edge(site: &Site, name: &str, more: &str) -> Agent {
    let config = site.printed_config();
    let config = config.replace("**/*.log\"]", &format!("**/*\"]\n{more}"));
    assert!(config.contains("/**/*\""), "{config}");
    Agent::configured("aqueduct-edge", site.path(), name, &config)
}

fn lines(path: &Path, name: &str, count: usize) {
    let text: String = (0..count).map(|number| format!("{name} line {number}\n")).collect();
    let mut file = fs::File::options().create(true).append(true).open(path).expect("a log opens");
    file.write_all(text.as_bytes()).expect("a log is written");
}

/// Waits until this many lines are in the edge's channel.
fn accepted(edge: &Agent, lines: usize) {
    aqueduct_tests::wait::until("the lines in the channel", LIMIT, || {
        let events = edge.metrics().and_then(|it| it.sum("aqueduct_source_events_total"));
        (events == Some(lines as f64)).then_some(())
    });
}

fn holds(stored: &[u8], text: &str) -> bool {
    stored.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn files_are_read_whatever_they_are_called_and_only_those_that_are_named() {
    let site = Site::new();
    let logs = site.logs();
    let bytes = logs.join(OsStr::from_bytes(b"\xff\xfe.log"));
    let forged = logs.join("a\u{1b}[31m\nERROR forged.log");
    let outside = site.path().join("outside");
    lines(&bytes, "bytes", 100);
    lines(&forged, "forged", 100);
    lines(&outside, "outside", 100);
    fs::write(logs.join("old.log.1.gz"), b"\x1f\x8b\npacked\n".repeat(100)).expect("a file");
    symlink(&outside, logs.join("link.log")).expect("a link is made");

    let mut collector = site.collector();
    collector.start();
    let mut first = edge(&site, "first", "");
    first.start();
    site.wait_until_stored(300);
    first.stop(LIMIT);
    let output = first.output();
    assert!(!output.contains('\u{1b}'), "no escape sequence reaches the log: {output:?}");
    assert!(!output.lines().any(|line| line.starts_with("ERROR")), "no line is forged: {output}");
    assert_eq!(output.matches("following file").count(), 3, "{output}");
    assert!(output.contains(r"\xff\xfe.log"), "the name is shown with its bytes: {output}");
    assert!(output.contains("compressed files are skipped"), "{output}");
    assert!(output.contains("leads out of the watched directories"), "{output}");

    // After the restart it follows no links, and excludes a file that it had read.
    let mut second = edge(&site, "second", "follow_symlinks = false\nexclude = [\"a*\"]\n");
    for (path, name) in [(&bytes, "bytes"), (&forged, "forged"), (&outside, "outside")] {
        lines(path, &format!("{name} again"), 10);
    }
    second.start();
    site.wait_until_stored(310);
    std::thread::sleep(Duration::from_secs(2));
    second.stop(LIMIT);
    collector.stop(LIMIT);
    site.prove();
    let stored = site.stored();
    assert_eq!(stored.iter().filter(|byte| **byte == b'\n').count(), 310);
    assert!(holds(&stored, "bytes again line 9") && !holds(&stored, "packed"));
    assert!(!holds(&stored, "outside again") && !holds(&stored, "forged again"));
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn a_damaged_batch_is_read_again_from_its_file_and_arrives_once() {
    const LINES: usize = 1_000;
    const LATER: usize = 10;
    let site = Site::new();
    let (mut edge, mut collector) = (site.edge(), site.collector());
    site.log("app", LINES);
    edge.start();
    accepted(&edge, LINES);
    // A valid group after it distinguishes later damage from a torn write.
    site.log("later", LATER);
    accepted(&edge, LINES + LATER);
    edge.kill();
    let log = site.path().join("edge/channels/main/log");
    let mut flipped = 0;
    for entry in fs::read_dir(log).expect("the channel has a log") {
        let path = entry.expect("an entry").path();
        let mut bytes = fs::read(&path).expect("a segment can be read");
        let line = b"app line 777\n";
        if let Some(at) = bytes.windows(line.len()).position(|part| part == line) {
            bytes[at + 9] ^= 0x40;
            fs::write(&path, bytes).expect("a segment can be written");
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "the line stands in one segment");
    edge.start();
    collector.start();
    site.wait_until_stored(LINES + LATER);
    let output = edge.output();
    edge.stop(LIMIT);
    collector.stop(LIMIT);
    assert!(output.contains("lines that were read again from their file"), "{output}");
    site.prove();
    let found = aqueduct_tests::reconcile::compare(&site.logged(), &site.stored());
    assert!(found.is_none(), "{found}");
    assert_eq!(found.stored, LINES + LATER, "{found}");
}

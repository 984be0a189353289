//! A serializer that numbers the rows of a file: `file_roll` and `hdfs` store what Flume 1.11
//! stores, and each row once while the virtual machines of the serializers are killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use aqueduct_tests::flume::{Flume, jars, java};
use aqueduct_tests::process::tail;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

use super::{KILLS, LIMIT, LINES, Place, kill};
use crate::plugins::{plugins, wait_until_ended, write};

const HEADER: &str = "row,host,body\n";

/// Returns two sinks with the serializer, into `rolled` and `stored` below a directory. They begin
/// new files after these times in seconds.
fn sinks(at: &Path, (rolled, stored): (usize, usize)) -> String {
    let at = at.display();
    let serializer = |prefix: &str| {
        format!(
            "a.sinks.{prefix}serializer = com.example.flume.CsvSerializer$Builder\n\
             a.sinks.{prefix}serializer.field = host\n"
        )
    };
    format!(
        "a.channels = r h\na.sinks = r h\na.sources.s.channels = r h\n\
         a.sources.s.interceptors = i\na.sources.s.interceptors.i.type = static\n\
         a.sources.s.interceptors.i.key = host\na.sources.s.interceptors.i.value = web-1\n\
         a.sinks.r.type = file_roll\na.sinks.r.channel = r\n\
         a.sinks.r.sink.directory = {at}/rolled\na.sinks.r.sink.rollInterval = {rolled}\n\
         a.sinks.h.type = hdfs\na.sinks.h.channel = h\na.sinks.h.hdfs.path = file://{at}/stored\n\
         a.sinks.h.hdfs.fileType = DataStream\na.sinks.h.hdfs.rollInterval = {stored}\n\
         a.sinks.h.hdfs.rollSize = 0\na.sinks.h.hdfs.rollCount = 0\n{}{}",
        serializer("r.sink."),
        serializer("h."),
    )
}

/// Returns the content of each visible file.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let name = path.file_name().expect("a file").to_string_lossy();
        path.is_file() && !name.starts_with(['.', '_']) && !name.ends_with(".tmp")
    });
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("text")).collect()
}

/// Returns the bodies of the rows of a file, after a check of its numbers, and whether it has an
/// end. A file that was created just now is empty.
fn bodies(file: &str) -> (String, bool) {
    if file.is_empty() {
        return (String::new(), false);
    }
    let rows = file.strip_prefix(HEADER).expect("the header");
    let (mut bodies, mut has_end) = (String::new(), false);
    for (at, row) in rows.split_inclusive('\n').enumerate() {
        assert!(!has_end, "rows after the end: {file}");
        has_end = row == format!("rows,{at},\n");
        if !has_end {
            let body = row.strip_prefix(&format!("{},web-1,\"", at + 1));
            let body = body.unwrap_or_else(|| panic!("row {at}: {file}"));
            bodies += &body.replace("\"\n", "\n");
        }
    }
    (bodies, has_end)
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn files_of_a_serializer_are_those_of_flume() {
    let place = Place::new();
    let lines: String = (0..1_000).map(|n| format!("{n} a \"line\" with ä 日本\n")).collect();
    let [expected, found] = ["flume", "ours"].map(|side| {
        let dir = place.dir().join(side);
        for below in ["in", "rolled", "stored"] {
            fs::create_dir_all(dir.join(below)).expect("the test's own folder");
        }
        write(&dir.join("in/lines.txt"), &lines);
        let properties = format!(
            "a.sources = s\na.sources.s.type = spooldir\na.sources.s.spoolDir = {}/in\n\
             a.channels.r.type = memory\na.channels.r.capacity = 2000\n\
             a.channels.h.type = memory\na.channels.h.capacity = 2000\n{}",
            dir.display(),
            // All rows are written long before the time is over.
            sinks(&dir, (0, 8)),
        );
        let has_all = |below: &str| files(&dir.join(below)).concat().lines().count() > 1_000;
        let are_stored = || (has_all("rolled") && has_all("stored")).then_some(());
        if side == "flume" {
            let mut machine = java(&dir);
            // The last class path counts.
            let class_path = format!("{}:{}/*", place.classes.display(), jars().display());
            machine.arg("-cp").arg(class_path);
            let flume = Flume::start_by(machine, "a", &properties, &dir);
            wait::until("the rows of Flume", LIMIT, are_stored);
            flume.stop();
        } else {
            let mut agent = place.agent(&properties, &place.class_path());
            agent.start();
            wait::until("the rows", LIMIT, are_stored);
            let running = plugins(agent.process().pid());
            agent.stop(LIMIT);
            wait_until_ended(&running);
        }
        [files(&dir.join("rolled")), files(&dir.join("stored"))]
    });
    assert_eq!(found[0], expected[0]);
    // A slow machine needs several files in HDFS.
    for stored in [&found[1], &expected[1]] {
        let all: Vec<_> = stored.iter().map(|file| bodies(file)).collect();
        assert!(all.iter().all(|(_, has_end)| *has_end), "{stored:?}");
        let rows: String = all.iter().map(|(bodies, _)| bodies.as_str()).collect();
        assert_eq!(rows, lines.replace('"', "\"\""));
    }
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn rows_of_a_serializer_are_stored_once_while_it_is_killed() {
    let mut rng = seed::rng("flume_jars");
    let place = Place::new();
    let (dir, at) = (place.dir(), place.dir().display());
    for below in ["rolled", "stored"] {
        fs::create_dir_all(dir.join(below)).expect("the test's own folder");
    }
    let log = dir.join("app.log");
    write(&log, "");
    let properties = format!(
        "a.sources = s\na.sources.s.type = TAILDIR\na.sources.s.positionFile = {at}/p.json\n\
         a.sources.s.filegroups = f\na.sources.s.filegroups.f = {at}/app.log\n\
         a.sources.s.batchSize = 20\na.channels.r.type = file\na.channels.h.type = file\n{}",
        sinks(dir, (2, 2))
    );
    let mut agent = place.agent(&properties, &place.class_path());
    agent.start();
    let (mut lines, mut kills) = (String::new(), 0);
    for round in 0..KILLS {
        for line in 0..LINES {
            let one = format!("{round} {line}\n");
            write(&log, &one);
            lines += &one;
            if line == LINES / 2 {
                thread::sleep(Duration::from_millis(rng.random_range(0..400)));
                let running = plugins(agent.process().pid());
                kills += usize::from(running.choose(&mut rng).copied().is_some_and(kill));
            }
        }
    }
    assert!(kills >= KILLS / 2, "{kills} kills");
    let rolled = || files(&dir.join("rolled")).iter().map(|it| bodies(it).0).collect::<String>();
    wait::until("all rows", LIMIT, || {
        let found = compare(lines.as_bytes(), rolled().as_bytes());
        (found.missing == 0).then_some(())
    });
    let left = plugins(agent.process().pid());
    agent.stop(LIMIT);
    wait_until_ended(&left);
    let output = agent.output();
    let found = compare(lines.as_bytes(), rolled().as_bytes());
    println!("file_roll: {found}; {kills} kills");
    assert!(found.is_none(), "{found}\n{}", tail(&output));
    let all: Vec<_> = files(&dir.join("stored")).iter().map(|file| bodies(file)).collect();
    assert!(all.iter().all(|(_, has_end)| *has_end), "each visible file is complete");
    let stored: String = all.iter().map(|(bodies, _)| bodies.as_str()).collect();
    let found = compare(lines.as_bytes(), stored.as_bytes());
    println!("hdfs: {found} in {} files", all.len());
    assert!(found.is_none(), "{found}\n{}", tail(&output));
}

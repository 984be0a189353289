//! Goal: each event is exactly one row of a real HBase, while agent, servers and regions are killed
//! and moved; counters count each event once; only events that HBase rejects become dead letters. A
//! Flume configuration with an HBase sink runs unchanged.
//!
//! Method: a collector reads a growing file, and writes rows whose keys are spread over a table. It
//! is killed (-9) five times. Meanwhile the table is split twice, its regions are moved, and all of
//! HBase is killed and restarted. Some lines are not JSON, or have a cell that exceeds HBase's
//! limit. Then HBase's own client reads every version of every cell.
//!
//! Lane: connector
//! Needs: javac mvn
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-hbase deploy/hbase

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::hbase::{CELL_BYTES_MAX, Hbase};
use aqueduct_tests::letters::letters;
use aqueduct_tests::process::Process;
use aqueduct_tests::{http, seed, wait};
use rand::prelude::*;
use serde_json::{Value, json};

/// Lines per write, and number of writes.
const LINES: usize = 400;
const ROUNDS: usize = 20;
/// Lines written during operations on HBase.
const LINES_MEANWHILE: usize = 20;
/// An invalid line follows this many lines.
const BAD_EACH: usize = 90;
/// Number of first digits of row keys.
const KEYS: usize = 10;
/// The time of the first line, in milliseconds.
const BEGIN: usize = 1_700_000_000_000;
const LIMIT: Duration = Duration::from_secs(90);
/// Reasons of dead letters.
const REASONS: [&str; 2] = ["refused", "unwritable_event"];

const ROWS: &str = include_str!("hbase/Rows.java");

/// The written lines, and their expected result.
#[derive(Default)]
struct Written {
    lines: usize,
    /// Time and line of each valid row.
    good: BTreeMap<String, usize>,
    bad: BTreeSet<String>,
    counts: BTreeMap<usize, usize>,
}

impl Written {
    fn line(&mut self) -> String {
        let (id, at) = (self.lines, BEGIN + self.lines);
        self.lines += 1;
        let key = id % KEYS;
        let mut line = json!({ "id": id, "k": key, "at": at }).to_string();
        if id % BAD_EACH == BAD_EACH - 1 {
            match id / BAD_EACH % 2 {
                0 => line.push('}'),
                _ => line.insert_str(1, &format!("\"s\":\"{}\",", "x".repeat(CELL_BYTES_MAX))),
            }
            self.bad.insert(line.clone());
            return line;
        }
        *self.counts.entry(key).or_default() += 1;
        self.good.insert(line.clone(), at);
        line
    }
}

fn configuration(dir: &Path, master: &str) -> String {
    let at = dir.display();
    format!(
        "[agent]\ndata_dir = \"{at}/data\"\n\
         [sources.lines]\ntype = \"tail_dir\"\npaths = [\"{at}/lines\"]\nbatch_events = 100\n\
         channels = [\"rows\"]\n\
         [[sources.lines.interceptors]]\ntype = \"regex_extractor\"\n\
         regex = \"\\\"at\\\":(\\\\d+)\"\nserializers = [{{ name = \"at\" }}]\n\
         [channels.rows]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.rows]\ntype = \"hbase\"\nchannel = \"rows\"\nmasters = [\"{master}\"]\n\
         table = \"events\"\nrow_key = \"%[k]-%id\"\ntimestamp_header = \"at\"\n\
         columns = {{ \"f:line\" = \"%body\", \"f:id\" = \"%[/id]\" }}\n\
         counters = [{{ row = \"%[k]\", column = \"n:lines\" }}]\nrequest_timeout = \"5s\"\n"
    )
}

/// An HBase cell.
struct Cell {
    row: String,
    column: String,
    at: usize,
    value: String,
}

fn cells(hbase: &Hbase, table: &str) -> Vec<Cell> {
    let lines = hbase.run(ROWS, &["read", table]);
    let cell = |line: &String| {
        let parts: Vec<String> = line.splitn(4, '\t').map(str::to_owned).collect();
        let [row, column, at, value] = parts.try_into().expect("four parts");
        Cell { row, column, at: at.parse().expect("a time"), value }
    };
    lines.iter().map(cell).collect()
}

/// Operations on HBase while lines arrive, before certain rounds.
fn trouble(hbase: &mut Hbase, round: usize) {
    match round {
        3 => drop(hbase.run(ROWS, &["split", "events", "5"])),
        7 => {
            hbase.kill();
            thread::sleep(Duration::from_millis(500));
            hbase.revive();
        }
        11 => assert!(!hbase.run(ROWS, &["move", "events"]).is_empty(), "a region is moved"),
        15 => drop(hbase.run(ROWS, &["split", "events", "8"])),
        _ => {}
    }
}

#[test]
#[ignore = "needs the programs, a JDK and Maven: tests/run"]
fn each_event_is_one_row_through_kills_splits_and_moves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng, began) = (folder.path(), seed::rng("hbase"), Instant::now());
    let mut hbase = Hbase::start(dir);
    hbase.run(ROWS, &["create", "events", "f", "n"]);
    let text = configuration(dir, &hbase.master.to_string());
    let mut collector = Agent::configured("aqueduct-collector", dir, "collector", &text);
    let file = OpenOptions::new().create(true).append(true).open(dir.join("lines"));
    let mut file = file.expect("the test's own folder");
    collector.start();
    let mut written = Written::default();
    let mut lookups = 0.0;
    for round in 0..ROUNDS {
        thread::scope(|scope| {
            let troubled = scope.spawn(|| trouble(&mut hbase, round));
            let (mut round_is_over, mut count) = (false, LINES);
            while !round_is_over {
                let lines: String = (0..count).map(|_| written.line() + "\n").collect();
                file.write_all(lines.as_bytes()).expect("the test's own file");
                thread::sleep(Duration::from_millis(rng.random_range(20..250)));
                count = LINES_MEANWHILE;
                round_is_over = troubled.is_finished();
                if round % 4 == 3 && round_is_over {
                    lookups += sum(&collector, "aqueduct_hbase_region_lookups_total");
                    collector.kill();
                    collector.start();
                }
            }
            troubled.join().expect("HBase does its part");
        });
    }
    wait::until("all rows", LIMIT, || {
        let metrics = collector.metrics()?;
        let unread = metrics.sum("aqueduct_source_lag_bytes")?;
        let left = metrics.value("aqueduct_channel_events{channel=\"rows\"}")?;
        let idle = unread == 0.0 && left == 0.0;
        (idle && letters(&dir.join("data"), &REASONS).len() >= written.bad.len()).then_some(())
    });
    lookups += sum(&collector, "aqueduct_hbase_region_lookups_total");
    collector.stop(LIMIT);
    check(&cells(&hbase, "events"), &written);
    let bodies = letters(&dir.join("data"), &REASONS);
    assert_eq!(bodies.len(), written.bad.len(), "each letter once");
    assert_eq!(bodies.into_iter().collect::<BTreeSet<_>>(), written.bad);
    eprintln!(
        "{} lines, {} of them bad; {lookups} lookups of regions; {:?}",
        written.lines,
        written.bad.len(),
        began.elapsed()
    );

    flume(&hbase, dir);
}

fn sum(agent: &Agent, name: &str) -> f64 {
    agent.metrics().and_then(|it| it.sum(name)).unwrap_or(0.0)
}

/// Asserts that each line is in one row, whose cells have its time, and that each counter counted
/// it once.
fn check(cells: &[Cell], written: &Written) {
    let mut rows: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.column == "f:line") {
        rows.entry(&cell.value).or_default().push((&cell.row, cell.at));
    }
    let missing = written.good.keys().filter(|line| !rows.contains_key(line.as_str())).count();
    assert_eq!(missing, 0, "{missing} of {} lines are missing", written.good.len());
    assert_eq!(rows.len(), written.good.len(), "and no others");
    for (line, found) in &rows {
        let [(row, at)] = &found[..] else { panic!("{line} is there more than once: {found:?}") };
        assert_eq!(Some(at), written.good.get(*line), "the time of {line}");
        let parsed: Value = serde_json::from_str(line).expect("JSON");
        let key = &parsed["k"];
        assert!(row.starts_with(&format!("{key}-")), "{row}: {line}");
    }
    let ids = cells.iter().filter(|cell| cell.column == "f:id").count();
    assert_eq!(ids, rows.len(), "each row has its other column, once");
    // Older versions of a counter remain for a while: the newest comes first.
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.column == "n:lines") {
        counts.entry(&cell.row).or_insert_with(|| cell.value.parse().expect("a number"));
    }
    let expected: BTreeMap<String, usize> =
        written.counts.iter().map(|(key, count)| (key.to_string(), *count)).collect();
    let counts: BTreeMap<String, usize> =
        counts.into_iter().map(|(row, count)| (row.to_owned(), count)).collect();
    assert_eq!(counts, expected, "counters");
}

/// A Flume configuration that finds HBase by its ZooKeeper, with both kinds of serializers.
fn flume(hbase: &Hbase, dir: &Path) {
    hbase.run(ROWS, &["create", "flume", "cf", "n"]);
    let (at, zookeeper) = (dir.display(), hbase.zookeeper);
    let sink = |name: &str, more: &str| {
        format!(
            "a1.channels.{name}.type = file\na1.channels.{name}.dataDirs = {at}/f/{name}\n\
             a1.channels.{name}.checkpointDir = {at}/f/{name}-c\n\
             a1.sinks.{name}.channel = {name}\na1.sinks.{name}.table = flume\n\
             a1.sinks.{name}.columnFamily = cf\na1.sinks.{name}.zookeeperQuorum = {zookeeper}\n\
             {}",
            more.replace("it.", &format!("a1.sinks.{name}."))
        )
    };
    let text = [
        "a1.sources = r\na1.channels = s x\na1.sinks = s x\na1.sources.r.type = TAILDIR\n\
         a1.sources.r.channels = s x\na1.sources.r.filegroups = f\n"
            .to_owned(),
        format!("a1.sources.r.filegroups.f = {at}/flume.log\n"),
        format!("a1.sources.r.positionFile = {at}/f/positions.json\n"),
        sink("s", "it.type = hbase2\nit.serializer.rowPrefix = simple-\n"),
        sink(
            "x",
            "it.type = org.apache.flume.sink.hbase.HBaseSink\n\
             it.serializer = org.apache.flume.sink.hbase.RegexHbaseEventSerializer\n\
             it.serializer.regex = (\\\\w+) (.*)\nit.serializer.colNames = ROW_KEY,rest\n\
             it.serializer.rowKeyIndex = 0\n",
        ),
    ];
    fs::write(dir.join("flume.conf"), text.concat()).expect("the test's own folder");
    fs::write(dir.join("flume.log"), "one first line\ntwo second\n").expect("the same");
    let admin = http::free_address();
    let mut command = program("aqueduct");
    command.args(["agent", "-n", "a1", "-f"]).arg(dir.join("flume.conf"));
    command.arg("--data-dir").arg(dir.join("flume")).args(["--admin", &admin.to_string()]);
    let mut agent = Process::start("flume", command, &dir.join("flume.out"));
    // An eight-byte number, like Flume's counter.
    let both = String::from_utf8(2_u64.to_be_bytes().to_vec()).expect("ASCII");
    let found = wait::until("the rows of Flume's configuration", LIMIT, || {
        assert!(agent.is_alive(), "{}", agent.output());
        let cells = cells(hbase, "flume");
        let counted = cells.iter().find(|cell| cell.row == "incRow" && cell.column == "cf:iCol");
        (cells.len() >= 5 && counted.is_some_and(|cell| cell.value == both)).then_some(cells)
    });
    let values = |column: &str, row: &str| -> Vec<String> {
        let of = |cell: &&Cell| cell.column == column && cell.row.starts_with(row);
        found.iter().filter(of).map(|cell| cell.value.clone()).collect()
    };
    assert_eq!(values("cf:rest", "one"), ["first line"]);
    assert_eq!(values("cf:rest", "two"), ["second"]);
    let mut bodies = values("cf:pCol", "simple-");
    bodies.sort();
    assert_eq!(bodies, ["one first line", "two second"]);
    agent.stop(LIMIT);
}

//! Goal: with a source, an interceptor and a sink in Python, each line is stored exactly once, and
//! the plug-in of the sink has each event, while plug-ins and the agent are killed with -9.
//!
//! Method: the plug-ins of `examples/plugins/python`. A file grows while the test kills a random
//! plug-in or the agent. Afterwards it compares the lines in the store, and the rows of the
//! plug-in, with the lines of the file. No process of a plug-in outlives its agent. The files that
//! `aqueduct plugin new` writes are run unchanged.
//!
//! ```text
//!   app.log ─► source.py ─► interceptor.py ─► durable ─► hdfs sink, file://
//!          └─► tail_dir ──► interceptor.py ─► durable ─► sink.py ─► SQLite
//! ```
//!
//! Lane: core
//! Needs: python3 go
//! Weight: 1
//! Limit: 10m
//! Paths: crates/components-process examples/plugins proto/plugin

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, ROLL, program};
use aqueduct_tests::process::tail;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::read_below;
use aqueduct_tests::store::visible;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

const LIMIT: Duration = Duration::from_secs(90);

/// Kills, and lines between two of them.
const KILLS: usize = 24;
const LINES: usize = 400;

/// Reads the lines that arrived.
type Read = fn(&Path) -> Vec<u8>;

const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/plugins/python");

/// Returns an agent in `dir` with these plug-ins.
fn agent(dir: &Path) -> Agent {
    let at = dir.display();
    let command = |name: &str| format!("command = [\"python3\", \"{PLUGINS}/{name}.py\"]");
    let (source, interceptor, sink) = (command("source"), command("interceptor"), command("sink"));
    let levels = |source: &str| {
        format!(
            "[[sources.{source}.interceptors]]\ntype = \"process\"\n{interceptor}\n\
             settings = {{ least = \"INFO\" }}\n"
        )
    };
    let text = format!(
        "[agent]\ndata_dir = \"{at}/data\"\n\
         [sources.app]\ntype = \"process\"\nchannels = [\"main\"]\n{source}\n\
         settings = {{ path = \"{at}/app.log\" }}\nbatch_events = 100\n{}\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\n{ROLL}\n\
         url = \"file://{at}/store/%Y\"\n\
         [sources.tail]\ntype = \"tail_dir\"\nchannels = [\"other\"]\nbatch_events = 100\n\
         paths = [\"{at}/app.log\"]\n{}\
         [channels.other]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.table]\ntype = \"process\"\nchannel = \"other\"\n{sink}\n\
         settings = {{ path = \"{at}/lines.db\" }}\n",
        levels("app"),
        levels("tail"),
    );
    Agent::configured("aqueduct-collector", dir, "agent", &text)
}

/// Returns the state and the parent of a process, if it exists.
fn state_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the command in parentheses.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

/// Returns the processes that the agent has started.
pub(crate) fn plugins(agent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("a Linux host").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| state_and_parent(*pid).is_some_and(|(_, parent)| parent == agent)).collect()
}

/// Waits until these processes have ended. Some may still be zombies: the parent that they get
/// when their agent is killed waits for them later.
pub(crate) fn wait_until_ended(plugins: &[u32]) {
    wait::until("the end of the plug-ins", LIMIT, || {
        let has_ended = |pid: &u32| state_and_parent(*pid).is_none_or(|(state, _)| state == "Z");
        plugins.iter().all(has_ended).then_some(())
    });
}

/// Appends text to a file.
pub(crate) fn write(log: &Path, lines: &str) {
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.and_then(|mut file| file.write_all(lines.as_bytes())).expect("the test's own folder");
}

/// Returns the visible files of the store.
fn stored(dir: &Path) -> Vec<u8> {
    visible(&dir.join("store"))
}

/// Returns the lines of the table that the sink's plug-in has stored.
fn rows(dir: &Path) -> Vec<u8> {
    rows_at(&dir.join("lines.db"))
}

fn rows_at(database: &Path) -> Vec<u8> {
    let script = "import sqlite3, sys\n\
                  rows = sqlite3.connect(sys.argv[1]).execute('SELECT line FROM lines')\n\
                  print(''.join(line + '\\n' for line, in rows), end='')";
    let output = Command::new("python3").args(["-c", script]).arg(database).output();
    let output = output.expect("python3 runs");
    // Until the plug-in has made the table, there is nothing.
    if output.status.success() { output.stdout } else { Vec::new() }
}

#[test]
#[ignore = "needs the programs and python3: tests/run"]
fn each_line_is_stored_once_while_plugins_and_agent_are_killed() {
    let mut rng = seed::rng("plugins");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, log) = (folder.path(), folder.path().join("app.log"));
    write(&log, "");
    let mut agent = agent(dir);
    agent.start();
    let (mut kept, mut killed) = (String::new(), 0);
    for round in 0..KILLS {
        for line in 0..LINES {
            let level = ["DEBUG", "INFO", "WARN"][line % 3];
            let text = format!("{round} {line} {level} a line\n");
            write(&log, &text);
            if level != "DEBUG" {
                kept += &text;
            }
        }
        thread::sleep(Duration::from_millis(rng.random_range(0..700)));
        if round % 6 == 5 {
            let left = plugins(agent.process().pid());
            agent.kill();
            wait_until_ended(&left);
            agent.start();
        } else if let Some(plugin) = plugins(agent.process().pid()).choose(&mut rng) {
            let status = Command::new("kill").args(["-9", &plugin.to_string()]).status();
            killed += usize::from(status.expect("kill runs").success());
        }
    }
    assert!(killed >= KILLS / 3, "{killed} plug-ins were killed");
    // An interceptor is started with its first batch.
    write(&log, "the last WARN\n");
    kept += "the last WARN\n";
    let reads: [(&str, Read); 2] = [("store", stored), ("table", rows)];
    for (name, read) in reads {
        wait::until(&format!("all lines in the {name}"), LIMIT, || {
            (read(dir).len() >= kept.len()).then_some(())
        });
    }
    // More would arrive now.
    thread::sleep(Duration::from_secs(2));
    let left = plugins(agent.process().pid());
    assert_eq!(left.len(), 4, "{}", tail(&agent.output()));
    agent.stop(LIMIT);
    wait_until_ended(&left);
    let found = compare(kept.as_bytes(), &stored(dir));
    assert!(found.is_none(), "{found}\n{}", tail(&agent.output()));
    let rows = compare(kept.as_bytes(), &rows(dir));
    assert!(rows.is_none(), "{rows}");
    let output = agent.output();
    assert!(output.contains("the plug-in is ready"), "{}", tail(&output));
    assert!(output.contains("exited with signal: 9 (SIGKILL)"), "{}", tail(&output));
}

/// The files that `aqueduct plugin new` writes run unchanged.
fn new_plugins_run(language: &str, command: fn(&Path, &str) -> String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut commands = Vec::new();
    for role in ["source", "interceptor", "sink"] {
        let name = format!("my_{role}");
        let mut new = program("aqueduct");
        new.args(["plugin", "new", &name, "--language", language, "--role", role]);
        let output = new.current_dir(dir).output().expect("the program starts");
        assert!(output.status.success(), "{output:?}");
        commands.push(command(&dir.join(&name), &name));
    }
    let [source, interceptor, sink] = &commands[..] else { panic!("three roles") };
    let at = dir.display();
    let text = format!(
        "[agent]\ndata_dir = \"{at}/data\"\n\
         [sources.s]\ntype = \"process\"\nchannels = [\"main\"]\ncommand = {source}\n\
         settings = {{ path = \"{at}/app.log\" }}\n\
         [[sources.s.interceptors]]\ntype = \"process\"\ncommand = {interceptor}\n\
         settings = {{ least = \"WARN\" }}\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.k]\ntype = \"process\"\nchannel = \"main\"\ncommand = {sink}\n\
         settings = {{ path = \"{at}/out\" }}\n\
         [sinks.l]\ntype = \"file_roll\"\nchannel = \"main\"\ndirectory = \"{at}/roll\"\n"
    );
    let lines: String = (0..500).map(|n| format!("{n} INFO a\n{n} WARN b\n")).collect();
    write(&dir.join("app.log"), &lines);
    fs::create_dir(dir.join("roll")).expect("the test's own folder");
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &text);
    agent.start();
    let kept: String = (0..500).map(|n| format!("{n} WARN b\n")).collect();
    wait::until("the lines", LIMIT, || {
        (read_below(&dir.join("roll")).len() >= kept.len()).then_some(())
    });
    wait::until("what the sink stores", LIMIT, || {
        let out = dir.join("out");
        let stored = match fs::read_dir(&out) {
            // A file gets its final name at any time.
            Ok(files) => files.flatten().flat_map(|file| fs::read(file.path())).flatten().collect(),
            Err(_) => rows_at(&out),
        };
        compare(kept.as_bytes(), &stored).is_none().then_some(())
    });
    agent.stop(LIMIT);
    let found = compare(kept.as_bytes(), &read_below(&dir.join("roll")));
    assert!(found.is_none(), "{found}");
}

#[test]
#[ignore = "needs the programs and python3: tests/run"]
fn new_plugins_in_python_run_unchanged() {
    new_plugins_run("python", |dir, name| {
        format!("[\"python3\", \"{}\"]", dir.join(format!("{name}.py")).display())
    });
}

#[test]
#[ignore = "needs the programs and go: tests/run"]
fn new_plugins_in_go_run_unchanged() {
    new_plugins_run("go", |dir, name| {
        let mut build = Command::new("go");
        let built = build.arg("build").current_dir(dir).env("GOFLAGS", "-buildvcs=false").status();
        assert!(built.expect("go runs").success());
        format!("[\"{}\"]", dir.join(name).display())
    });
}

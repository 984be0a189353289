//! Goal: Java classes of a Flume configuration run unchanged with the agent. While their virtual
//! machines are killed with -9, no event is lost, and only those events repeat that Flume would
//! repeat: the open transaction of a class. The sources keep this while the agent is killed, too.
//!
//! Method: interceptors, two sources and a sink in the shapes that users write, compiled against
//! Flume 1.11, and Flume's own interceptors. `aqueduct agent` runs the configuration.
//!
//! ```text
//!   app.log ─► taildir ─► Split, Time, Filter ─► file channel ─► FileSink, 10 lines a transaction
//!   lines.log ─► LinesSource, an offset after each batch ──┬─► file channel ─► file_roll
//!   client, repeats lines without an OK ─► LinesServer ────┘
//! ```
//!
//! Serializers, selectors, deserializers and Flume's JMS source: see the modules with these names.
//!
//! Lane: flume
//! Needs: javac mvn
//! Weight: 1
//! Limit: 10m
//! Paths: crates/components-process crates/flume deploy/flume-jvm proto/plugin crates/formats
//! Paths: crates/components/src/sinks/file_roll.rs

mod deserializers;
mod jms;
mod selectors;
mod serializers;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::flume::{Flume, bridge, compiled, jars, java};
use aqueduct_tests::process::tail;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::read_below;
use aqueduct_tests::{http, seed, wait};
use rand::prelude::*;

use crate::plugins::{plugins, wait_until_ended, write};

const LIMIT: Duration = Duration::from_secs(120);

/// Kills, and lines between two of them.
const KILLS: usize = 16;
const LINES: usize = 200;

/// Events of a transaction of the sink, and of a batch of the file, which has ten of them: batches
/// that repeat as a whole exceed the limit.
const OF_TRANSACTION: usize = 10;
const OF_BATCH: usize = 100;

/// Events of a batch of `LinesSource`.
const OF_LINES: usize = 20;

const SOURCES: [&str; 7] = [
    include_str!("flume_jars/Interceptors.java"),
    include_str!("flume_jars/FileSink.java"),
    include_str!("flume_jars/LinesSource.java"),
    include_str!("flume_jars/LinesServer.java"),
    include_str!("flume_jars/CsvSerializer.java"),
    include_str!("flume_jars/SizeSelector.java"),
    include_str!("flume_jars/Paragraphs.java"),
];
const NAMES: [&str; 7] = [
    "Interceptors",
    "FileSink",
    "LinesSource",
    "LinesServer",
    "CsvSerializer",
    "SizeSelector",
    "Paragraphs",
];

/// A folder with the bridge and the compiled classes.
struct Place {
    folder: tempfile::TempDir,
    jar: PathBuf,
    classes: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let jar = bridge(folder.path());
        let classes = compiled(&folder.path().join("classes"), &NAMES, &SOURCES);
        Self { folder, jar, classes }
    }

    fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Returns an agent with this configuration, and a class path.
    fn agent(&self, properties: &str, class_path: &str) -> Agent {
        self.agent_with(properties, class_path, &[])
    }

    /// Same with further arguments.
    fn agent_with(&self, properties: &str, class_path: &str, more: &[&str]) -> Agent {
        let (conf, data) = (self.dir().join("flume.conf"), self.dir().join("data"));
        fs::write(&conf, properties).expect("the test's own folder");
        let (conf, data) = (conf.display().to_string(), data.display().to_string());
        let own = ["agent", "-n", "a", "-f", &conf, "--data-dir", &data, "-C", class_path];
        let agent =
            Agent::new("aqueduct", &[&own[..], more].concat(), &self.dir().join("agent.out"));
        agent.with_variable("AQUEDUCT_FLUME_JAR", &self.jar)
    }

    fn class_path(&self) -> String {
        format!("{}:{}", self.classes.display(), jars().display())
    }

    /// Starts Flume in `dir`, or an agent with further arguments; returns how to stop it.
    fn side(
        &self,
        side: &str,
        (dir, properties): (&Path, &str),
        more: &[&str],
    ) -> Box<dyn FnOnce()> {
        if side == "flume" {
            let mut machine = java(dir);
            // The last class path counts.
            let class_path = format!("{}:{}/*", self.classes.display(), jars().display());
            machine.arg("-cp").arg(class_path);
            let flume = Flume::start_by(machine, "a", properties, dir);
            return Box::new(move || flume.stop());
        }
        let mut agent = self.agent_with(properties, &self.class_path(), more);
        agent.start();
        Box::new(move || agent.stop(LIMIT))
    }
}

/// Returns the process that has this file open.
fn holder(processes: &[u32], file: &Path) -> Option<u32> {
    let has = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| path == file)
    };
    processes.iter().copied().find(has)
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |file| file.len())
}

fn kill(pid: u32) -> bool {
    Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs").success()
}

/// Kills a virtual machine, or in each fourth round the agent. Returns true for a virtual machine.
fn kill_one(round: usize, agent: &mut Agent, rng: &mut impl Rng) -> bool {
    let running = plugins(agent.process().pid());
    if round % 4 < 3 {
        return running.choose(rng).copied().is_some_and(kill);
    }
    agent.kill();
    wait_until_ended(&running);
    agent.start();
    false
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn interceptors_and_sink_lose_nothing_and_repeat_open_transactions_only() {
    let mut rng = seed::rng("flume_jars");
    let place = Place::new();
    let (dir, at) = (place.dir(), place.dir().display());
    let (log, out) = (dir.join("app.log"), dir.join("sink.out"));
    write(&log, "");
    let properties = format!(
        "a.sources = app\na.channels = c\na.sinks = k\n\
         a.sources.app.type = TAILDIR\na.sources.app.positionFile = {at}/positions.json\n\
         a.sources.app.filegroups = f\na.sources.app.filegroups.f = {at}/app.log\n\
         a.sources.app.batchSize = {OF_BATCH}\na.sources.app.channels = c\n\
         a.sources.app.interceptors = s t f\n\
         a.sources.app.interceptors.s.type = com.example.flume.Interceptors$Split$Builder\n\
         a.sources.app.interceptors.t.type = com.example.flume.Interceptors$Time$Builder\n\
         a.sources.app.interceptors.t.json.field = ts\n\
         a.sources.app.interceptors.f.type = com.example.flume.Interceptors$Filter$Builder\n\
         a.sources.app.interceptors.f.word = DEBUG\n\
         a.channels.c.type = file\n\
         a.sinks.k.type = com.example.flume.FileSink\na.sinks.k.channel = c\n\
         a.sinks.k.path = {at}/sink.out\na.sinks.k.batchSize = {OF_TRANSACTION}\n\
         a.sinks.k.pause = 20\n"
    );
    let mut agent = place.agent(&properties, &place.class_path());
    agent.start();
    let (mut kept, mut of_sink) = (String::new(), 0);
    for round in 0..KILLS {
        for line in 0..LINES {
            let event = format!("{{\"ts\":\"{}\",\"n\":\"{round}-{line}\"}}", 1000 + line);
            write(&log, &format!("{event}|{{\"ts\":\"1\",\"n\":\"DEBUG\"}}\n"));
            kept += &format!("{} {event}\n", 1000 + line);
        }
        // The sink writes for 400 ms.
        let before = length(&out);
        wait::until("lines of the sink", LIMIT, || (length(&out) > before).then_some(()));
        thread::sleep(Duration::from_millis(rng.random_range(0..300)));
        let running = plugins(agent.process().pid());
        of_sink += usize::from(holder(&running, &out).is_some_and(kill));
        if round % 4 == 3 {
            running.choose(&mut rng).copied().map(kill);
        }
    }
    assert!(of_sink >= KILLS / 4, "{of_sink} kills of the sink");
    // An interceptor is started with its first batch.
    write(&log, "{\"ts\":\"7\",\"n\":\"last\"}\n");
    kept += "7 {\"ts\":\"7\",\"n\":\"last\"}\n";
    wait::until("all lines of the sink", LIMIT, || {
        let found = compare(kept.as_bytes(), &fs::read(&out).unwrap_or_default());
        (found.missing == 0).then_some(())
    });
    // More would arrive now.
    thread::sleep(Duration::from_secs(2));
    let left = plugins(agent.process().pid());
    assert_eq!(left.len(), 4, "{}", tail(&agent.output()));
    agent.stop(LIMIT);
    wait_until_ended(&left);
    let found = compare(kept.as_bytes(), &fs::read(&out).expect("the file of the sink"));
    // The second kill of a round may be that of the sink, too.
    let (output, most) = (agent.output(), OF_TRANSACTION * (of_sink + KILLS / 4));
    println!("{found}; {of_sink} kills of the sink");
    assert!(found.missing + found.foreign == 0, "{found}\n{}", tail(&output));
    assert!(found.repeated <= most, "at most {most} may repeat: {found}\n{}", tail(&output));
    assert!(output.contains("the disk is busy"), "{}", tail(&output));
}

/// Sends lines until each has its OK.
fn send(address: SocketAddr, lines: &[String]) {
    let mut connection = None;
    for line in lines {
        wait::until("the OK of a line", LIMIT, || {
            let mut stream: BufReader<TcpStream> = match connection.take() {
                Some(stream) => stream,
                None => BufReader::new(TcpStream::connect(address).ok()?),
            };
            stream.get_mut().write_all(format!("{line}\n").as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_line(&mut answer).ok().filter(|_| answer == "OK\n")?;
            connection = Some(stream);
            Some(())
        });
    }
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn sources_lose_nothing_and_repeat_unacknowledged_events_only() {
    let mut rng = seed::rng("flume_jars");
    let place = Place::new();
    let (dir, at) = (place.dir(), place.dir().display());
    let (log, port) = (dir.join("lines.log"), http::free_address().port());
    write(&log, "");
    for folder in ["polled", "served"] {
        fs::create_dir(dir.join(folder)).expect("the test's own folder");
    }
    let flow = |n: &str, class: &str, more: &str, folder: &str| {
        format!(
            "a.sources.{n}.type = com.example.flume.{class}\na.sources.{n}.channels = {n}\n\
             a.sources.{n}.{more}\na.channels.{n}.type = file\n\
             a.sinks.{n}.type = file_roll\na.sinks.{n}.channel = {n}\n\
             a.sinks.{n}.sink.directory = {at}/{folder}\n"
        )
    };
    let properties = format!(
        "a.sources = p s\na.channels = p s\na.sinks = p s\n{}{}\
         a.sources.p.batchSize = {OF_LINES}\n",
        flow("p", "LinesSource", &format!("path = {at}/lines.log"), "polled"),
        flow("s", "LinesServer", &format!("port = {port}"), "served"),
    );
    let mut agent = place.agent(&properties, &place.class_path());
    agent.start();
    let sent: Vec<String> = (0..KILLS * LINES).map(|n| format!("sent {n}")).collect();
    let (client, mut polled) = (sent.clone(), String::new());
    let client = thread::spawn(move || send(([127, 0, 0, 1], port).into(), &client));
    for round in 0..KILLS {
        let lines: String = (0..LINES).map(|line| format!("{round} {line} a line\n")).collect();
        write(&log, &lines);
        polled += &lines;
        thread::sleep(Duration::from_millis(rng.random_range(300..1500)));
        kill_one(round, &mut agent, &mut rng);
    }
    client.join().expect("the client sends all lines");
    let sent: String = sent.iter().map(|line| format!("{line}\n")).collect();
    for (folder, lines, most) in [("polled", &polled, OF_LINES * KILLS), ("served", &sent, KILLS)] {
        wait::until(&format!("all lines in {folder}"), LIMIT, || {
            let found = compare(lines.as_bytes(), &read_below(&dir.join(folder)));
            (found.missing == 0).then_some(())
        });
        let found = compare(lines.as_bytes(), &read_below(&dir.join(folder)));
        println!("{folder}: {found}");
        assert!(found.foreign == 0 && found.repeated <= most, "at most {most} repeat: {found}");
    }
    let left = plugins(agent.process().pid());
    agent.stop(LIMIT);
    wait_until_ended(&left);
}

/// Interceptors of Flume itself, and one that fails for an event.
#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn interceptors_of_flume_run_in_the_component_process() {
    let place = Place::new();
    let (dir, at) = (place.dir(), place.dir().display());
    let interceptor = |class: &str, more: &str, argument: &str| {
        format!(
            "[[sources.app.interceptors]]\ntype = \"process\"\neffect = true\n\
             command = [\"java\", \"-Xmx64m\", \"-cp\", \"{}:{}:{}/*\", \
             \"aqueduct.flume.Launcher\"{argument}]\nsettings = {{ type = \"{class}\"{more} }}\n",
            place.jar.display(),
            place.classes.display(),
            jars().display(),
        )
    };
    let filtering = "org.apache.flume.interceptor.RegexFilteringInterceptor$Builder";
    let text = format!(
        "[agent]\ndata_dir = \"{at}/data\"\n\
         [sources.app]\ntype = \"tail_dir\"\nchannels = [\"main\"]\npaths = [\"{at}/app.log\"]\n\
         {}{}{}[channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.k]\ntype = \"file_roll\"\nchannel = \"main\"\ndirectory = \"{at}/out\"\n\
         encoder = \"header_and_text\"\n",
        interceptor(filtering, ", regex = \"DEBUG\", excludeEvents = true", ""),
        interceptor("static", ", key = \"env\", value = \"prod\"", ""),
        interceptor("com.example.flume.Interceptors$Failing$Builder", "", ", \"--refuse-failed\""),
    );
    fs::create_dir(dir.join("out")).expect("the test's own folder");
    let lines: String = (0..500).map(|n| format!("{n} DEBUG a\n{n} WARN b\n")).collect();
    write(&dir.join("app.log"), &format!("poison\n{lines}"));
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &text);
    agent.start();
    let kept: String =
        (0..500).map(|n| format!("{{env=prod, file={at}/app.log}} {n} WARN b\n")).collect();
    wait::until("the lines", LIMIT, || {
        (read_below(&dir.join("out")).len() >= kept.len()).then_some(())
    });
    let letters = agent.metrics().expect("metrics").sum("aqueduct_source_dead_letter_events_total");
    assert_eq!(letters, Some(1.0), "{}", tail(&agent.output()));
    agent.stop(LIMIT);
    let found = compare(kept.as_bytes(), &read_below(&dir.join("out")));
    assert!(found.is_none(), "{found}");
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn missing_java_flume_and_classes_are_reported_with_the_remedy() {
    let place = Place::new();
    let properties = |class: &str| {
        format!(
            "a.sources = s\na.channels = c\na.sinks = k\na.sources.s.type = {class}\n\
             a.sources.s.channels = c\na.sources.s.path = /nowhere\n\
             a.channels.c.type = memory\na.sinks.k.type = logger\na.sinks.k.channel = c\n"
        )
    };
    let own = properties("com.example.flume.LinesSource");
    let (all, classes) = (place.class_path(), place.classes.display().to_string());
    let unknown = properties("com.example.flume.Unknown");
    for (properties, class_path, java, wanted) in [
        (&own, &classes, "", "add the jars in the folder lib of Flume 1.11 to --classpath"),
        (&own, &all, "/nowhere", "install Java 17 or later"),
        (&unknown, &all, "", "class com.example.flume.Unknown is not on the class path"),
    ] {
        let mut agent = place.agent(properties, class_path).with_variable("FLUME_HOME", "/nowhere");
        if !java.is_empty() {
            agent = agent.with_variable("JAVA_HOME", java);
        }
        agent.start();
        wait::until(wanted, LIMIT, || agent.output().contains(wanted).then_some(()));
        agent.kill();
    }
    let mut without = program("aqueduct");
    without.args(["agent", "-n", "a", "-f"]).arg(place.dir().join("flume.conf"));
    let output = without.env_remove("FLUME_HOME").output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("set --classpath to its jars and Flume's to run it"), "{said}");
}

//! Goal: log files move between Flume's source `taildir` and an agent, and back, and one of them
//! reads every line once.
//!
//! Method: two file groups, one of which has headers and becomes a separate source. Flume reads
//! first and is killed with -9 after its position file is up to date; the agent continues from that
//! file, with a translation of Flume's own configuration; then Flume continues from the output of
//! `aqueduct channel positions`, and is shut down; then the agent again, with a new data directory.
//! Lines are written while neither runs; and a file is renamed, which only Flume would read again.
//! The test checks the lines in the files of all sinks together.
//!
//! ```text
//!   access.log, app-*.log ─► taildir ─► memory ─► file_roll      flume-0, flume-1
//!                         └► tail_dir ─► durable ─► file_roll     ours-0, ours-1
//! ```
//!
//! Lane: flume
//! Needs: java mvn
//! Weight: 1
//! Limit: 10m
//! Paths: crates/components-files crates/kit crates/flume

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::flume::Flume;
use aqueduct_tests::wait;

const LIMIT: Duration = Duration::from_secs(60);

/// Lines per file in each stage.
const LINES: usize = 2_000;

struct Site {
    dir: PathBuf,
    written: Vec<String>,
    stage: usize,
}

impl Site {
    fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(name)
    }

    /// Writes lines, and the start of one that the next call completes.
    fn write(&mut self, name: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.log(name));
        let mut file = file.expect("the test's own folder");
        let is_new = file.metadata().expect("an open file").len() == 0;
        let mut text = if is_new { String::new() } else { " ended\n".to_owned() };
        for line in 0..LINES {
            let line = format!("{name} stage {} line {line}", self.stage);
            text += &line;
            text += "\n";
            self.written.push(line);
        }
        let begun = format!("{name} begun in stage {}", self.stage);
        text += &begun;
        file.write_all(text.as_bytes()).expect("the test's own folder");
        self.written.push(format!("{begun} ended"));
    }

    /// Completes the started lines.
    fn end(&self, name: &str) {
        let file = OpenOptions::new().append(true).open(self.log(name));
        let mut file = file.expect("the test's own folder");
        file.write_all(b" ended\n").expect("the test's own folder");
    }

    /// Returns everything that all sinks have written so far, sorted.
    fn read(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for sink in fs::read_dir(self.dir.join("out")).expect("the test's own folder") {
            for file in fs::read_dir(sink.expect("an entry").path()).expect("a folder") {
                let bytes = fs::read(file.expect("an entry").path()).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                let whole = text.rfind('\n').map_or("", |end| &text[..end]);
                lines.extend(whole.lines().map(str::to_owned));
            }
        }
        lines.sort();
        lines
    }

    /// Waits until every complete line is there, without the `begun` ones.
    fn expect(&self, begun: usize) {
        let mut whole = self.written.clone();
        // The last started line is incomplete.
        if begun > 0 {
            let stage = self.stage;
            let is_begun = |line: &String| line.ends_with(&format!("begun in stage {stage} ended"));
            whole.retain(|line| !is_begun(line));
            assert_eq!(self.written.len() - whole.len(), begun);
        }
        whole.sort();
        wait::until(&format!("the lines of stage {}", self.stage), LIMIT, || {
            (self.read().len() >= whole.len()).then_some(())
        });
        let found = self.read();
        let surplus: Vec<_> =
            found.iter().filter(|line| whole.binary_search(line).is_err()).collect();
        let count = (found.len(), whole.len());
        assert!(found == whole, "stage {}: {count:?}, surplus {surplus:.5?}", self.stage);
    }

    fn positions(&self) -> PathBuf {
        self.dir.join("positions.json")
    }

    /// Returns Flume's configuration; its sinks write to `out/NAME-0` and `out/NAME-1`.
    fn properties(&self, name: &str) -> String {
        let dir = self.dir.display();
        let mut text = format!(
            r"
a.sources = r
a.channels = c
a.sinks = k
a.sources.r.type = TAILDIR
a.sources.r.positionFile = {dir}/positions.json
a.sources.r.writePosInterval = 200
a.sources.r.idleTimeout = 600000
a.sources.r.filegroups = web app
a.sources.r.filegroups.web = {dir}/logs/access\\.log.*
a.sources.r.filegroups.app = {dir}/logs/app-.*
a.sources.r.headers.app.team = shop
a.sources.r.channels = c
a.channels.c.capacity = 100000
a.sinks.k.type = file_roll
a.sinks.k.sink.directory = {dir}/out/{name}
a.sinks.k.sink.rollInterval = 0
a.sinks.k.channel = c
"
        );
        text += match name.starts_with("flume") {
            true => "a.channels.c.type = memory\na.channels.c.transactionCapacity = 100\n",
            false => "a.channels.c.type = file\n",
        };
        fs::create_dir_all(self.dir.join("out").join(name)).expect("the test's own folder");
        text
    }

    fn flume(&self, name: &str) -> Flume {
        Flume::start("a", &self.properties(name), &self.dir)
    }

    /// Returns our agent with Flume's configuration, and its own data directory.
    fn ours(&self, name: &str) -> Agent {
        let file = self.dir.join(format!("{name}.properties"));
        fs::write(&file, self.properties(name)).expect("the test's own folder");
        let data = self.dir.join(name);
        let arguments = [
            "agent",
            "-n",
            "a",
            "-f",
            &file.display().to_string(),
            "--data-dir",
            &data.display().to_string(),
        ]
        .map(str::to_owned);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut agent = Agent::new("aqueduct", &arguments, &self.dir.join(format!("{name}.out")));
        agent.start();
        agent
    }

    /// Waits until Flume's position file covers all complete lines.
    fn wait_until_flume_has_noted(&self, names: &[&str]) {
        let whole = |name: &&str| {
            let bytes = fs::read(self.log(name)).expect("a log file");
            let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            (self.log(name).display().to_string(), end as u64)
        };
        let expected: Vec<(String, u64)> = names.iter().map(whole).collect();
        wait::until("Flume to note its positions", LIMIT, || {
            let text = fs::read(self.positions()).ok()?;
            let found: serde_json::Value = serde_json::from_slice(&text).ok()?;
            let has = |(file, pos): &(String, u64)| {
                let entries = found.as_array().into_iter().flatten();
                entries.into_iter().any(|it| it["file"] == file.as_str() && it["pos"] == *pos)
            };
            expected.iter().all(has).then_some(())
        });
    }

    /// Writes Flume's position file from the agent's channel.
    fn hand_back(&self, name: &str) {
        let channel = self.dir.join(name).join("channels/c");
        let mut command = program("aqueduct");
        command.args(["channel", "positions"]).arg(&channel).arg("--flume");
        let output = command.output().expect("the program starts");
        assert!(output.status.success(), "{output:?}");
        fs::write(self.positions(), output.stdout).expect("the test's own folder");
    }
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn each_line_is_read_once_when_files_move_between_flume_and_an_agent() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site { dir: dir.path().to_owned(), written: Vec::new(), stage: 0 };
    fs::create_dir_all(site.log("")).expect("the test's own folder");
    let names = ["access.log", "app-1"];

    names.iter().for_each(|name| site.write(name));
    let flume = site.flume("flume-0");
    site.expect(2);
    site.wait_until_flume_has_noted(&names);
    flume.kill();

    site.stage = 1;
    site.write("app-1");
    // Completed under its new name, which neither has seen.
    fs::rename(site.log("access.log"), site.log("access.log.1")).expect("the test's own folder");
    site.end("access.log.1");
    site.write("access.log");
    let mut agent = site.ours("ours-0");
    site.expect(2);
    agent.stop(Duration::from_secs(25));
    site.hand_back("ours-0");

    site.stage = 2;
    names.iter().for_each(|name| site.write(name));
    let flume = site.flume("flume-1");
    site.expect(2);
    flume.stop();

    site.stage = 3;
    names.iter().for_each(|name| site.write(name));
    let mut agent = site.ours("ours-1");
    names.iter().for_each(|name| site.end(name));
    site.expect(0);
    agent.stop(Duration::from_secs(25));
}

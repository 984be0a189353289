//! A fleet: its server, agents whose own files have only `[agent]`, and lines in their logs.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{Agent, program};
use crate::process::Process;
use crate::{http, wait};

/// Time limit for everything that a test waits for.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Pause between the lines of an agent's log, and lines at a time.
const PAUSE: Duration = Duration::from_millis(50);
const LINES: usize = 5;

/// A fleet server and its agents.
#[derive(Debug)]
pub struct Fleet {
    /// The server, while it runs.
    pub server: Option<Process>,
    /// Its agents.
    pub agents: Vec<Agent>,
    listen: String,
    soak: &'static str,
    stop: Arc<AtomicBool>,
    writer: Option<thread::JoinHandle<()>>,
    /// Last, so that it is dropped after the processes that write into it.
    dir: TempDir,
}

fn name(number: usize) -> String {
    format!("edge-{number}")
}

impl Fleet {
    /// Starts a server and agents. Lines are written to their logs until the end. Roll-outs observe
    /// each agent for `soak` seconds.
    ///
    /// # Panics
    ///
    /// When a program does not start.
    pub fn start(agents: usize, soak: &'static str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let listen = http::free_address().to_string();
        let (server, stop, writer) = Default::default();
        let (count, agents) = (agents, Vec::new());
        let mut fleet = Self { server, agents, listen, soak, stop, writer, dir };
        fleet.start_server();
        for number in 0..count {
            let agent = fleet.agent(number);
            fleet.agents.push(agent);
        }
        fleet.agents.iter_mut().for_each(Agent::start);
        fleet.writer = Some(fleet.write());
        wait::until("all agents to report", LIMIT, || {
            (fleet.view()?["agents"].as_array()?.len() == count).then_some(())
        });
        fleet
    }

    /// The path of a file of this fleet.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start_server(&mut self) {
        let mut command = program("aqueduct");
        command.args(["fleet", "serve"]).arg(self.path("fleet"));
        command.args(["--listen", &self.listen]);
        self.server = Some(Process::start("fleet", command, &self.path("server.out")));
        self.seen();
    }

    fn agent(&self, number: usize) -> Agent {
        let name = name(number);
        fs::create_dir(self.path(&name)).expect("the test's own folder");
        let file = self.configured(&name, "edge", "");
        let arguments = ["collector", "--config", &file];
        Agent::new("aqueduct", &arguments, &self.path(&format!("{name}.out")))
            .with_variable("AGENT", name)
    }

    /// Adds and starts an agent that is this program, and whose own file has these parts.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn add(&mut self, program: &'static str, name: &str, parts: &str) {
        let file = self.configured(name, "own", parts);
        let log = self.path(&format!("{name}.out"));
        let mut agent = Agent::new(program, &["--config", &file], &log);
        agent.start();
        self.agents.push(agent);
    }

    /// Writes the configuration of an agent, and returns its path.
    fn configured(&self, name: &str, role: &str, parts: &str) -> String {
        let text = format!(
            "[agent]\nname = \"{name}\"\ndata_dir = \"{}\"\n\
             fleet = {{ url = \"http://{}\", poll = \"1s\", labels = {{ role = \"{role}\" }} }}\n\
             {parts}",
            self.path(&format!("data-{name}")).display(),
            self.listen
        );
        let file = self.path(&format!("{name}.toml"));
        fs::write(&file, text).expect("the test's own folder");
        file.display().to_string()
    }

    /// Returns a page of the server, when it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn page(&self, path: &str) -> String {
        let address = self.listen.parse().expect("an address");
        wait::until("a page of the fleet server", LIMIT, || {
            http::get(address, path).filter(|(status, _)| *status == 200).map(|(_, body)| body)
        })
    }

    /// Writes lines to `app.log` of all agents, all different, and few lines to `rare.log`.
    fn write(&self) -> thread::JoinHandle<()> {
        let (dir, stop) = (self.dir.path().to_owned(), self.stop.clone());
        let agents = self.agents.len();
        thread::spawn(move || {
            let open = |file: &str| {
                let open = |number| append(&dir.join(name(number)).join(file));
                (0..agents).map(open).collect::<Vec<File>>()
            };
            let (mut all, mut few) = (open("app.log"), open("rare.log"));
            let mut numbers = 0_usize..;
            while !stop.load(Ordering::Relaxed) {
                let numbers = numbers.by_ref().take(LINES);
                let lines: Vec<String> =
                    numbers.map(|it| format!("level={} n={it}\n", it % LINES)).collect();
                let text = lines.concat();
                for file in &mut all {
                    file.write_all(text.as_bytes()).expect("its own folder");
                }
                if text.contains("00\n") {
                    for file in &mut few {
                        file.write_all(b"level=0 rare\n").expect("its own folder");
                    }
                }
                thread::sleep(PAUSE);
            }
        })
    }

    fn command(&self, command: &str) -> Command {
        let mut fleet = program("aqueduct");
        fleet.args(["fleet", command, &self.listen, "--json"]);
        fleet
    }

    /// Runs `aqueduct fleet COMMAND` with these arguments.
    ///
    /// # Panics
    ///
    /// When the program does not start.
    pub fn run(&self, command: &str, arguments: &[&str]) -> Output {
        self.command(command).args(arguments).output().expect("the program starts")
    }

    /// The fleet as the server shows it, if it answers.
    pub fn view(&self) -> Option<Value> {
        serde_json::from_slice(&self.run("agents", &[]).stdout).ok()
    }

    /// The same, when the server answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn seen(&self) -> Value {
        wait::until("the fleet server", LIMIT, || self.view())
    }

    /// Writes the fragment of all agents.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write_fragment(&self, text: &str) {
        let folder = self.path("fleet").join("fragments");
        fs::write(folder.join("edge.toml"), text).expect("the test's own folder");
        let assign = "[[assign]]\nlabels = { role = \"edge\" }\nfragments = [\"edge\"]\n";
        fs::write(folder.with_file_name("assign.toml"), assign).expect("the test's own folder");
    }

    /// Starts a roll-out; returns the reason if the server refuses it.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub fn roll_out(&self) -> Result<(), String> {
        let output = self.run("roll-out", &["--soak", self.soak]);
        match output.status.success() {
            true => Ok(()),
            false => {
                let printed = [output.stdout, output.stderr].concat();
                Err(String::from_utf8_lossy(&printed).into_owned())
            }
        }
    }

    /// Waits until the roll-out has ended, and returns it.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn ended(&self) -> Value {
        wait::until("the end of the roll-out", LIMIT, || {
            let output = self.run("status", &[]);
            let mut view: Value = serde_json::from_slice(&output.stdout).ok()?;
            let rollout = view["rollout"].take();
            let ended = ["completed", "rolled_back"].contains(&rollout["phase"].as_str()?);
            ended.then_some(rollout)
        })
    }

    /// Returns how often each agent has applied a text of the server.
    pub fn applied(&self) -> Vec<usize> {
        let all = (0..self.agents.len()).map(|number| {
            let path = self.path(&format!("data-{}/audit.log", name(number)));
            let text = fs::read_to_string(path).unwrap_or_default();
            let is_one = |line: &&str| {
                line.contains("\"by\":\"fleet server\"") && line.contains("\"outcome\":\"done\"")
            };
            text.lines().filter(is_one).count()
        });
        all.collect()
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("its own folder")
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(writer) = self.writer.take() {
            let _ended = writer.join();
        }
    }
}

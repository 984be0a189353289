//! Thousands of agents on one fleet server: CPU, memory and the time of an answer, while they
//! report and while a revision is rolled out to all of them.
//!
//! The server is the program of an operator, `aqueduct fleet serve`, in a process of its own. The
//! agents are simulated in this process ([`agent`]): they report over real loopback connections as
//! often as agents do, and apply each offer at once.

mod agent;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::loopback::free_address;

use crate::Setup;
use crate::error::{Doing, Error, Result};
use crate::fan_in::edges::make_room_for;
use crate::http;
use crate::process::{Process, Usage};
use crate::programs;
use crate::report::{Better, Report, rank};
use agent::Agents;

/// Requirements with 10,000 agents.
const CORES_MAX: f64 = 1.0;
const MEMORY_MIB_MAX: f64 = 512.0;
const ANSWER_P99_MS_MAX: f64 = 100.0;

/// Time limit of a start, and of a roll-out without its soaks.
const LIMIT: Duration = Duration::from_secs(900);

const EXAMPLES: &str = "\
Examples:
  aqueduct-bench fleet                            10,000 agents that poll every 30 s
  aqueduct-bench fleet --agents 1000 --poll 5 --seconds 20

Needs a hard limit of open files (ulimit -Hn) of some more than --agents.";

/// Options of the benchmark.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Agents
    #[arg(long, default_value_t = 10_000)]
    agents: u32,
    /// Seconds between two reports of an agent
    #[arg(long, default_value_t = 30)]
    poll: u32,
    /// Seconds that are measured before the roll-out
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Seconds that each agent is observed in the roll-out
    #[arg(long, default_value_t = 10)]
    soak: u32,
    /// Measure this program, for example an older one, instead of building it
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    make_room_for(options.agents)?;
    let program = match &options.program {
        Some(program) => program.clone(),
        None => {
            let [program] = programs::built(["aqueduct"])?;
            program
        }
    };
    let scratch = setup.cache.scratch()?;
    let directory = scratch.path().join("fleet");
    let port = free_address().port();
    let mut server = Command::new(program);
    server.args(["fleet", "serve"]).arg(&directory);
    server.args(["--listen", &format!("127.0.0.1:{port}")]);
    let mut server = Process::spawn("fleet", server, scratch.path())?;
    server.wait_for_port(port, LIMIT)?;
    write_fragments(&directory)?;

    let agents = Arc::new(Agents::new(port, options.poll));
    let runtime = tokio::runtime::Runtime::new().doing(|| "start the runtime".to_owned())?;
    for number in 0..options.agents {
        runtime.spawn(agents.clone().live(number, options.agents));
    }
    // All have reported, and connected ones are connected.
    let poll = Duration::from_secs(options.poll.into());
    server.watch(poll / 10, "all agents", LIMIT, || agents.reporting() == options.agents)?;
    std::thread::sleep(poll);
    let idle = measured(&server, &agents, || {
        std::thread::sleep(Duration::from_secs(options.seconds.into()));
        Ok(())
    })?;
    let [one, topology] = ["/history?agent=00000000000000000000000000000001", "/topology"];
    let pages = ["/", "/fleet", one, topology].map(|page| timed(port, page));
    let rolled = measured(&server, &agents, || roll_out(port, options.soak))?;
    // Progress reaches the disk, and the table of agents.
    std::thread::sleep(Duration::from_secs(1));
    server.check()?;
    let memory = server.usage()?.peak_rss_mib;
    let [page, json, history, topology] = pages;
    figures(report, (&idle, &rolled), [page?, json?, history?, topology?], memory);
    let (once, others) = agents.applied();
    report.note(format!(
        "{} agents, a report every {} s; {} answers measured, {} failed; {once} applied the \
         revision once, {others} not or more often",
        options.agents,
        options.poll,
        idle.answers + rolled.answers,
        agents.failed(),
    ));
    Ok(())
}

fn figures(
    report: &mut Report,
    (idle, rolled): (&Phase, &Phase),
    [page, json, history, topology]: [f64; 4],
    memory: f64,
) {
    for (case, unit, value, target) in [
        ("reports, CPU", "cores", idle.cores, Some(CORES_MAX)),
        ("reports, p50", "ms", idle.p50_ms, None),
        ("reports, p99", "ms", idle.p99_ms, Some(ANSWER_P99_MS_MAX)),
        ("reports, longest", "ms", idle.longest_ms, None),
        ("page for operators", "ms", page, None),
        ("all agents as JSON", "ms", json, None),
        ("history of an agent", "ms", history, None),
        ("topology as JSON", "ms", topology, None),
        ("roll-out, CPU", "cores", rolled.cores, Some(CORES_MAX)),
        ("roll-out, p99", "ms", rolled.p99_ms, Some(ANSWER_P99_MS_MAX)),
        ("roll-out, longest", "ms", rolled.longest_ms, None),
        ("roll-out, all waves", "s", rolled.seconds, None),
        ("memory", "MiB", memory, Some(MEMORY_MIB_MAX)),
    ] {
        report.add_value(("fleet", case), (value, unit), Better::Less, target);
    }
}

/// Figures of a phase.
struct Phase {
    seconds: f64,
    cores: f64,
    answers: usize,
    p50_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

/// Measures the server during `phase`.
fn measured(
    server: &Process,
    agents: &Agents,
    phase: impl FnOnce() -> Result<()>,
) -> Result<Phase> {
    let _earlier = agents.take_millis();
    let (before, began) = (Usage::read(server.id())?, Instant::now());
    phase()?;
    let (seconds, after) = (began.elapsed().as_secs_f64(), Usage::read(server.id())?);
    let mut millis = agents.take_millis();
    millis.sort_by(f64::total_cmp);
    let at = |share: f64| rank(&millis, share).unwrap_or(f64::INFINITY);
    Ok(Phase {
        seconds,
        cores: (after.cpu_s - before.cpu_s) / seconds,
        answers: millis.len(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        longest_ms: at(1.0),
    })
}

/// Returns the milliseconds of a page.
fn timed(port: u16, page: &str) -> Result<f64> {
    let began = Instant::now();
    let (status, body) = http::get(port, page)?;
    if status != 200 {
        let detail = String::from_utf8_lossy(&body).into_owned();
        return Err(Error::Answer { from: page.to_owned(), detail });
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// Fragments of a usual size: the text of an agent has about 4 KiB.
fn write_fragments(directory: &Path) -> Result<()> {
    let fragments = directory.join("fragments");
    for role in ["base", "edge", "collector"] {
        let path = fragments.join(format!("{role}.toml"));
        let filler = format!("# {}\n", "settings ".repeat(10)).repeat(20);
        let text = format!("[sinks.{role}]\n{filler}type = \"discard\"\n");
        fs::write(&path, text).at("write", &path)?;
    }
    let assign = "[[assign]]\nfragments = [\"base\"]\n\
                  [[assign]]\nlabels = { role = \"edge\" }\nfragments = [\"edge\"]\n\
                  [[assign]]\nlabels = { role = \"collector\" }\nfragments = [\"collector\"]\n";
    let path = directory.join("assign.toml");
    fs::write(&path, assign).at("write", &path)
}

/// Rolls out the fragments, and waits for the end.
fn roll_out(port: u16, soak: u32) -> Result<()> {
    let started = Instant::now();
    let wrong = |detail: String| Error::Answer { from: "the fleet server".to_owned(), detail };
    let (status, body) = http::post(port, &format!("/roll-out?soak={soak}"), "roll-out")?;
    if status != 200 {
        return Err(wrong(String::from_utf8_lossy(&body).into_owned()));
    }
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let (_, body) = http::get(port, "/roll-out")?;
        let view: Value = serde_json::from_slice(&body).map_err(|it| wrong(it.to_string()))?;
        match view["rollout"]["phase"].as_str() {
            Some("completed") => return Ok(()),
            Some("running") if started.elapsed() < LIMIT => {}
            _ => return Err(wrong(view.to_string())),
        }
    }
}

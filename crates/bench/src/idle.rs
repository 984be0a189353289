//! The cost of two connected, idle agents: how often their threads wake up, and their CPU usage.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::Setup;
use crate::error::{Doing, Result};
use crate::forward::Contender;
use crate::forward::ours::Ours;
use crate::report::{Better, Figure, Report, Series, Spread};

/// Requirements for an idle agent.
const WAKES_MAX: f64 = 5.0;
const CPU_PERCENT_MAX: f64 = 0.1;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds of one measurement
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Measurements of the same two agents
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Files that the edge follows
    #[arg(long, default_value_t = 1)]
    files: u32,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let scratch = setup.cache.scratch()?;
    let watched = scratch.path().join("watched");
    fs::create_dir(&watched).at("create", &watched)?;
    for file in 0..options.files {
        let path = watched.join(format!("{file}.log"));
        fs::write(&path, format!("the only line of {file}\n")).at("write", &path)?;
    }
    let running = Ours::prepare()?.start(&watched, scratch.path())?;
    // Initial events are forwarded, and the last of them acknowledged.
    thread::sleep(Duration::from_secs(5));
    let mut series = [(); 4].map(|()| Series::default());
    for _ in 0..options.runs {
        let started = Instant::now();
        let before = [running.edge.activity()?, running.collector.activity()?];
        thread::sleep(Duration::from_secs(options.seconds));
        let after = [running.edge.activity()?, running.collector.activity()?];
        let seconds = started.elapsed().as_secs_f64();
        for tier in 0..2 {
            let did = after[tier].since(&before[tier]);
            series[tier].push(did.wakes as f64 / seconds);
            series[tier + 2].push(did.cpu_s * 100.0 / seconds);
        }
    }
    let [edge_wakes, collector_wakes, edge_cpu, collector_cpu] = series;
    for (case, unit, series, limit) in [
        ("edge wakes", "1/s", edge_wakes, WAKES_MAX),
        ("collector wakes", "1/s", collector_wakes, WAKES_MAX),
        ("edge CPU", "%", edge_cpu, CPU_PERCENT_MAX),
        ("collector CPU", "%", collector_cpu, CPU_PERCENT_MAX),
    ] {
        report.add(Figure {
            bench: "idle",
            case: case.to_owned(),
            unit,
            better: Better::Less,
            ours: series.spread(),
            reference: Some(("target", Spread::given(limit))),
        });
    }
    report.note(format!("{} files followed, connected, nothing written", options.files));
    Ok(())
}

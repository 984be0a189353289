//! Runs many seeds in child processes, as many in parallel as there are processors.
//!
//! A log lets several runs add to one campaign: its first line identifies the program, and each
//! finished seed adds a line. A run with a different program rejects the log.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use crate::cluster::Report;
use crate::world::lock;

/// Options of a campaign.
pub(crate) struct Options {
    /// The seeds to run.
    pub(crate) seeds: Range<u64>,
    /// Number of parallel seeds.
    pub(crate) jobs: usize,
    /// Log of the finished seeds.
    pub(crate) log: Option<PathBuf>,
}

/// Parses `N` or `A..B`.
pub(crate) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let range = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => 0..number(text)?,
    };
    if range.is_empty() { Err("no seed is in it".into()) } else { Ok(range) }
}

/// Returns the number of parallel seeds: as requested, or one per processor.
pub(crate) fn jobs(asked: Option<usize>) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.unwrap_or_else(processors).max(1)
}

/// Totals over all seeds so far.
#[derive(Debug, Default)]
struct Totals {
    seeds: u64,
    red: Vec<u64>,
    events: u64,
    entries: u64,
    generations: u64,
    faults: BTreeMap<String, u64>,
    simulated_ms: u64,
    healed_ms_max: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        if !report.violations.is_empty() {
            self.red.push(report.seed);
        }
        self.events += report.events;
        self.entries += report.entries;
        self.generations += report.generations;
        for (kind, count) in &report.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        self.simulated_ms += report.simulated_ms;
        self.healed_ms_max = self.healed_ms_max.max(report.healed_ms);
    }

    fn print(&self, wall: Duration) -> io::Result<()> {
        let hours = self.simulated_ms as f64 / 3_600_000.0;
        let out = &mut io::stdout();
        let Self { seeds, events, entries, generations, .. } = self;
        writeln!(out, "{seeds} seeds, {} with a violation", self.red.len())?;
        writeln!(
            out,
            "{hours:.2} simulated hours in {:.0} s: {:.5} simulated hours a second",
            wall.as_secs_f64(),
            hours / wall.as_secs_f64(),
        )?;
        writeln!(out, "{events} events, {entries} ledger entries, {generations} generations")?;
        let healed = self.healed_ms_max as f64 / 1e3;
        writeln!(out, "longest time to finish after the last fault: {healed:.1} s")?;
        for (kind, count) in &self.faults {
            writeln!(out, "{count:>9} × {kind}")?;
        }
        for seed in &self.red {
            writeln!(out, "run it again with a trace: aqueduct-sim --seed {seed} --trace")?;
        }
        Ok(())
    }
}

/// Runs the seeds. Returns whether all passed.
///
/// # Errors
/// A process cannot be started, or the log cannot be used.
#[expect(clippy::disallowed_methods, reason = "it says how much faster than real time it is")]
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let mut log = options.log.as_deref().map(Log::open).transpose()?;
    let began = Instant::now();
    let mut totals = Totals::default();
    if let Some(log) = &log {
        log.done.values().filter(|report| options.seeds.contains(&report.seed)).for_each(
            |report| {
                totals.add(report);
            },
        );
    }
    let noted = |seed: &u64| log.as_ref().is_some_and(|log| log.done.contains_key(seed));
    let open: VecDeque<u64> = options.seeds.clone().filter(|seed| !noted(seed)).collect();
    run_each(open, options.jobs, &[], Some(REPEATED), |report| {
        totals.add(&report);
        for violation in &report.violations {
            writeln!(io::stdout(), "seed {}: {violation}", report.seed)?;
        }
        log.as_mut().map_or(Ok(()), |log| log.note(&report)).map(ControlFlow::Continue)
    })?;
    totals.print(began.elapsed())?;
    Ok(totals.red.is_empty())
}

/// One in this many seeds runs twice, to check that it is deterministic.
const REPEATED: u64 = 10;

/// Runs each seed in a child process with these arguments. Passes the reports on in order of
/// completion, until the receiver has enough. One in [`REPEATED`] seeds runs twice.
pub(crate) fn run_each(
    open: VecDeque<u64>,
    jobs: usize,
    arguments: &[&str],
    repeated: Option<u64>,
    mut report: impl FnMut(Report) -> io::Result<ControlFlow<()>>,
) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let (open, (reports, finished)) = (Mutex::new(open), mpsc::channel());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (open, reports, program) = (&open, reports.clone(), &program);
            scope.spawn(move || {
                loop {
                    let Some(seed) = lock(open).pop_front() else { return };
                    let mut result = run_one(program, seed, arguments);
                    if repeated.is_some_and(|one_of| seed.is_multiple_of(one_of)) {
                        let again = run_one(program, seed, arguments);
                        result = result.and_then(|first| Ok(first.compared_with(&again?)));
                    }
                    // The receiver is dropped after the first error.
                    if reports.send(result).is_err() {
                        return;
                    }
                }
            });
        }
        drop(reports);
        for result in finished {
            if report(result?)?.is_break() {
                lock(&open).clear();
                return Ok(());
            }
        }
        Ok(())
    })
}

/// Runs one seed in a child process.
fn run_one(program: &Path, seed: u64, arguments: &[&str]) -> io::Result<Report> {
    let child: Child = Command::new(program)
        .args(["--seed", &seed.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output()?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let told = String::from_utf8_lossy(&output.stderr);
        let tail: String = told.chars().rev().take(2000).collect::<Vec<_>>().iter().rev().collect();
        io::Error::other(format!("seed {seed} ended with {}: {tail}", output.status))
    })
}

/// The log of a campaign.
struct Log {
    file: std::fs::File,
    done: BTreeMap<u64, Report>,
}

impl Log {
    #[expect(clippy::disallowed_methods, reason = "the driver is outside all simulated worlds")]
    fn open(path: &Path) -> io::Result<Self> {
        let program = format!("{:016x}", xxh3_64(&std::fs::read(std::env::current_exe()?)?));
        let mut file =
            std::fs::OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let text = io::read_to_string(&mut file)?;
        let mut lines = text.lines();
        match lines.next() {
            None => writeln!(file, "program {program}")?,
            Some(line) if line == format!("program {program}") => {}
            Some(_) => {
                let told = format!("{}: another program has written it", path.display());
                return Err(io::Error::other(told));
            }
        }
        // A partial line, left by a killed run, is skipped: its seed runs again.
        let reports = lines.filter_map(|line| serde_json::from_str::<Report>(line).ok());
        Ok(Self { file, done: reports.map(|report| (report.seed, report)).collect() })
    }

    fn note(&mut self, report: &Report) -> io::Result<()> {
        let line = serde_json::to_string(report).expect("a report is plain data");
        writeln!(self.file, "{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_number_or_a_range_and_never_none() {
        assert_eq!(seeds("300"), Ok(0..300));
        assert_eq!(seeds("100..250"), Ok(100..250));
        for none in ["0", "5..5", "9..3", "many", ""] {
            assert!(seeds(none).is_err(), "{none}");
        }
    }
}

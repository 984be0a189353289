//! Runs jobs in parallel, and failed ones again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, PipeReader, Write as _, pipe};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::job::{Job, Kind};
use crate::libtest::{Parser, Status, Test};
use crate::queue::{self, Demand};
use crate::report::Screen;
use crate::supervise::{self, LEFT, TIMED_OUT};

/// Reruns of a failed test. It counts as unsteady if it passes each time.
const ROUNDS: usize = 3;

/// The environment of all jobs in a run.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    /// Folder for the output of jobs.
    pub(crate) logs: PathBuf,
    pub(crate) environment: Vec<(String, String)>,
}

/// The result of a job.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) job: Job,
    pub(crate) parser: Parser,
    pub(crate) code: i32,
    pub(crate) time: Duration,
    pub(crate) log: PathBuf,
    /// Processes that it left running, with their command lines.
    pub(crate) left: Option<String>,
    /// Tests that failed, and then passed in each rerun.
    pub(crate) unsteady: BTreeSet<String>,
}

enum Event {
    Tests(Vec<Test>),
    Done(usize, Box<Finished>),
}

impl Machine {
    /// Runs all jobs; `screen` shows each result.
    pub(crate) fn run(&self, mut pending: Vec<Job>, screen: &mut Screen) -> Vec<Finished> {
        let (events, ends) = channel();
        let mut running: Vec<(usize, Demand)> = Vec::new();
        let mut finished = Vec::new();
        let mut started = 0;
        loop {
            while let Some(job) = self.take_next(&mut pending, &running) {
                running.push((started, job.demand.clone()));
                let (events, number) = (events.clone(), started);
                let attempt = self.attempt(job, &format!("{number:03}-"));
                thread::spawn(move || attempt.run(number, &events));
                started += 1;
            }
            if running.is_empty() {
                return finished;
            }
            match ends.recv() {
                Ok(Event::Tests(tests)) => screen.tests(&tests),
                Ok(Event::Done(number, end)) => {
                    running.retain(|(it, _)| *it != number);
                    screen.end(&end);
                    finished.push(*end);
                }
                Err(_) => return finished,
            }
        }
    }

    fn take_next(&self, pending: &mut Vec<Job>, running: &[(usize, Demand)]) -> Option<Job> {
        let demands: Vec<&Demand> = pending.iter().map(|job| &job.demand).collect();
        let running: Vec<&Demand> = running.iter().map(|(_, demand)| demand).collect();
        queue::next(&demands, &running, self.cores).map(|index| pending.remove(index))
    }

    /// Reruns the failed tests of these jobs, each test alone.
    pub(crate) fn run_again(&self, finished: &mut [Finished], screen: &mut Screen) {
        for end in finished {
            for (name, job) in end.again() {
                if (1..=ROUNDS).all(|round| self.passes(&name, &job, round, screen)) {
                    end.unsteady.insert(name);
                }
            }
        }
    }

    fn passes(&self, name: &str, job: &Job, round: usize, screen: &mut Screen) -> bool {
        screen.line(&format!("again, {round} of {ROUNDS}: {name}"));
        let (events, ends) = channel();
        self.attempt(job.clone(), &format!("again-{round}-")).run(0, &events);
        drop(events);
        let ends = ends.iter().filter_map(|event| match event {
            Event::Done(_, end) => Some(end),
            Event::Tests(_) => None,
        });
        let mut passed = false;
        for end in ends {
            screen.end(&end);
            passed = end.code == 0 && end.parser.count(Status::Passed) > 0;
        }
        passed
    }

    fn attempt(&self, job: Job, prefix: &str) -> Attempt {
        let log = self.logs.join(format!("{prefix}{}.log", job.name.replace('/', "-")));
        Attempt { job, log, environment: self.environment.clone() }
    }
}

pub(crate) fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// One run of a job.
struct Attempt {
    job: Job,
    log: PathBuf,
    environment: Vec<(String, String)>,
}

impl Attempt {
    fn run(self, number: usize, events: &Sender<Event>) {
        let started = Instant::now();
        let mut end = Finished {
            job: self.job.clone(),
            parser: Parser::default(),
            code: 127,
            time: Duration::ZERO,
            log: self.log.clone(),
            left: None,
            unsteady: BTreeSet::new(),
        };
        if let Err(error) = self.supervised(&mut end, started, events) {
            let _written = fs::write(&self.log, format!("cannot run {}: {error}\n", self.job.name));
        }
        end.time = started.elapsed();
        let _read = events.send(Event::Done(number, Box::new(end)));
    }

    fn supervised(
        &self,
        end: &mut Finished,
        started: Instant,
        events: &Sender<Event>,
    ) -> std::io::Result<()> {
        let log = File::create(&self.log)?;
        let (mut child, output) = self.start()?;
        // The supervisor ends the job when this pipe closes.
        let alive = child.stdin.take();
        end.read(output, log, started, events)?;
        let status = child.wait()?;
        drop(alive);
        end.code = status.code().unwrap_or(127);
        Ok(())
    }

    fn start(&self) -> std::io::Result<(Child, PipeReader)> {
        let (program, arguments, folder) = self.job.command();
        let (output, input) = pipe()?;
        let demand = &self.job.demand;
        let mut command: Command = supervise::command(demand.limit, demand.background, None);
        command.arg(program).args(arguments).current_dir(&folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if matches!(self.job.kind, Kind::Tests { .. }) {
            // Like `cargo test`.
            command.env("CARGO_MANIFEST_DIR", fs::canonicalize(&folder)?);
        }
        command.stdout(input.try_clone()?).stderr(input);
        Ok((command.spawn()?, output))
    }
}

impl Finished {
    fn read(
        &mut self,
        output: PipeReader,
        mut log: File,
        started: Instant,
        events: &Sender<Event>,
    ) -> std::io::Result<()> {
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        let reads_tests = matches!(self.job.kind, Kind::Tests { .. });
        while output.read_until(b'\n', &mut bytes)? > 0 {
            log.write_all(&bytes)?;
            let line = String::from_utf8_lossy(&bytes);
            let line = line.trim_end_matches(['\n', '\r']);
            if let Some(left) = line.strip_prefix(LEFT) {
                self.left = Some(left.to_owned());
            } else if reads_tests {
                let tests = self.parser.feed(line, started.elapsed());
                if self.job.shows_each() && !tests.is_empty() {
                    let _read = events.send(Event::Tests(tests.to_vec()));
                }
            }
            bytes.clear();
        }
        Ok(())
    }

    /// Returns the names of the failed tests, or the name of the job.
    pub(crate) fn failed(&self) -> BTreeSet<String> {
        let mut failed = self.parser.failed();
        let died = self.code != 0 && (failed.is_empty() || !self.parser.is_complete());
        if died {
            let unfinished = self.parser.unfinished().map(str::to_owned);
            failed.insert(unfinished.unwrap_or_else(|| self.job.name.clone()));
        }
        failed
    }

    /// Returns whether it ran into its time limit.
    pub(crate) fn timed_out(&self) -> bool {
        self.code == TIMED_OUT
    }

    /// Returns the tests that did not run because their program exited earlier.
    pub(crate) fn not_reached(&self) -> Vec<String> {
        let failed = self.failed();
        let Kind::Tests { names, .. } = &self.job.kind else {
            return Vec::new();
        };
        let ran = |name: &String| self.parser.tests.iter().any(|test| test.name == *name);
        names.iter().filter(|name| !ran(name) && !failed.contains(*name)).cloned().collect()
    }

    /// Returns a job for each failed test; none for a step and for a program that crashed.
    fn again(&self) -> Vec<(String, Job)> {
        if !self.parser.is_complete() || self.timed_out() {
            return Vec::new();
        }
        let failed = self.parser.failed().into_iter();
        failed.filter_map(|name| self.job.again(&name).map(|job| (name, job))).collect()
    }
}

//! Prints a run: a line for each result, failures in full, and the summary.

use std::fmt::Display;
use std::fs;
use std::io::{Write as _, stdout};
use std::time::Duration;

use crate::exec::{Finished, list};
use crate::job::Kind;
use crate::junit::{Case, End};
use crate::libtest::{Status, Test};

/// Shorter jobs are summed up in the table.
const SHORT: Duration = Duration::from_secs(3);

/// Standard output. If its reader disconnects, the run ends, including all of its processes.
#[derive(Debug)]
pub(crate) struct Screen;

impl Screen {
    pub(crate) fn line(&mut self, line: &dyn Display) {
        let mut out = stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            std::process::exit(141);
        }
    }

    /// Shows finished tests.
    pub(crate) fn tests(&mut self, tests: &[Test]) {
        for test in tests {
            let word = match test.status {
                Status::Passed => "ok  ",
                Status::Failed => "FAIL",
                Status::Ignored => "skip",
            };
            self.line(&format!("{word} {}  {:.1} s", test.name, test.time.as_secs_f64()));
        }
    }

    /// Shows the result of a job, with its whole output if it failed.
    pub(crate) fn end(&mut self, end: &Finished) {
        let failed = end.failed();
        let (name, seconds) = (&end.job.name, end.time.as_secs_f64());
        let word = if failed.is_empty() { "ok  " } else { "FAIL" };
        if !end.job.shows_each() {
            let count = end.parser.count(Status::Passed);
            let tests = matches!(end.job.kind, Kind::Tests { .. });
            let s = if count == 1 { "" } else { "s" };
            let count = if tests { format!("  {count} test{s}") } else { String::new() };
            self.line(&format!("{word} {name}{count}  {seconds:.1} s"));
        }
        if let Some(left) = &end.left {
            self.line(&format!("     {name} left processes, which were killed: {left}"));
        }
        if !failed.is_empty() {
            let why = if end.timed_out() { "timed out in" } else { "failed:" };
            self.line(&format!("---- {name} {why} {}; output:", list(&failed)));
            let output = fs::read(&end.log).unwrap_or_default();
            self.line(&String::from_utf8_lossy(&output).trim_end());
            self.line(&format!("---- end of {name}; kept in {}", end.log.display()));
        }
    }
}

/// A job that could not run, with the reason.
pub(crate) type Skipped = (String, String);

/// The numbers in the last line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// Returns the cases of a run, for JUnit and the totals.
pub(crate) fn cases(finished: &[Finished], skipped: &[Skipped]) -> Vec<Case> {
    let mut cases = Vec::new();
    for end in finished {
        let failed = end.failed();
        let output =
            || String::from_utf8_lossy(&fs::read(&end.log).unwrap_or_default()).into_owned();
        let case = |name: &str, time, end_of: End| Case {
            suite: end.job.name.clone(),
            name: name.to_owned(),
            time,
            end: end_of,
        };
        for test in end.parser.tests.iter().filter(|test| !failed.contains(&test.name)) {
            let end_of = match test.status {
                Status::Ignored => End::Skipped("ignored".to_owned()),
                _ => End::Passed,
            };
            let time = if end.job.shows_each() { test.time } else { Duration::ZERO };
            cases.push(case(&test.name, time, end_of));
        }
        for name in &failed {
            let steady = !end.unsteady.contains(name);
            cases.push(case(
                name,
                end.time,
                if steady { End::Failed(output()) } else { End::Passed },
            ));
        }
        for name in end.not_reached() {
            let why = "its program ended before".to_owned();
            cases.push(case(&name, Duration::ZERO, End::Skipped(why)));
        }
        if failed.is_empty() && matches!(end.job.kind, Kind::Step) {
            cases.push(case(&end.job.name, end.time, End::Passed));
        }
    }
    cases.extend(skipped.iter().map(|(name, why)| Case {
        suite: name.clone(),
        name: name.clone(),
        time: Duration::ZERO,
        end: End::Skipped(why.clone()),
    }));
    cases
}

/// Counts the cases.
pub(crate) fn totals(cases: &[Case]) -> Totals {
    let mut totals = Totals::default();
    for case in cases {
        match case.end {
            End::Passed => totals.passed += 1,
            End::Failed(_) => totals.failed += 1,
            End::Skipped(_) => totals.skipped += 1,
        }
    }
    totals
}

/// Prints the end of the output: times, unsteady tests, skipped jobs, failures, and the last line.
pub(crate) fn summary(
    finished: &[Finished],
    skipped: &[Skipped],
    totals: Totals,
    whole: Duration,
) -> String {
    let mut text = String::from("\n   min  job, slowest first\n");
    let minutes = |time: Duration| time.as_secs_f64() / 60.0;
    let mut ends: Vec<&Finished> = finished.iter().collect();
    ends.sort_by_key(|end| std::cmp::Reverse(end.time));
    let (long, short): (Vec<&Finished>, Vec<&Finished>) =
        ends.iter().copied().partition(|end| end.time >= SHORT);
    for end in long {
        text += &format!("{:6.1}  {}\n", minutes(end.time), end.job.name);
    }
    if !short.is_empty() {
        let sum = short.iter().map(|end| end.time).sum();
        text += &format!("{:6.1}  {} jobs under 3 s\n", minutes(sum), short.len());
    }
    text += &format!("{:6.1}  in all, from start to end\n", minutes(whole));
    let section = |title: &str, lines: Vec<String>| match lines.is_empty() {
        true => String::new(),
        false => format!("\n{title}\n  {}\n", lines.join("\n  ")),
    };
    let unsteady = ends.iter().flat_map(|end| end.unsteady.iter().cloned()).collect();
    text += &section("UNSTEADY: failed, and then passed three times", unsteady);
    let skipped = skipped.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    text += &section("NOT RUN", skipped);
    let failed = ends
        .iter()
        .flat_map(|end| {
            end.failed().into_iter().filter(|name| !end.unsteady.contains(name)).collect::<Vec<_>>()
        })
        .collect();
    text += &section("FAILED", failed);
    let Totals { passed, failed, skipped } = totals;
    text + &format!("\n{passed} passed, {failed} failed, {skipped} skipped")
}

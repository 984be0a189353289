//! Reports which planted bugs are found, and by how many seeds.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};

use support::mutants::ALL;

use crate::campaign::run_each;

/// A line for each planted bug: its name, and a seed that finds it. A search that stops at the
/// first find starts there. An outdated seed only costs time, because all others follow.
///
/// Generate it with `--mutants all --seeds 600 --until-found`.
const SHOWN_BY: &str = include_str!("mutants.txt");

fn shown_by(name: &str) -> Option<u64> {
    let mut lines = SHOWN_BY.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(known, _)| *known == name).and_then(|(_, seed)| seed.parse().ok())
}

/// Searches the seeds for each of the planted bugs `names`. Returns whether all were found.
///
/// # Errors
/// A name is unknown, or a process cannot be started.
pub(crate) fn run(
    names: &[String],
    seeds: &Range<u64>,
    jobs: usize,
    until_found: bool,
) -> io::Result<bool> {
    let every = names.iter().any(|name| name == "all");
    if let Some(unknown) =
        names.iter().find(|name| *name != "all" && !ALL.iter().any(|(known, _)| known == name))
    {
        return Err(io::Error::other(format!("no planted bug is called {unknown:?}")));
    }
    let (mut found_all, out) = (true, &mut io::stdout());
    for (name, rule) in ALL.iter().filter(|(known, _)| every || names.iter().any(|n| n == known)) {
        let found = look_for(name, seeds, jobs, until_found)?;
        found_all &= found.first.is_some();
        let Found { first, red, seen, told } = found;
        match first {
            Some(first) => {
                writeln!(out, "{name}: found in {red} of {seen} seeds, first in {first}: {told}")?;
            }
            None => writeln!(out, "{name}: NOT FOUND in {seen} seeds. The rule: {rule}")?,
        }
    }
    Ok(found_all)
}

/// Result for one planted bug.
#[derive(Debug, Default)]
struct Found {
    /// The lowest seed that finds it.
    first: Option<u64>,
    red: u64,
    seen: u64,
    /// The first violation of that seed.
    told: String,
}

fn look_for(name: &str, seeds: &Range<u64>, jobs: usize, until_found: bool) -> io::Result<Found> {
    let mut found = Found::default();
    let mut order: VecDeque<u64> = seeds.clone().collect();
    if let Some(first) = shown_by(name).filter(|seed| until_found && seeds.contains(seed)) {
        order.retain(|seed| *seed != first);
        order.push_front(first);
    }
    run_each(order, jobs, &["--mutant", name], None, |report| {
        found.seen += 1;
        if let Some(violation) = report.violations.first() {
            found.red += 1;
            if found.first.is_none_or(|first| report.seed < first) {
                (found.first, found.told) = (Some(report.seed), violation.clone());
            }
        }
        let enough = until_found && found.first.is_some();
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

//! This program under valgrind.

use std::env::{current_exe, temp_dir};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use clap::ValueEnum;

use crate::error::{Doing, Error, Result};
use crate::stages::Stage;

/// Events of the two runs of a stage.
const FEW: u64 = 20_000;
const MANY: u64 = 120_000;
/// Of so many runs the least counts: threads that wait for each other look more or less often.
const RUNS: usize = 5;
/// Characters of what a failed program printed.
const LAST_WORDS: usize = 2_000;

/// Instructions per event of every stage, or of `only`.
pub(crate) fn count(only: Option<Stage>) -> Result<Vec<(Stage, f64)>> {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return Err(Error::Processor);
    }
    let scratch = Scratch::new()?;
    let mut counted: Vec<(Stage, f64)> = Vec::new();
    for stage in Stage::value_variants() {
        if only.is_some_and(|only| only != *stage && only.on_top_of() != Some(*stage)) {
            continue;
        }
        let more = per_event(*stage, &scratch)?;
        let beneath = stage.on_top_of().and_then(|of| counted.iter().find(|(one, _)| *one == of));
        counted.push((*stage, more - beneath.map_or(0.0, |(_, count)| *count)));
    }
    Ok(counted)
}

/// What one more event costs in a run of the stage, with what it is counted on top of.
fn per_event(stage: Stage, scratch: &Scratch) -> Result<f64> {
    let (few, many) = (least(stage, FEW, scratch)?, least(stage, MANY, scratch)?);
    Ok((many as f64 - few as f64) / (MANY - FEW) as f64)
}

/// Instructions of the cheapest run.
fn least(stage: Stage, events: u64, scratch: &Scratch) -> Result<u64> {
    let mut least = one_run(stage, events, scratch)?;
    for _ in 1..RUNS {
        least = least.min(one_run(stage, events, scratch)?);
    }
    Ok(least)
}

/// Instructions of one run.
fn one_run(stage: Stage, events: u64, scratch: &Scratch) -> Result<u64> {
    let own = current_exe().doing(|| "find the own executable".to_owned())?;
    let directory = scratch.fresh()?;
    let out = scratch.0.join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(own).args(["--stage", stage.name(), "--events", &events.to_string()]);
    valgrind.arg("--directory").arg(&directory);
    // What the user's environment asks of programs is no part of the work.
    valgrind.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    let doing = || "start valgrind (Debian: apt-get install valgrind)".to_owned();
    let output = valgrind.output().doing(doing)?;
    let failed = |detail: String| Error::Count { stage: stage.name(), detail };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let start = said.char_indices().rev().nth(LAST_WORDS).map_or(0, |(at, _)| at);
        return Err(failed(format!("{}\n{}", output.status, &said[start..])));
    }
    let text = fs::read_to_string(&out).doing(|| format!("read {}", out.display()))?;
    total(&text).ok_or_else(|| failed("callgrind wrote no total".to_owned()))
}

fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

/// A directory that is deleted when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = temp_dir().join(format!("aqueduct-count-{}", process::id()));
        make(&path)?;
        Ok(Self(path))
    }

    /// An empty directory in it, in place of the last one.
    fn fresh(&self) -> Result<PathBuf> {
        let path = self.0.join("stage");
        if path.exists() {
            fs::remove_dir_all(&path).doing(|| format!("remove {}", path.display()))?;
        }
        make(&path)?;
        Ok(path)
    }
}

fn make(path: &Path) -> Result<()> {
    fs::create_dir(path).doing(|| format!("create {}", path.display()))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It lies where temporary files do.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found_among_what_callgrind_writes() {
        let text = "version: 1\nevents: Ir\nsummary: 12\n\nfn=(1) main\n5 7\ntotals: 1234567\n";
        assert_eq!(total(text), Some(1_234_567));
        assert_eq!(total("events: Ir\n"), None);
    }
}

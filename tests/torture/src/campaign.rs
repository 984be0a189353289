//! Runs round after round, and records them.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aqueduct_tests::agent::program;
use aqueduct_tests::wait;
use rand::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Arguments;
use crate::cluster::Cluster;
use crate::count::{Count, Difference};
use crate::fault::Fault;
use crate::store::Form;

/// Timeout until the files of a committed entry are visible.
const PUBLISH_LIMIT: Duration = Duration::from_secs(30);

/// Timeout until each directory has its receipt: several times the interval of reports.
const RECEIPT_LIMIT: Duration = Duration::from_secs(90);

/// One line of the record.
#[derive(Debug, Serialize, Deserialize)]
struct Round {
    commit: String,
    seed: u64,
    number: u32,
    fault: Fault,
    #[serde(default)]
    form: Form,
    hit: String,
    lines: u64,
    /// Minimum number of files merged during the round.
    #[serde(default)]
    merged: u64,
    #[serde(flatten)]
    found: Difference,
    /// Time from the end of writing until the edges were empty.
    settled_after_s: f64,
}

/// Runs the rounds. Returns whether every line of every round was there once; with weakened
/// programs, whether some line was duplicated.
pub(crate) fn run(arguments: &Arguments) -> bool {
    let seed = arguments.seed.unwrap_or_else(clock_seconds);
    let commit = commit();
    println!("programs {commit}, --seed {seed}");
    let folder = arguments.resume.clone().unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("make {}: {e}", folder.display()));
    // Each call has a new cluster, without leftovers of earlier ones.
    let work = tempfile::Builder::new().prefix("aqueduct-torture-").tempdir_in(&folder);
    let work = work.expect("a folder for the cluster");
    let good = if arguments.weaken {
        finds_repeated_lines(arguments, seed, work.path())
    } else {
        let record = arguments.resume.as_ref().map(|folder| folder.join("rounds.jsonl"));
        let record = record.unwrap_or_else(|| work.path().join("rounds.jsonl"));
        let good = loses_nothing(arguments, seed, &commit, work.path(), &record);
        print_totals(&record, &commit);
        good
    };
    if !good {
        println!("logs and data are kept in {}", work.keep().display());
    }
    good
}

/// Runs parallel clusters, each in its own folder: cluster number = round modulo number of
/// clusters. A seed decides the faults of each.
fn loses_nothing(
    arguments: &Arguments,
    seed: u64,
    commit: &str,
    work: &Path,
    record: &Path,
) -> bool {
    let clusters = arguments.parallel.max(1);
    let failed = AtomicBool::new(false);
    let record = Mutex::new(record);
    thread::scope(|scope| {
        for cluster in 0..clusters {
            let folder = work.join(format!("cluster-{}", cluster + 1));
            let seed_of_its_own = seed + u64::from(cluster);
            let form = form(arguments, seed_of_its_own);
            let numbers = (1..=arguments.rounds).filter(move |number| number % clusters == cluster);
            let own = numbers.zip(plan(arguments, form, seed_of_its_own));
            // One after the other, because each looks for free ports.
            let Some(mut campaign) = Campaign::start(&folder, form, seed, false) else {
                failed.store(true, Ordering::SeqCst);
                return;
            };
            let (failed, record) = (&failed, &record);
            scope.spawn(move || {
                let mut own = own;
                let good = own.all(|(number, fault)| {
                    failed.load(Ordering::SeqCst) || campaign.is_good(commit, number, fault, record)
                });
                if !good || !campaign.has_merged() || !campaign.stop() {
                    failed.store(true, Ordering::SeqCst);
                }
            });
        }
    });
    !failed.into_inner()
}

fn finds_repeated_lines(arguments: &Arguments, seed: u64, work: &Path) -> bool {
    let form = arguments.form.unwrap_or_default();
    let Some(mut campaign) = Campaign::start(work, form, seed, true) else { return false };
    let mut rounds = (1..=arguments.rounds).zip(plan(arguments, form, seed));
    let found = rounds.any(|(number, fault)| {
        campaign.round("weakened", number, fault).is_some_and(|round| round.found.repeated > 0)
    });
    println!("repeated lines {}found in weakened programs", if found { "" } else { "not " });
    found
}

/// Returns the file format of a cluster.
fn form(arguments: &Arguments, seed: u64) -> Form {
    arguments.form.unwrap_or_else(|| {
        let form = Form::of(seed);
        let fits = arguments.only.is_none_or(|only| only.is_possible(form));
        if fits { form } else { Form::default() }
    })
}

/// Returns the sequence of faults: all kinds that apply to such a store, shuffled repeatedly.
fn plan(arguments: &Arguments, form: Form, seed: u64) -> impl Iterator<Item = Fault> + use<> {
    let mut rng = StdRng::seed_from_u64(seed);
    let kinds: Vec<Fault> = match arguments.only {
        Some(only) => vec![only],
        None => Fault::ALL.into_iter().filter(|fault| fault.is_possible(form)).collect(),
    };
    std::iter::repeat_with(move || {
        let mut all = kinds.clone();
        all.shuffle(&mut rng);
        all
    })
    .flatten()
}

struct Campaign {
    cluster: Cluster,
    count: Count,
    seed: u64,
    lines: u64,
    merged: Merged,
}

/// Number of merged files; counts of collectors killed since the last look are lost.
#[derive(Default)]
struct Merged {
    /// The last known count of each collector.
    counted: Vec<u64>,
    total: u64,
}

impl Merged {
    /// Adds the current counts; a smaller number comes from a restart.
    fn add(&mut self, counts: Vec<u64>) {
        let before = self.counted.iter().copied().chain(std::iter::repeat(0));
        let news =
            counts.iter().zip(before).map(|(now, before)| now.checked_sub(before).unwrap_or(*now));
        self.total += news.sum::<u64>();
        self.counted = counts;
    }
}

impl Campaign {
    fn start(work: &Path, form: Form, seed: u64, weaken: bool) -> Option<Self> {
        fs::create_dir_all(work).unwrap_or_else(|e| panic!("make {}: {e}", work.display()));
        let cluster = catch_unwind(|| Cluster::start(work, form, weaken)).ok()?;
        let (count, merged) = (Count::default(), Merged::default());
        Some(Self { cluster, count, seed, lines: 0, merged })
    }

    /// Runs and records a round. Returns whether nothing was wrong.
    fn is_good(&mut self, commit: &str, number: u32, fault: Fault, record: &Mutex<&Path>) -> bool {
        let Some(round) = self.round(commit, number, fault) else { return false };
        keep(&record.lock().unwrap_or_else(PoisonError::into_inner), &round);
        if !round.found.is_none() {
            println!("{}", self.cluster.last_words());
        }
        round.found.is_none()
    }

    /// Runs a round; `None` if it could not be completed, for example because an agent did not
    /// restart.
    fn round(&mut self, commit: &str, number: u32, fault: Fault) -> Option<Round> {
        let started = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| self.tortured(commit, number, fault)));
        let Ok(round) = done else {
            println!("{number:>4}  {fault:?} failed\n{}", self.cluster.last_words());
            return None;
        };
        let took = started.elapsed().as_secs_f64();
        let Round { form, lines, merged, found, settled_after_s, hit, .. } = &round;
        let merges = match form {
            Form::Merged => format!("; {merged} files became part of others"),
            _ => String::new(),
        };
        println!(
            "{number:>4}  {form:?}, {fault:?} ({hit}): {lines} lines, {found}; settled after \
             {settled_after_s:.1} s, {took:.0} s in all{merges}"
        );
        Some(round)
    }

    fn tortured(&mut self, commit: &str, number: u32, fault: Fault) -> Round {
        let mut rng = StdRng::seed_from_u64(self.seed ^ u64::from(number) << 32);
        for writer in &self.cluster.writers {
            writer.go();
        }
        thread::sleep(Duration::from_millis(rng.random_range(500..2_500)));
        let hit = fault.strike(&mut self.cluster, &mut rng);
        thread::sleep(Duration::from_millis(rng.random_range(0..1_000)));
        let written: Vec<u64> = self.cluster.writers.iter().map(|writer| writer.rest()).collect();
        let settled = self.cluster.wait_until_delivered();
        let found = self.reconcile(&written);
        if found.is_none() && self.cluster.keeps_ledger() {
            self.cluster.prove(PUBLISH_LIMIT);
            self.cluster.account_for_events();
            wait::until("a receipt in each directory", RECEIPT_LIMIT, || {
                self.cluster.store.incomplete().is_empty().then_some(())
            });
        }
        for writer in &self.cluster.writers {
            writer.remove_old();
        }
        let total: u64 = written.iter().sum();
        let lines = total - std::mem::replace(&mut self.lines, total);
        let settled_after_s = settled.as_secs_f64();
        let (commit, seed) = (commit.to_owned(), self.seed);
        let (form, before) = (self.cluster.store.form(), self.merged.total);
        self.merged.add(self.cluster.merged_files());
        let merged = self.merged.total - before;
        Round { commit, seed, number, fault, form, hit, lines, merged, found, settled_after_s }
    }

    /// Returns whether small files were merged, or are merged now, without faults; otherwise the
    /// rounds would prove nothing about merging.
    fn has_merged(&mut self) -> bool {
        let started = Instant::now();
        while self.cluster.store.changes_files() && self.merged.total == 0 {
            self.merged.add(self.cluster.merged_files());
            if started.elapsed() > PUBLISH_LIMIT {
                println!("no file became part of another one\n{}", self.cluster.last_words());
                return false;
            }
            thread::sleep(Duration::from_millis(500));
        }
        true
    }

    /// Reads new files of the store, until all lines are there or time is up.
    fn reconcile(&mut self, written: &[u64]) -> Difference {
        let names = self.cluster.writers.iter().map(|writer| writer.name());
        let written: Vec<(&str, u64)> = names.zip(written.iter().copied()).collect();
        let started = Instant::now();
        loop {
            let is_whole = self.count.read(&self.cluster.store);
            let found = self.count.against(&written);
            // Files that are merged while they are read may look like duplicates.
            let is_final = found.is_none() || !self.cluster.store.changes_files();
            let limit = self.cluster.store.patience().max(PUBLISH_LIMIT);
            if is_whole && found.missing == 0 && is_final || started.elapsed() > limit {
                return found;
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// Shuts down every agent, which must still work.
    fn stop(mut self) -> bool {
        let limit = Duration::from_secs(30);
        let agents = self.cluster.edges.iter_mut().chain(&mut self.cluster.collectors);
        catch_unwind(AssertUnwindSafe(|| agents.for_each(|agent| agent.stop(limit)))).is_ok()
    }
}

fn keep(record: &Path, round: &Round) {
    let line = serde_json::to_string(round).expect("numbers and text");
    let file = OpenOptions::new().create(true).append(true).open(record);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.unwrap_or_else(|e| panic!("write {}: {e}", record.display()));
}

/// Prints the sums of the rounds with this commit.
fn print_totals(record: &Path, commit: &str) {
    let text = fs::read_to_string(record).unwrap_or_default();
    let rounds = text.lines().filter_map(|line| serde_json::from_str::<Round>(line).ok());
    let (mut kinds, mut lines, mut found) = (BTreeMap::new(), 0, Difference::default());
    let mut merged = 0;
    for round in rounds.filter(|round| round.commit == commit) {
        *kinds.entry(round.fault).or_insert(0) += 1;
        lines += round.lines;
        merged += round.merged;
        found.add(&round.found);
    }
    let rounds: u32 = kinds.values().sum();
    println!("programs {commit}: {rounds} rounds, {lines} lines, {found}; {merged} files merged");
    for (fault, rounds) in kinds {
        println!("{rounds:>6}  {fault:?}");
    }
}

/// Returns version and commit of the tested programs.
fn commit() -> String {
    let output = program("aqueduct-collector").arg("--version").output();
    let output = output.expect("the collector starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn clock_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock stands after 1970").as_secs()
}

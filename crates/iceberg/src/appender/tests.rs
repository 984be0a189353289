//! Two collectors append the entries of one ledger to one table, in a model of a catalog that
//! delays requests, loses answers, delivers requests twice and rejects its own commits.
//!
//! A seed decides the order of all steps. The catalog checks requests as the specification of REST
//! catalogs requires: identity, snapshot, and sequence number. At the end, requests in flight
//! arrive, and one collector works undisturbed: each entry must be in the table once.

use std::collections::BTreeMap;

use support::mutants::plant_by_environment;

use super::*;

const SEEDS: u64 = 20_000;
const TICKS: u64 = 120;

/// Random numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

type Rows = BTreeMap<u64, u32>;

#[derive(Debug, Clone, Default)]
struct Model {
    uuid: u64,
    snapshot: Option<u64>,
    sequence: u64,
    number: Option<u64>,
    rows: Rows,
    history: Vec<(Option<u64>, Rows)>,
}

#[derive(Debug, Clone)]
struct Request {
    uuid: u64,
    base: Option<u64>,
    sequence: u64,
    snapshot: u64,
    entries: std::ops::Range<u64>,
    number: u64,
}

impl Model {
    fn apply(&mut self, request: &Request) -> bool {
        let fits = request.uuid == self.uuid
            && request.base == self.snapshot
            && request.sequence > self.sequence;
        if fits {
            self.change(request.snapshot);
            for entry in request.entries.clone() {
                *self.rows.entry(entry).or_default() += 1;
            }
            self.number = Some(request.number);
        }
        fits
    }

    fn change(&mut self, snapshot: u64) {
        self.history.push((self.snapshot, self.rows.clone()));
        (self.snapshot, self.sequence) = (Some(snapshot), self.sequence + 1);
    }
}

/// The action of an operator or of another engine during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Nothing,
    /// Another engine commits, for example a compaction.
    Commits,
    /// Rolls the table back to an earlier snapshot.
    RollsBack,
    RemovesNumber,
    LowersNumber,
    /// Drops the table and creates it again, with its properties.
    Replaces,
    Drops,
}

struct World {
    random: Random,
    table: Option<Model>,
    record: TableRecord,
    end: u64,
    in_flight: Vec<Request>,
    collectors: Vec<(Appender, Option<Model>)>,
    snapshots: u64,
    /// Entries that a rollback may have removed.
    rolled_back: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let collectors = (0..2).map(|_| (Appender::new(false), None)).collect();
        Self {
            random: Random(seed),
            table: Some(Model::default()),
            record: TableRecord { uuid: None, number: 0 },
            end: 0,
            in_flight: Vec::new(),
            collectors,
            snapshots: 0,
            rolled_back: 0,
        }
    }

    /// Executes a step of a collector. Without `faults`, every answer arrives.
    fn work(&mut self, at: usize, faults: bool) {
        let (appender, loaded) = &mut self.collectors[at];
        let outcome = match appender.step() {
            Step::Recall => Outcome::Recalled(self.record.clone(), self.end),
            Step::ReadLedger => Outcome::LedgerRead(self.end),
            Step::Create => Outcome::Created,
            Step::Load => {
                loaded.clone_from(&self.table);
                let seen = |it: &Model| Seen { uuid: it.uuid.to_string(), number: it.number };
                Outcome::Loaded(self.table.as_ref().map(seen))
            }
            Step::Gather(from) => {
                let hidden = if faults { self.random.below(2) } else { 0 };
                let to = self.end.saturating_sub(hidden).max(from);
                Outcome::Gathered { to, kept_from: 0 }
            }
            Step::Record(record) => {
                if record.number >= self.record.number {
                    self.record = record;
                }
                Outcome::Recorded
            }
            Step::Append { from, to, number } => {
                if mutant!("table_not_loaded_after_silence") {
                    // The bug: commits to whatever the table is now.
                    loaded.clone_from(&self.table);
                }
                self.snapshots += 1;
                let base = loaded.as_ref().expect("loaded before");
                let request = Request {
                    uuid: base.uuid,
                    base: base.snapshot,
                    sequence: base.sequence + 1,
                    snapshot: self.snapshots,
                    entries: from..to,
                    number,
                };
                self.send(&request, faults)
            }
            Step::Done(_) => {
                *appender = Appender::new(false);
                return;
            }
        };
        self.collectors[at].0.on(outcome);
    }

    fn send(&mut self, request: &Request, faults: bool) -> Outcome {
        let how = if faults { self.random.below(6) } else { 0 };
        let mut apply = |request| self.table.as_mut().is_some_and(|it| it.apply(request));
        match how {
            // The answer is lost.
            1 => drop(apply(request)),
            // A proxy repeats the request; the second answer is a conflict.
            2 => drop((apply(request), apply(request))),
            // No answer in time. It may arrive later, even twice.
            3 => self.in_flight.push(request.clone()),
            4 => {
                apply(request);
                self.in_flight.push(request.clone());
            }
            // It is lost.
            5 => {}
            _ if apply(request) => return Outcome::Appended,
            _ => {}
        }
        Outcome::Unsettled
    }

    fn interfere(&mut self, other: Other) {
        let Some(table) = &mut self.table else { return };
        match other {
            Other::Nothing => {}
            Other::Commits => {
                self.snapshots += 1;
                table.change(self.snapshots);
            }
            Other::RollsBack => {
                let Some((snapshot, rows)) = table.history.pop() else { return };
                (table.snapshot, table.rows) = (snapshot, rows);
                self.rolled_back = self.end;
            }
            Other::RemovesNumber => table.number = None,
            // Below the record: a change of numbers that are not recorded yet is not noticed.
            Other::LowersNumber => {
                table.number = self.record.number.checked_sub(1).or(table.number);
            }
            Other::Replaces => {
                let number = table.number;
                let uuid = table.uuid + 1;
                *table = Model { uuid, number, ..Model::default() };
            }
            Other::Drops => self.table = None,
        }
        // Limit: a collector that has read the record, but not the table, notices neither.
        if matches!(other, Other::LowersNumber | Other::Replaces) {
            for collector in &mut self.collectors {
                *collector = (Appender::new(false), None);
            }
        }
    }

    /// Runs to the end. Returns the last verdict, of the only collector that still works.
    fn run(&mut self, other: Other) -> Verdict {
        let at = 20 + self.random.below(TICKS - 20);
        for tick in 0..TICKS {
            match self.random.below(10) {
                0 => self.end += 1,
                1 if !self.in_flight.is_empty() => {
                    let one = self.random.below(self.in_flight.len() as u64) as usize;
                    let request = self.in_flight.swap_remove(one);
                    self.table.as_mut().map(|table| table.apply(&request));
                }
                // A collector dies, and starts again.
                2 if self.random.below(3) == 0 => {
                    let one = self.random.below(2) as usize;
                    self.collectors[one] = (Appender::new(false), None);
                }
                3 if other == Other::Commits && self.random.below(4) == 0 => self.interfere(other),
                n => self.work(n as usize % 2, true),
            }
            // Only once it has the first commit: before, there is nothing to remove.
            if tick == at && self.record.uuid.is_some() {
                self.interfere(other);
            }
        }
        for request in std::mem::take(&mut self.in_flight) {
            self.table.as_mut().map(|table| table.apply(&request));
        }
        self.collectors[0] = (Appender::new(false), None);
        for _ in 0..60 {
            if let Step::Done(verdict) = self.collectors[0].0.step() {
                return verdict;
            }
            self.work(0, false);
        }
        panic!("it does not end: {:?}", self.collectors[0].0);
    }

    /// Returns the entries that are missing or doubled.
    fn wrong(&self) -> Vec<u64> {
        let Some(table) = &self.table else { return Vec::new() };
        let is_right = |entry: &u64| match table.rows.get(entry).copied().unwrap_or(0) {
            0 => *entry < self.rolled_back,
            count => count == 1,
        };
        (0..self.end).filter(|entry| !is_right(entry)).collect()
    }
}

/// Runs all seeds. Returns the number of seeds with a wrong table that was not reported, and the
/// number of stops.
fn all(other: Other) -> (u64, u64) {
    plant_by_environment();
    let (mut wrong, mut stops) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        let verdict = world.run(other);
        let is_stopped = matches!(verdict, Verdict::Stopped(_));
        stops += u64::from(is_stopped);
        let doubled = || {
            let table = world.table.as_ref();
            table.is_some_and(|table| table.rows.values().any(|count| *count > 1))
        };
        wrong += u64::from(if is_stopped { doubled() } else { !world.wrong().is_empty() });
    }
    (wrong, stops)
}

#[test]
fn every_entry_is_in_the_table_once_whatever_is_lost() {
    for other in [Other::Nothing, Other::Commits, Other::RollsBack] {
        assert_eq!(all(other), (0, 0), "{other:?}");
    }
}

#[test]
fn stops_when_the_table_is_not_the_recorded_one() {
    for other in [Other::RemovesNumber, Other::LowersNumber, Other::Replaces, Other::Drops] {
        let (wrong, stops) = all(other);
        assert_eq!(wrong, 0, "{other:?}");
        assert!(stops > SEEDS / 10, "{other:?}: {stops}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn each_rule_prevents_a_wrong_table() {
    const ONCE: &str = "appender::tests::every_entry_is_in_the_table_once_whatever_is_lost";
    const STOPS: &str = "appender::tests::stops_when_the_table_is_not_the_recorded_one";
    for (bug, test, found_by) in [
        ("table_not_loaded_after_silence", ONCE, "Nothing"),
        ("table_number_not_set", ONCE, "Nothing"),
        ("table_identity_unchecked", STOPS, "Replaces"),
        ("table_number_unchecked", STOPS, "it does not end"),
        ("table_record_not_read_twice", STOPS, "RemovesNumber"),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}

fn recalled(uuid: Option<&str>, number: u64, end: u64) -> Outcome {
    Outcome::Recalled(TableRecord { uuid: uuid.map(str::to_owned), number }, end)
}

fn loaded(uuid: &str, number: Option<u64>) -> Outcome {
    Outcome::Loaded(Some(Seen { uuid: uuid.to_owned(), number }))
}

/// Returns the step after these outcomes.
fn after(creates: bool, outcomes: Vec<Outcome>) -> Step {
    let mut appender = Appender::new(creates);
    outcomes.into_iter().for_each(|outcome| appender.on(outcome));
    appender.step()
}

#[test]
fn a_lost_answer_of_a_successful_commit_is_no_second_commit() {
    let mut outcomes = vec![
        recalled(Some("a"), 3, 5),
        loaded("a", Some(3)),
        Outcome::Gathered { to: 5, kept_from: 0 },
    ];
    let append = Step::Append { from: 3, to: 5, number: 5 };
    assert_eq!(after(false, outcomes.clone()), append);
    outcomes.extend([Outcome::Unsettled, recalled(Some("a"), 3, 5), loaded("a", Some(5))]);
    let record = TableRecord { uuid: Some("a".into()), number: 5 };
    assert_eq!(after(false, outcomes.clone()), Step::Record(record));
    outcomes.push(Outcome::Recorded);
    assert_eq!(after(false, outcomes), Step::Done(Verdict::UpTo(5)));
}

#[test]
fn stops_are_named_by_their_cause() {
    let stop = |outcomes| match after(true, outcomes) {
        Step::Done(Verdict::Stopped(stop)) => stop,
        step => panic!("{step:?}"),
    };
    let known = || recalled(Some("a"), 3, 5);
    let missing = Stop::Missing { was_there: true };
    assert_eq!(stop(vec![known(), Outcome::Loaded(None)]), missing, "it is not created again");
    let never = vec![recalled(None, 0, 0), Outcome::Loaded(None), Outcome::Created];
    let never = [never, vec![Outcome::Loaded(None)]].concat();
    assert_eq!(stop(never), Stop::Missing { was_there: false });
    assert_eq!(
        stop(vec![known(), loaded("b", Some(3))]),
        Stop::Replaced { recorded: "a".into(), found: "b".into(), number: 3 }
    );
    assert_eq!(stop(vec![known(), loaded("a", None)]), Stop::NumberMissing { number: 3 });
    let fell = Stop::NumberFell { found: 2, number: 3 };
    assert_eq!(stop(vec![known(), loaded("a", Some(2))]), fell);
    let ahead = vec![known(), loaded("a", Some(9)), Outcome::LedgerRead(6)];
    assert_eq!(stop(ahead), Stop::LedgerShorter { found: 9, end: 6 });
    let gap = Outcome::Gathered { to: 5, kept_from: 4 };
    let forgotten = Stop::Forgotten { number: 3, kept_from: 4 };
    assert_eq!(stop(vec![known(), loaded("a", Some(3)), gap]), forgotten);
}

#[test]
fn first_commit_only_sets_the_number_and_a_missing_table_is_created_once() {
    let created = vec![recalled(None, 7, 9), Outcome::Loaded(None)];
    assert_eq!(after(true, created.clone()), Step::Create);
    let twice = vec![Outcome::Created, loaded("a", None), recalled(None, 7, 9)];
    let first = Step::Append { from: 7, to: 7, number: 7 };
    assert_eq!(after(true, [created, twice].concat()), first);
}

#[test]
fn gives_up_after_some_conflicts() {
    let mut outcomes = Vec::new();
    for _ in 0..TRIES_MAX {
        outcomes.push(recalled(Some("a"), 0, 1));
        let gathered = Outcome::Gathered { to: 1, kept_from: 0 };
        outcomes.extend([loaded("a", Some(0)), gathered, Outcome::Unsettled]);
    }
    assert_eq!(after(false, outcomes), Step::Done(Verdict::Contended));
}

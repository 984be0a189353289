//! Goal: a receipt is true, whatever fails. No event lands in a directory after its receipt unless
//! it is recorded as late and an assumption explains it, and every directory gets a receipt once
//! its edges are back.
//!
//! Method: edges with one or two sources, collectors and one ledger, driven by random steps from a
//! seed: lines, surveys, batches, lost, repeated and overtaking messages, commits, kills, edges
//! that are restored from an old disk, copied, dismissed or declared to have left, clocks that run
//! ahead and step, files that appear late, sources that are stopped, removed and added, relays and
//! collectors that die with their disk. The decisions are the product's; the rest is a
//! model. Each rule is also removed, and its absence is found.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod edge;
mod heal;
mod more;
mod random;
mod world;

use world::World;

const STEPS: usize = 400;
const SEEDS: u64 = 20_000;

/// Seeds with `tests/run --long`.
const SEEDS_LONG: u64 = 1_000_000;

/// Seeds in which each planted bug shows.
#[cfg(feature = "mutants")]
const PLANTED_SEEDS: u64 = 3_000;

/// Runs one seed; returns the number of receipts that were made before the end.
fn run(seed: u64) -> usize {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    let early = world.receipts.len();
    world.heal();
    early
}

#[test]
fn every_receipt_is_true_and_every_directory_gets_one() {
    let is_long = std::env::var_os("AQUEDUCT_LONG").is_some();
    let seeds = if is_long { SEEDS_LONG } else { SEEDS };
    let early: usize = (0..seeds).map(run).sum();
    assert!(early > seeds as usize / 2, "{early} receipts before the end: the test shows little");
}

#[cfg(feature = "mutants")]
#[test]
fn receipts_are_true_without_a_planted_bug() {
    support::mutants::plant_by_environment();
    for seed in 0..PLANTED_SEEDS {
        run(seed);
    }
}

#[cfg(feature = "mutants")]
#[test]
fn each_planted_bug_is_found() {
    const TEST: &str = "receipts_are_true_without_a_planted_bug";
    for (bug, found_by) in [
        ("complete_report_before_commit", "is late without a reason"),
        ("complete_one_source_suffices", "is late without a reason"),
        ("complete_old_epoch_ignored", "is late without a reason"),
        ("complete_silent_not_expected", "is late without a reason"),
        ("complete_future_trusted", "a report is later than its arrival"),
        ("complete_stepped_clock_kept", "a report is later than its clock"),
        ("complete_late_not_recorded", "a late event is not recorded"),
        ("complete_removed_source_kept", "no receipt"),
        ("complete_stopped_source_ignored", "is late without a reason"),
        ("complete_left_edge_never_returns", "an edge that returned is not waited for"),
    ] {
        support::mutants::is_found(bug, TEST, found_by);
    }
}

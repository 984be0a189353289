//! Goal: whatever fails, a good revision reaches all agents, a bad one stays in the first wave and
//! is taken back, no agent gets a text twice, none is ever without a working one, and a pinned one
//! keeps its revision.
//!
//! Method: each seed has up to 60 agents with events, a clock, and a disk that keeps what was
//! saved. Agents are cut off, restart and die; some are connected and get offers at once, the
//! others poll. The server is killed before and after each save and between any two calls, and
//! stays down for up to ten minutes. Twenty-two kinds of texts are bad ([`world::BAD`]). The rules
//! are checked at every offer, against what the agents really do, and at the end.
//!
//! Without any of its rules, the same seeds must find a violation.

mod site;
mod world;

use aqueduct_fleet as fleet;
use fleet::{Phase, Rules};
use site::Site;
use world::{BAD, VANISHED_MS};

/// Lives: two for each planted kind.
const SEEDS: u64 = 44;

/// Minimum number of kills while a roll-out runs, in all lives.
const KILLS_MIN: u64 = 1_000;

/// The outcome of a life.
#[derive(Default)]
struct Lived {
    /// Kills of the server while a roll-out ran.
    kills: u64,
    /// The last wave of the bad text, from 0.
    wave: usize,
}

/// Rolls out a good revision, and returns its number. A fault may look like a bad text: then the
/// operator tries again.
fn good(site: &mut Site, first: u64) -> u64 {
    for number in first..first + 30 {
        site.roll_out(number, "good");
        let phase = site.finish();
        site.run(700);
        if phase == Phase::Completed {
            site.check_all_have(number);
            let attempts = number - first + 1;
            site.check_once(u32::try_from(attempts).expect("a small number"));
            return number;
        }
    }
    panic!("seed {}: a good revision does not reach the agents", site.seed);
}

/// One life of a fleet: good revisions, pins, a bad revision, and what remains of it.
fn live(seed: u64, rules: Rules) -> Lived {
    let mut site = Site::new(seed, rules);
    site.run(120);
    let mut number = good(&mut site, 1);
    site.begin_to_work();
    if seed % 2 == 1 {
        site.pin(seed % 4 == 1);
        number = good(&mut site, number + 1);
    }
    let kind = BAD[(seed % 22) as usize];
    site.roll_out(number + 1, kind);
    let bad = site.finish();
    assert_eq!(bad, Phase::RolledBack, "seed {seed}: a bad text ({kind}) was accepted");
    let wave = site.wave();
    assert!(wave <= 1, "seed {seed}: a bad text ({kind}) left the second wave");
    site.run(if kind == "vanishes" { VANISHED_MS / 1_000 } else { 0 });
    site.run(1_000);
    site.check_all_have(number);
    site.check_once(1);
    if site.unpin() {
        good(&mut site, number + 2);
    }
    Lived { kills: site.kills_in_waves, wave }
}

#[test]
fn bad_revisions_stop_in_the_first_wave_and_good_ones_reach_all() {
    let lived: Vec<Lived> = (0..SEEDS).map(|seed| live(seed, Rules::default())).collect();
    let kills: u64 = lived.iter().map(|it| it.kills).sum();
    let first = lived.iter().filter(|it| it.wave == 0).count();
    assert!(kills >= KILLS_MIN, "the server was killed only {kills} times");
    assert!(100 * first >= 95 * lived.len(), "only {first} stopped in the first wave");
}

#[test]
fn each_rule_is_needed() {
    let all = Rules::default();
    for (rule, rules, found_by) in [
        ("gate", Rules { gate: false, ..all }, "a bad text"),
        ("order", Rules { order: false, ..all }, "a wave opened before an earlier one passed"),
        ("save_first", Rules { save_first: false, ..all }, "offered before it was saved"),
        ("withdraw", Rules { withdraw: false, ..all }, "offered after a failure"),
        ("pins", Rules { pins: false, ..all }, "is pinned to"),
    ] {
        let found = (0..SEEDS).find_map(|seed| {
            let lived = std::panic::catch_unwind(|| live(seed, rules));
            let cause = lived.err()?;
            Some(cause.downcast_ref::<String>().cloned().unwrap_or_default())
        });
        let found = found.unwrap_or_default();
        assert!(found.contains(found_by), "without {rule}: {found:?}");
    }
}

#[test]
fn an_outage_of_the_server_fails_no_gate() {
    let mut site = Site::without_faults(3);
    site.run(120);
    site.roll_out(1, "good");
    for outage in 0..4 {
        site.run(40);
        site.outage(400 + 200 * outage);
    }
    assert_eq!(site.finish(), Phase::Completed);
    site.run(60);
    site.check_all_have(1);
    site.check_once(1);
}

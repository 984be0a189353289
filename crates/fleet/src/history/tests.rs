//! Samples of reports, and the store against a model: bounds, restarts, damaged and foreign files.

#![allow(clippy::disallowed_methods, reason = "the test is the operator that damages files")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rand::prelude::*;
use rusqlite::Connection;

use super::store::FLEET;
use super::*;
use crate::{Report, Revision, Saved};

/// 2026-12-01 12:00 UTC.
const NOON_MS: u64 = 1_796_126_400_000;
const NOON: u64 = NOON_MS / STEP_MS;

struct Nowhere;

impl crate::Save for Nowhere {
    fn save(&mut self, _: &Saved) -> std::io::Result<()> {
        Ok(())
    }
}

fn fleet() -> Fleet {
    Fleet::new(Saved::default(), Revision::default(), Revision::default(), BTreeMap::new())
}

/// A report of a process that has started at `started_ms`.
fn report(fleet: &mut Fleet, uid: &str, (at_ms, started_ms): (u64, u64), counts: Counts) {
    let oldest_seconds = (counts.held > 0).then_some(7);
    let uid = uid.to_owned();
    let counts = Some(counts);
    let report = Report { uid, started_ms, counts, oldest_seconds, ..Report::default() };
    fleet.report(at_ms, report, &mut Nowhere).unwrap();
}

fn counts(accepted: u64, held: u64) -> Counts {
    Counts { accepted, delivered: accepted - held, held, ..Counts::default() }
}

#[test]
fn samples_are_taken_once_a_minute_and_at_the_end_of_a_step() {
    let mut fleet = fleet();
    let mut stored = Vec::new();
    for second in 0..600 {
        let now_ms = NOON_MS + 1_000 * second;
        if second % 30 == 0 {
            report(&mut fleet, "a", (now_ms, 1), counts(1_000 + 10 * second, 0));
        }
        if let Some(samples) = fleet.samples(now_ms) {
            stored.push((second, samples.step - NOON, samples.agents[0].1.accepted));
        }
    }
    let ten = Some(10.0);
    let first = [(60, 0, ten), (120, 0, ten), (180, 0, ten), (240, 0, ten), (300, 0, ten)];
    let second = [(360, 1, ten), (420, 1, ten), (480, 1, ten), (540, 1, ten)];
    assert_eq!(stored, [&first[..], &second[..]].concat());
    // Also after the clock was set back, and never without a report.
    assert_eq!(fleet.samples(NOON_MS - 10 * STEP_MS).map(|it| it.step), Some(NOON + 1));
    assert_eq!(fleet.samples(NOON_MS - 8 * STEP_MS), None);
}

#[test]
fn a_restarted_process_and_a_pause_are_not_counted_as_events() {
    let mut fleet = fleet();
    fleet.samples(NOON_MS);
    let at = |seconds: u64| NOON_MS + 1_000 * seconds;
    let sample = |fleet: &mut Fleet, seconds| {
        let samples = fleet.samples(at(seconds)).unwrap();
        samples.agents.into_iter().map(|it| it.1).next().unwrap()
    };
    // The first report says nothing about a rate.
    report(&mut fleet, "a", (at(10), 1), counts(5_000, 40));
    let first = sample(&mut fleet, 60);
    assert_eq!((first.accepted, first.delivered, first.held), (None, None, 40.0));
    assert_eq!(first.oldest_seconds, Some(7));
    report(&mut fleet, "a", (at(70), 1), counts(5_600, 0));
    // Another process counts from 0.
    report(&mut fleet, "a", (at(100), 2), counts(900, 0));
    report(&mut fleet, "a", (at(110), 2), counts(1_000, 0));
    let second = sample(&mut fleet, 120);
    assert_eq!(second.accepted, Some(10.0), "(600 + 100) events in 70 s");
    assert_eq!(second.oldest_seconds, None);
    // Without a report in a step there is no sample; the pause is in the next rate.
    assert_eq!(fleet.samples(at(310)).unwrap().agents.len(), 1);
    assert_eq!(fleet.samples(at(610)), None);
    report(&mut fleet, "a", (at(710), 2), counts(1_600, 0));
    assert_eq!(sample(&mut fleet, 910).accepted, Some(1.0));
}

#[test]
fn the_fleet_is_the_sum_of_its_agents() {
    let one = Sample { accepted: Some(1.5), held: 10.0, level: Level::Note, ..Sample::default() };
    let other = Sample {
        accepted: Some(2.0),
        delivered: Some(4.0),
        held: 5.0,
        oldest_seconds: Some(60),
        level: Level::Bad,
    };
    let silent = Sample::default();
    let all = [("a", one), ("b", other), ("c", silent)];
    let agents = all.map(|(uid, it)| (uid.to_owned(), it)).into();
    let sum = Samples { step: 1, agents }.sum();
    assert_eq!(sum, Sample { accepted: Some(3.5), held: 15.0, ..other });
    assert_eq!(Samples::default().sum(), Sample::default());
}

fn store(path: &Path) -> Store {
    Store::new(Arc::new(env::RealDisk), path.to_owned())
}

fn random(rng: &mut StdRng) -> Sample {
    let levels = [Level::Good, Level::Note, Level::Warn, Level::Bad];
    let rate = |rng: &mut StdRng| rng.random_bool(0.9).then(|| rng.random_range(0.0..1e6));
    Sample {
        accepted: rate(rng),
        delivered: rate(rng),
        held: rng.random_range(0.0..1e9),
        oldest_seconds: rng.random_bool(0.5).then(|| rng.random_range(0..1_000_000)),
        level: levels[rng.random_range(0..4)],
    }
}

/// Samples of some of these agents.
fn some(rng: &mut StdRng, step: u64, agents: u32) -> Samples {
    let uids = (0..agents).filter(|_| rng.random_bool(0.8)).collect::<Vec<_>>();
    let agents = uids.into_iter().map(|uid| (format!("{uid:032x}"), random(rng))).collect();
    Samples { step, agents }
}

fn rows(path: &Path) -> u64 {
    let count = "SELECT count(*) FROM points";
    let rows: i64 = Connection::open(path).unwrap().query_row(count, [], |it| it.get(0)).unwrap();
    rows.unsigned_abs()
}

#[test]
fn the_store_equals_a_model_and_keeps_its_bounds() {
    for seed in 0..16 {
        let (folder, mut rng) = (tempfile::tempdir().unwrap(), StdRng::seed_from_u64(seed));
        let path = folder.path().join("history.db");
        let (mut kept, mut model) = (store(&path), BTreeMap::<(u64, String), Sample>::new());
        let (mut now, agents) = (NOON, rng.random_range(1..12));
        let mut uids: Vec<String> = (0..agents).map(|uid| format!("{uid:032x}")).collect();
        uids.push(FLEET.to_owned());
        for _ in 0..150 {
            match rng.random_range(0..20) {
                0 => now += rng.random_range(100..400),
                1 => now -= rng.random_range(1..40),
                2 | 3 => kept = store(&path),
                _ => now += rng.random_range(0..10),
            }
            let samples = some(&mut rng, now, agents);
            kept.add(&samples).unwrap();
            model.retain(|(step, _), _| (now / 12 - 24..=now / 12).contains(&(step / 12)));
            model.insert((now, FLEET.to_owned()), samples.sum());
            model.extend(samples.agents.into_iter().map(|(uid, it)| ((now, uid), it)));
            let read = kept.read(&uids.iter().map(String::as_str).collect::<Vec<_>>(), now);
            for (uid, track) in uids.iter().zip(read.unwrap()) {
                let steps = now + 1 - STEPS..=now;
                let expected =
                    model.iter().filter(|((step, of), _)| of == uid && steps.contains(step));
                let expected: Track = expected.map(|((step, _), it)| (*step, *it)).collect();
                assert_eq!(track, expected, "seed {seed}, agent {uid:?}");
            }
            assert!(rows(&path) <= 25 * uids.len() as u64, "seed {seed}");
        }
    }
}

#[test]
fn a_day_of_an_agent_needs_less_than_eight_kilobytes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut rng) = (folder.path().join("history.db"), StdRng::seed_from_u64(1));
    let mut kept = store(&path);
    for hour in 0..60 {
        let agents = (0..500).map(|uid| (format!("{uid:032x}"), random(&mut rng))).collect();
        kept.add(&Samples { step: NOON + 12 * hour, agents }).unwrap();
    }
    assert_eq!(rows(&path), 25 * 501);
    let bytes = fs::metadata(&path).unwrap().len();
    assert!(bytes / 501 < 8_000, "{} bytes for each agent", bytes / 501);
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["history.db"]);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "other users can read it: {mode:o}");
}

#[test]
fn the_oldest_hours_make_room_when_the_file_is_full() {
    const PAGES: u64 = 256;
    let folder = tempfile::tempdir().unwrap();
    let (path, mut rng) = (folder.path().join("history.db"), StdRng::seed_from_u64(2));
    let mut kept = store(&path).with_pages_max(PAGES);
    let uid = format!("{:032x}", 7);
    for hour in 0..30 {
        let agents = (0..500).map(|uid| (format!("{uid:032x}"), random(&mut rng))).collect();
        let samples = Samples { step: NOON + 12 * hour, agents };
        kept.add(&samples).unwrap();
        assert!(fs::metadata(&path).unwrap().len() <= PAGES * 4_096);
        let track = kept.read(&[&uid], samples.step).unwrap().remove(0);
        assert_eq!(track.last(), Some(&(samples.step, samples.agents[7].1)));
        let steps: Vec<u64> = track.iter().rev().map(|it| it.0).collect();
        let expected = (0..steps.len() as u64).map(|it| samples.step - 12 * it);
        assert!(expected.eq(steps), "the latest hours stay");
        assert!(hour < 3 || track.len() >= 3, "{} hours of {hour}", track.len());
    }
    // A step that does not fit changes nothing, like a full disk.
    let agents = (0..9_000).map(|uid| (format!("{uid:032x}"), random(&mut rng))).collect();
    let refused = kept.add(&Samples { step: NOON + 12 * 29, agents }).unwrap_err();
    assert!(refused.to_string().contains("the free disk space"), "{refused}");
    assert!(!folder.path().join("history.db.damaged").exists());
    assert!(!kept.read(&[&uid], NOON + 12 * 29).unwrap()[0].is_empty());
}

/// A history of fifty agents and 26 hours.
fn written(path: &Path, rng: &mut StdRng) {
    let mut kept = store(path);
    for hour in 0..26 {
        kept.add(&some(rng, NOON - 12 * (26 - hour), 50)).unwrap();
    }
}

/// Uses a file that may be damaged or foreign.
fn used(path: &Path, rng: &mut StdRng) -> Track {
    let mut kept = store(path);
    let before = kept.read(&[FLEET], NOON - 1).unwrap().remove(0);
    assert!(before.iter().all(|(_, it)| it.held >= 0.0 && it.held.is_finite()));
    kept.add(&some(rng, NOON, 50)).unwrap();
    kept.read(&[FLEET], NOON).unwrap().remove(0)
}

#[test]
fn damaged_bytes_never_stop_the_history() {
    for seed in 0..60 {
        let (folder, mut rng) = (tempfile::tempdir().unwrap(), StdRng::seed_from_u64(seed));
        let path = folder.path().join("history.db");
        written(&path, &mut rng);
        let mut bytes = fs::read(&path).unwrap();
        if rng.random_bool(0.2) {
            bytes.truncate(rng.random_range(1..bytes.len()));
        }
        for _ in 0..rng.random_range(1..20) {
            let (at, most) = (rng.random_range(0..bytes.len()), rng.random_range(1..300));
            bytes[at..].iter_mut().take(most).for_each(|it| *it = rng.random());
        }
        fs::write(&path, &bytes).unwrap();
        used(&path, &mut rng);
    }
}

#[test]
fn foreign_files_are_set_aside() {
    type Make = fn(&Path);
    let makers: [Make; 6] = [
        |path| fs::write(path, "notes of an operator\n".repeat(500)).unwrap(),
        |path| fs::write(path, vec![0; 5_000]).unwrap(),
        |path| fs::create_dir_all(path.join("inside")).unwrap(),
        |path| std::os::unix::fs::symlink("/dev/null", path).unwrap(),
        |path| {
            let other = Connection::open(path).unwrap();
            other.execute_batch("CREATE TABLE points (hour, uid, points)").unwrap();
        },
        // A later version of this program.
        |path| {
            written(path, &mut StdRng::seed_from_u64(3));
            Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
        },
    ];
    for (number, make) in makers.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        make(&path);
        // From earlier times.
        fs::create_dir_all(folder.path().join("history.db.damaged/inside")).unwrap();
        fs::write(folder.path().join("history.db-journal"), "of the foreign file").unwrap();
        let track = used(&path, &mut StdRng::seed_from_u64(4));
        assert_eq!(track.len(), 1, "file {number}");
        let aside = fs::symlink_metadata(folder.path().join("history.db.damaged")).unwrap();
        assert_eq!(aside.is_dir(), number == 2, "file {number}");
    }
    // An empty file is a new one.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    fs::write(&path, "").unwrap();
    used(&path, &mut StdRng::seed_from_u64(5));
    assert!(!folder.path().join("history.db.damaged").exists());
}

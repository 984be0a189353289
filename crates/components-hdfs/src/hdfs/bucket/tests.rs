//! Tests of the directory of an event.

use std::time::Duration;

use jiff::tz::TimeZone;
use pipeline::{Batch, BatchBuilder, Existing};
use proptest::prelude::*;

use super::host::tests::Named;
use super::names::{NAME_MAX, VALUE_MAX};
use super::route::OVERFLOW;
use super::*;

/// 2026-11-20T09:05:07.008Z.
const NOW: i64 = 1_795_165_507_008;
const HOUR: i64 = 3_600_000;

fn rules(path: &str) -> Rules {
    Rules {
        template: Template::parse(path, &Named("web 1")).unwrap(),
        calendar: Calendar { zone: TimeZone::UTC, round: None },
        by_arrival: false,
        without_time: WithoutTime::Arrival,
        late: None,
    }
}

fn parted(rules: &Rules, batch: &Batch) -> Vec<(String, usize)> {
    let routed = rules.route(batch, NOW, 3);
    routed.parts.into_iter().map(|(path, part)| (path, part.len())).collect()
}

fn routed(path: &str, batch: &Batch) -> Vec<(String, usize)> {
    parted(&rules(path), batch)
}

/// Returns events with these times; `-` is no time.
fn timed(times: &[&str]) -> Batch {
    let mut builder = BatchBuilder::default();
    for time in times {
        let stated = [("timestamp", *time)];
        builder.push(b"x", if *time == "-" { &[] } else { &stated });
    }
    builder.finish()
}

fn named<const N: usize>(expected: [(&str, usize); N]) -> Vec<(String, usize)> {
    expected.map(|(path, events)| (path.to_owned(), events)).to_vec()
}

#[test]
fn a_shared_header_and_the_time_of_the_event_make_the_path() {
    let mut batch = Batch::of(["a", "b"]);
    assert_eq!(routed("/logs/%Y-%m-%d/%H%M%S", &batch), [("2026-11-20/090507".into(), 2)]);
    batch.set_header("timestamp", "1000", Existing::Replace);
    batch.set_header("app", "shop", Existing::Replace);
    let path = "/logs/x-%{app}/y=%y/%%/%j";
    assert_eq!(routed(path, &batch), [("x-shop/y=70/%/001".into(), 2)]);
    assert_eq!(routed("/logs/%D/%%D", &batch), [("01/01/70/%D".into(), 2)]);
    assert_eq!(routed("/logs/%[LocalHost]-%t", &batch), [("web%201-1000".into(), 2)]);
    assert_eq!(routed("/logs/plain", &batch), [(String::new(), 2)]);
}

#[test]
fn events_of_other_hours_and_headers_are_parted_and_no_others() {
    let mut builder = BatchBuilder::default();
    for (time, app) in [("0", "a"), ("3599999", "a"), ("3600000", "a"), ("1", "b")] {
        builder.push(b"x", &[("timestamp", time), ("app", app), ("other", time)]);
    }
    let parted = routed("/logs/%H/%{app}", &builder.finish());
    assert_eq!(parted, named([("00/a", 2), ("01/a", 1), ("00/b", 1)]));
}

#[test]
fn rounding_and_zone_split_events_only_where_the_path_differs() {
    let minutes: Vec<String> = (0..60).map(|minute| (minute * 60_000).to_string()).collect();
    let batch = timed(&minutes.iter().map(String::as_str).collect::<Vec<_>>());
    let mut rules = rules("/logs/%H%M");
    rules.calendar.round = Round::to(Duration::from_secs(30 * 60)).ok();
    assert_eq!(parted(&rules, &batch), named([("0000", 30), ("0030", 30)]));
    rules.calendar.zone = TimeZone::get("Asia/Kathmandu").unwrap();
    assert_eq!(parted(&rules, &batch), named([("0530", 30), ("0600", 30)]));
}

#[test]
fn repeated_hours_share_a_directory_unless_the_path_has_the_offset() {
    // 2026-10-25, 02:30 in Berlin, which occurs twice.
    let batch = timed(&["1792888200000", "1792891800000"]);
    for (path, expected) in
        [("/l/%H", named([("02", 2)])), ("/l/%H%z", named([("02+0200", 1), ("02+0100", 1)]))]
    {
        let mut rules = rules(path);
        rules.calendar.zone = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(parted(&rules, &batch), expected);
    }
}

/// A directory is over only when no later moment has its text, whatever the rounding.
#[test]
fn a_directory_is_not_over_while_the_clocks_may_bring_its_text_back() {
    support::mutants::plant_by_environment();
    const MINUTE: i64 = 60_000;
    let moment = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    for (zone, from) in [
        ("Europe/Berlin", "2026-10-24T22:30:00Z"),
        ("America/New_York", "2026-11-01T04:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T13:00:00Z"),
        ("UTC", "2026-10-24T22:30:00Z"),
    ] {
        for (path, round) in [
            ("/l/%Y-%m-%d/%H-%M", 10),
            ("/l/%Y-%m-%d/%H-%M", 7),
            ("/l/%Y-%m-%d/%H-%M", 30),
            ("/l/%Y-%m-%d/%H", 60),
            ("/l/%Y-%m-%d/%H-%M%z", 10),
        ] {
            let mut rules = rules(path);
            rules.calendar.zone = TimeZone::get(zone).unwrap();
            rules.calendar.round = Some(Round::to(Duration::from_secs(60 * round)).unwrap());
            let from = moment(from);
            let at = |n: i64| from + n * MINUTE;
            let mut clock = rules.calendar.clock();
            let texts: Vec<String> =
                (0..420).map(|n| rules.template.times(clock.at(at(n)))).collect();
            for n in 0..200_usize {
                for now in n..360 {
                    let is_over = rules.is_over(at(n as i64), at(now as i64));
                    let returns = texts[now..].contains(&texts[n]);
                    assert_eq!(is_over, !returns, "{zone} {path} {round} {n} {now}");
                }
            }
        }
    }
}

#[test]
fn keeps_events_of_too_many_directories_together() {
    let mut builder = BatchBuilder::default();
    for (time, app) in
        [("0", "a"), ("3600000", "a"), ("0", "b"), ("0", "a"), ("9", "c"), ("0", "d")]
    {
        builder.push(b"x", &[("timestamp", time), ("app", app)]);
    }
    let parted = routed("/logs/%H/%{app}", &builder.finish());
    assert_eq!(parted, named([("00/a", 2), ("01/a", 1), ("00/b", 1), (OVERFLOW, 2)]));
}

#[test]
fn a_timestamp_that_cannot_be_read_is_taken_for_none() {
    for odd in ["", "yesterday", "-", "99999999999999999999", "9223372036854775807"] {
        let mut batch = Batch::of(["a"]);
        batch.set_header("timestamp", odd, Existing::Replace);
        assert_eq!(routed("/logs/%Y", &batch), [("2026".into(), 1)], "{odd:?}");
    }
}

#[test]
fn an_event_without_a_time_follows_the_rule() {
    let batch = timed(&["0", "-", "x", "1"]);
    let mut rules = rules("/logs/%Y");
    assert_eq!(parted(&rules, &batch), named([("1970", 2), ("2026", 2)]));
    rules.without_time = WithoutTime::Below("undated".into());
    assert_eq!(parted(&rules, &batch), named([("1970", 2), ("undated/2026", 2)]));
    rules.without_time = WithoutTime::Reject;
    assert_eq!(parted(&rules, &batch), named([("1970", 2)]));
    assert_eq!(rules.route(&batch, NOW, 3).rejected.len(), 2);
    rules.by_arrival = true;
    assert_eq!(parted(&rules, &batch), named([("2026", 4)]));
    assert_eq!(rules.route(&batch, NOW, 3).rejected.len(), 0);
}

#[test]
fn counts_late_events_and_puts_them_below_their_own_path() {
    let at = |age: i64| (NOW - age).to_string();
    let times = [at(0), at(HOUR), at(HOUR + 1), at(30_000 * HOUR), at(-HOUR)];
    let batch = timed(&times.iter().map(String::as_str).collect::<Vec<_>>());
    let mut rules = rules("/logs/%d-%H");
    rules.late = Some((Duration::from_secs(3_600), "late".into()));
    let hours = named([("20-09", 1), ("20-08", 1), ("late/20-09", 2), ("20-10", 1)]);
    let routed = rules.route(&batch, NOW, 9);
    assert_eq!(routed.late, 2);
    let parts: Vec<_> =
        routed.parts.iter().map(|(path, part)| (path.clone(), part.len())).collect();
    assert_eq!(parts, hours);
    // A shared time is counted once per event.
    let mut builder = BatchBuilder::default();
    ["a", "b", "a"].into_iter().for_each(|app| builder.push(b"x", &[("app", app)]));
    let mut shared = builder.finish();
    shared.set_header("timestamp", "0", Existing::Replace);
    rules.template = Template::parse("/logs/%H/%{app}", &Named("h")).unwrap();
    assert_eq!(rules.route(&shared, NOW, 9).late, 3);
    assert_eq!(rules.route(&timed(&["0", "5"]), NOW, 9).late, 2);
}

#[test]
fn a_template_that_cannot_be_rendered_is_refused() {
    for path in [
        "/%Y/logs",
        "/logs/%Q",
        "/logs/%{app",
        "/logs/%{}",
        "/logs/%[mac]",
        "/logs/%[FQDN]",
        "/logs/%[localhost",
        "/logs/50%",
        "/logs/_aqueduct/%Y",
        "/1/2/3/4/5/6/7/8/9/10/11/12/13",
        "/1/2/3/4/5/6/7/8/9/10/%D",
        "/logs/{date}",
        "/logs/%Y/a{app}b",
        "/{env}/%Y",
    ] {
        assert!(Template::parse(path, &Named("h")).is_err(), "{path}");
    }
    for path in ["late", "/", "/a//b", "/a/../b", "/_late", "/a b", "/%Y"] {
        assert!(branch(path).is_err(), "{path}");
    }
    assert_eq!(branch("/late/x=1").as_deref(), Ok("late/x=1"));
}

#[test]
fn the_books_cannot_be_named_by_a_header() {
    let mut batch = Batch::of(["a"]);
    batch.set_header("app", "_aqueduct", Existing::Replace);
    batch.set_header("half", "aqueduct", Existing::Replace);
    let path = routed("/logs/%{app}/_%{half}", &batch).remove(0).0;
    assert_eq!(path, "%5Faqueduct/%5Faqueduct");
}

proptest! {
    #[test]
    fn no_value_leads_out_of_its_directory(value in ".*") {
        let mut batch = Batch::of(["a"]);
        batch.set_header("app", &value, Existing::Replace);
        let path = routed("/logs/%{app}/%{missing}/%{app}é%{app}", &batch).remove(0).0;
        let names: Vec<&str> = path.split('/').collect();
        prop_assert_eq!(names.len(), 3);
        prop_assert!(!matches!(names[0], "" | "." | ".." | BOOKS));
        prop_assert!(names[0].len() <= VALUE_MAX && names[1] == "_");
        prop_assert!(names[2].len() <= NAME_MAX);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._=-%".contains(&b);
        prop_assert!(names[0].bytes().all(plain));
    }

    /// Routing a batch gives each event the same directory as routing it alone.
    #[test]
    fn an_event_has_the_same_directory_in_any_batch(
        times in prop::collection::vec(prop_oneof![
            Just(None), Just(Some("x".to_owned())),
            (NOW - 400 * 24 * HOUR..NOW + HOUR).prop_map(|at| Some(at.to_string())),
        ], 1..40),
        path in prop::sample::select(vec![
            "/l/%H", "/l/%Y%j", "/l/%s", "/l/%H%z", "/l/%c", "/l/%t", "/l/%I%p", "/l/%M",
        ]),
        round in prop::sample::select(vec![0, 10 * 60, 7 * 60, 3_600, 6 * 3_600]),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kolkata"]),
        late in any::<bool>(),
    ) {
        let mut rules = rules(path);
        rules.calendar.zone = TimeZone::get(zone).unwrap();
        rules.calendar.round = Round::to(Duration::from_secs(round)).ok();
        rules.late = late.then(|| (Duration::from_secs(180 * 86_400), "late".into()));
        let mut builder = BatchBuilder::default();
        for (n, time) in times.iter().enumerate() {
            let n = n.to_string();
            let stated = time.as_deref().map(|time| ("timestamp", time));
            builder.push(n.as_bytes(), &stated.into_iter().collect::<Vec<_>>());
        }
        let routed = rules.route(&builder.finish(), NOW, 1_000);
        let mut seen = 0;
        for (path, part) in &routed.parts {
            for event in part.iter() {
                seen += 1;
                let mut alone = BatchBuilder::default();
                alone.push(event.body(), &event.headers().collect::<Vec<_>>());
                let alone = rules.route(&alone.finish(), NOW, 1_000).parts.remove(0).0;
                prop_assert_eq!(&alone, path);
            }
        }
        prop_assert_eq!(seen, times.len());
    }
}

//! Goal: a failure is shown exactly while it lasts. Method: time is an argument.

use std::time::SystemTime;

use super::*;

const PAUSE: Duration = Duration::from_secs(3);

fn at(began: Instant, seconds: u64) -> (Instant, SystemTime) {
    let passed = Duration::from_secs(seconds);
    (began + passed, UNIX_EPOCH + passed)
}

fn lasts(state: &mut State, now: Instant) -> Option<u64> {
    match state.view(now) {
        View::Failing { lasts, .. } => Some(lasts.as_secs()),
        _ => None,
    }
}

#[test]
fn unopened_part_does_not_count_as_working() {
    let began = Instant::now();
    let mut state = State::new(Phase::Starting);
    assert_eq!(state.view(at(began, 100).0), View::Starting);
    state.failed(at(began, 100), ("port\ntaken", true), PAUSE);
    let expected = View::Failing {
        since: at(began, 100).1,
        lasts: Duration::from_secs(2),
        error: "port taken".into(),
        next_try: Some(Duration::from_secs(1)),
        needs_operator: true,
    };
    assert_eq!(state.view(at(began, 102).0), expected);
    state.failed(at(began, 103), ("port taken", true), PAUSE);
    assert_eq!(lasts(&mut state, at(began, 104).0), Some(4), "it began with the first failure");
    assert_eq!(state.opened(at(began, 110).0, false), Some(Duration::from_secs(10)));
    assert_eq!(state.view(at(began, 110).0), View::Works);
}

#[test]
fn a_sink_that_opens_and_cannot_write_fails_until_it_has_stored_something() {
    let began = Instant::now();
    let mut state = State::new(Phase::Starting);
    state.opened(began, false);
    for second in [10, 20, 30] {
        state.failed(at(began, second), ("no space", false), PAUSE);
        assert_eq!(state.opened(at(began, second + 4).0, false), None);
    }
    assert_eq!(lasts(&mut state, at(began, 40).0), Some(30));
    assert_eq!(state.worked(at(began, 41).0), Some(Duration::from_secs(31)));
    assert_eq!(state.view(at(began, 41).0), View::Works);
}

#[test]
fn a_sink_that_has_nothing_to_store_works_after_a_while() {
    let began = Instant::now();
    let mut state = State::new(Phase::Starting);
    state.opened(began, false);
    state.failed(at(began, 1), ("reset", false), PAUSE);
    state.opened(at(began, 2).0, false);
    assert_eq!(lasts(&mut state, at(began, 61).0), Some(60));
    assert_eq!(state.view(at(began, 62).0), View::Works);
    state.failed(at(began, 70), ("reset", false), PAUSE);
    assert_eq!(lasts(&mut state, at(began, 70).0), Some(0), "that is another trouble");
}

#[test]
fn source_that_opens_but_cannot_read_fails_until_it_stores_an_event() {
    let began = Instant::now();
    let mut state = State::new(Phase::Starting);
    state.opened(began, true);
    let mut news = Vec::new();
    for second in [10, 20, 30] {
        state.failed(at(began, second), ("cut", true), PAUSE);
        assert_eq!(
            lasts(&mut state, at(began, second).0),
            Some(second - 10),
            "dates from the first"
        );
        news.push(state.opened(at(began, second + 3).0, true).is_some());
        assert_eq!(state.view(at(began, second + 3).0), View::Works, "while it is open");
    }
    assert_eq!(news, [true, false, false], "it is reported once that it works again");
    state.worked(at(began, 40).0);
    state.failed(at(began, 41), ("cut", true), PAUSE);
    assert_eq!(lasts(&mut state, at(began, 41).0), Some(0), "that is another trouble");
}

struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(7)
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_makes_unready_and_a_sink_is_named_only() {
    let health = Health::new(Arc::new(Epoch));
    let source = health.add_source(&"in".into());
    let sink = health.add_sink(&"out".into(), true);
    let place = health.add_sink(&"out-2".into(), false);
    assert_eq!(health.readiness().reasons, ["source `in` is not open yet"]);
    health.source_opened(&source);
    sink.failed("refused", ErrorClass::Transient, PAUSE);
    let line = "sink `out` has been failing for 0 s: refused; next try in 3 s".to_owned();
    assert_eq!(health.readiness(), Readiness { reasons: vec![], remarks: vec![line] });
    let metrics = Metrics::default();
    health.show(&metrics);
    for line in [
        "aqueduct_source_up{source=\"in\"} 1\n",
        "aqueduct_source_failing_since_seconds{source=\"in\"} 0.0\n",
        "aqueduct_sink_up{sink=\"out\"} 0\n",
        "aqueduct_sink_failing_since_seconds{sink=\"out\"} 7.0\n",
    ] {
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
    assert!(!metrics.text().contains("out-2"), "{}", metrics.text());
    place.replaced(true);
    place.opened();
    health.show(&metrics);
    assert!(metrics.text().contains("aqueduct_sink_up{sink=\"out-2\"} 1\n"));
    place.replaced(false);
    health.show(&metrics);
    assert!(!metrics.text().contains("out-2"), "it has left");
    source.failed("gone", ErrorClass::Blocked, PAUSE);
    assert_eq!(health.readiness().reasons.len(), 1);
    source.ended();
    assert_eq!(health.readiness().reasons.len(), 0);
}

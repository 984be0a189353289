//! Metrics of a component are shown once per kind, by component, and a mistake in their table is an
//! error. Method: scopes of one agent's metrics, and the text that a reader gets.

use std::time::Duration;

use super::*;
use crate::Format;

const TABLE: &[MetricSpec] = &[
    MetricSpec::counter("dropped_events", "Events that were dropped."),
    MetricSpec::gauge("open_files", "Files that are open."),
    MetricSpec::seconds("answer_seconds", "Time until an answer."),
    MetricSpec::counter("Upper", "No snake case."),
    MetricSpec::counter("twice_total", "The ending is added."),
];

#[test]
fn components_of_one_kind_share_a_family_and_start_at_zero() {
    let metrics = Metrics::default();
    let one = metrics.scope("sampler", "in-0", TABLE);
    one.counter("dropped_events").unwrap().inc_by(3);
    one.counter("dropped_events").unwrap().inc();
    metrics.scope("sampler", "odd \"name\"", TABLE).counter("dropped_events").unwrap();
    one.gauge("open_files").unwrap().set(1.5);
    one.seconds("answer_seconds").unwrap().observe(Duration::from_secs(1));
    for format in [Format::Plain, Format::OpenMetrics] {
        let text = metrics.text_in(format);
        for line in [
            "aqueduct_sampler_dropped_events_total{component=\"in-0\"} 4\n",
            "aqueduct_sampler_dropped_events_total{component=\"odd \\\"name\\\"\"} 0\n",
            "aqueduct_sampler_open_files{component=\"in-0\"} 1.5\n",
            "aqueduct_sampler_answer_seconds_count{component=\"in-0\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert_eq!(text.matches(" Events that were dropped.\n").count(), 1, "{text}");
        assert_eq!(text.matches("# EOF").count(), usize::from(format == Format::OpenMetrics));
    }
    assert!(Metrics::default().text().find("sampler").is_none(), "of another agent");
}

#[test]
fn a_mistake_in_a_table_is_an_error() {
    let metrics = Metrics::default();
    let scope = metrics.scope("sampler", "in-0", TABLE);
    for (name, problem) in [
        ("unknown", "is missing in `METRICS`"),
        ("open_files", "has another type"),
        ("Upper", "snake case"),
        ("twice_total", "without `_total`"),
    ] {
        let error = scope.counter(name).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains(name), "{error}");
    }
    assert!(metrics.scope("no-kind", "in-0", TABLE).counter("dropped_events").is_err());

    const EVENTS: &[MetricSpec] = &[MetricSpec::counter("events", "As every source has.")];
    let error = metrics.scope("source", "in", EVENTS).counter("events").unwrap_err();
    assert!(error.to_string().contains("every agent"), "{error}");
}

//! `container_log`: removes the container runtime's wrapper from each line, and sets headers for
//! stream, time, pod and container.
//!
//! The body is one line of the runtime, or several that `multiline` has joined: partial lines, or a
//! stack trace. Partial lines are concatenated; complete lines are separated by LF.

use formats::container_log::{Entry, Place, parse, place};
use jiff::Timestamp;
use metrics::{Counter, MetricSpec};
use pipeline::{
    BuildContext, BuildError, Component, Events, Existing, Interceptor, Rejects, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the `container_log` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header with the path of the file, which names the pod and the container.
    #[serde(default = "default_path_header")]
    path_header: String,
    /// Prefix of the names of the headers `stream`, `namespace`, `pod`, `pod_uid`, `container` and
    /// `container_id`.
    #[serde(default)]
    prefix: String,
    /// Header for the time of the first line: milliseconds since 1970, as decimal text.
    #[serde(default = "default_time_header")]
    time_header: String,
    /// Handling of an event that no container runtime wrote.
    #[serde(default)]
    on_failure: OnFailure,
}

/// Handling of an event that no container runtime wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnFailure {
    /// The event is kept unchanged.
    #[default]
    Keep,
    /// The event becomes a dead letter.
    DeadLetters,
}

fn default_path_header() -> String {
    "file".to_owned()
}

fn default_time_header() -> String {
    "timestamp".to_owned()
}

/// Header names, with the function that finds the value in a path.
type Part = (&'static str, fn(&Place<'_>) -> Option<String>);
const PARTS: [Part; 5] = [
    ("namespace", |place| place.namespace.map(str::to_owned)),
    ("pod", |place| place.pod.map(str::to_owned)),
    ("pod_uid", |place| place.pod_uid.map(str::to_owned)),
    ("container", |place| place.container.map(str::to_owned)),
    ("container_id", |place| place.container_id.map(str::to_owned)),
];
const STREAM: &str = "stream";

impl Component for Config {
    const KIND: &'static str = "container_log";
    const METRICS: &'static [MetricSpec] = &[MetricSpec::counter(
        "failed_events",
        "Events without the format of a container runtime.",
    )];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        super::check_name("path_header", &self.path_header)?;
        super::check_name("time_header", &self.time_header)?;
        super::check_name("prefix", &format!("{}container_id", self.prefix))?;
        let failed = cx.scope::<Self>().counter("failed_events")?;
        Ok(Box::new(ContainerLog { config: self, failed }))
    }
}

struct ContainerLog {
    config: Config,
    failed: Counter,
}

/// Appends the text that the container wrote to `out`; `None` if no runtime wrote the first line.
/// A later line that no runtime wrote is kept unchanged. Only its own stream continues a part.
fn unwrap<'a>(body: &'a [u8], out: &mut Vec<u8>) -> Option<Entry<'a>> {
    let mut lines = body.split(|byte| *byte == b'\n');
    let first = parse(lines.next()?)?;
    out.extend_from_slice(&first.text);
    let mut unfinished = first.is_part.then_some(first.stream);
    for line in lines {
        let entry = parse(line);
        let stream = entry.as_ref().map(|entry| entry.stream);
        if unfinished.is_none() || unfinished != stream {
            out.push(b'\n');
        }
        unfinished = stream.filter(|_| entry.as_ref().is_some_and(|entry| entry.is_part));
        out.extend_from_slice(entry.as_ref().map_or(line, |entry| &*entry.text));
    }
    Some(first)
}

impl ContainerLog {
    /// Sets the headers from the path, if it contains them.
    fn set_places(&self, events: &mut Events) {
        let mut columns = PARTS.map(|_| Values::default());
        for (path, count) in events.value_runs(&self.config.path_header) {
            let place = path.map(place).unwrap_or_default();
            for (column, (_, of)) in columns.iter_mut().zip(PARTS) {
                column.push_run(of(&place).as_deref(), count);
            }
        }
        for ((name, _), column) in PARTS.iter().zip(columns) {
            events.merge_values(&self.header(name), column, Existing::Replace);
        }
    }

    fn header(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }
}

impl Interceptor for ContainerLog {
    fn intercept(&self, events: &mut Events, rejects: &mut Rejects) {
        let (mut streams, mut times) = (Values::default(), Values::default());
        let mut is_read = Vec::with_capacity(events.len());
        events.rewrite_bodies(|event, out| {
            let first = unwrap(event.body(), out);
            streams.push(first.as_ref().map(|entry| entry.stream.name()));
            let time = first.as_ref().and_then(|entry| entry.time.parse::<Timestamp>().ok());
            let millis = time.map(|time| time.as_millisecond()).filter(|millis| *millis >= 0);
            times.push(millis.map(|millis| millis.to_string()).as_deref());
            is_read.push(first.is_some());
            first.is_some()
        });
        events.merge_values(&self.header(STREAM), streams, Existing::Replace);
        events.merge_values(&self.config.time_header, times, Existing::Replace);
        self.set_places(events);
        let failed = is_read.iter().filter(|is_read| !**is_read).count();
        self.failed.inc_by(failed as u64);
        if failed > 0 && self.config.on_failure == OnFailure::DeadLetters {
            let failed = events.extract(|event| !is_read[event.index()]);
            rejects.push(
                failed,
                "not_parsed",
                "the body is not a line of a container runtime (CRI-O, containerd or Docker); \
                 exclude the file from the source, or set `on_failure = \"keep\"` in this \
                 interceptor",
            );
        }
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        let is_written = |name: &str| {
            let part = name.strip_prefix(&*self.config.prefix);
            name == self.config.time_header
                || part.is_some_and(|it| it == STREAM || PARTS.iter().any(|(part, _)| *part == it))
        };
        let drops = self.config.on_failure == OnFailure::DeadLetters;
        (drops || header.is_some_and(is_written)).then(|| format!("{:?}", self.config))
    }

    fn body_effect(&self) -> Option<String> {
        Some("bodies without the prefix of a container runtime".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use serde_json::{Value, json};

    use super::super::testing::{bodies, built, refused, through, values};
    use super::*;

    const PODS: &str = "/var/log/pods/shop_web-0_7a/nginx/0.log";

    fn read(settings: &Value, lines: &[&str]) -> Batch {
        let mut batch = Batch::of(lines);
        batch.set_header("file", PODS, Existing::Replace);
        through::<Config>(settings, batch)
    }

    #[test]
    fn splits_a_container_log_line_into_body_and_headers() {
        let batch = read(
            &json!({ "prefix": "k8s." }),
            &[
                "2026-11-27T03:00:00.5Z stdout F GET /",
                "2026-11-27T03:00:01Z stderr P half and \n2026-11-27T03:00:02Z stderr F half",
                "2026-11-27T03:00:03Z stdout F trace\n2026-11-27T03:00:03Z stdout P \tat \n\
                 2026-11-27T03:00:03Z stdout F main\n2026-11-27T03:00:03Z stdout F end",
                r#"{"log":"a\n","stream":"stdout","time":"2026-11-27T03:00:04.25Z"}"#,
                "2026-11-27T03:00:00Z stdout F ",
                "something else",
            ],
        );
        let expected =
            ["GET /", "half and half", "trace\n\tat main\nend", "a", "", "something else"];
        assert_eq!(bodies(&batch), expected);
        let streams = ["stdout", "stderr", "stdout", "stdout", "stdout", "-"];
        assert_eq!(values(&batch, "k8s.stream"), streams);
        let times = ["500", "1000", "3000", "4250", "0"]
            .map(|it| (1_795_748_400_000_i64 + it.parse::<i64>().expect("a number")).to_string());
        assert_eq!(values(&batch, "timestamp")[..5], times);
        assert_eq!(values(&batch, "timestamp")[5], "-");
        for (name, value) in [("namespace", "shop"), ("pod", "web-0"), ("container", "nginx")] {
            assert_eq!(values(&batch, &format!("k8s.{name}"))[5], value, "{name}");
        }
        assert_eq!(values(&batch, "k8s.container_id")[0], "-");
    }

    #[test]
    fn a_line_of_the_other_stream_does_not_continue_a_part() {
        let lines = "2026-11-27T03:00:00Z stdout P half \n2026-11-27T03:00:00Z stderr F an error\n\
             2026-11-27T03:00:00Z stderr P two \n2026-11-27T03:00:00Z stderr F parts";
        assert_eq!(bodies(&read(&json!({}), &[lines])), ["half \nan error\ntwo parts"]);
    }

    #[test]
    fn moves_foreign_lines_to_the_dead_letters_if_set() {
        let interceptor = built::<Config>(&json!({ "on_failure": "dead_letters" })).unwrap();
        let mut batch = Batch::of(["other", "2026-11-27T03:00:00Z stdout F a"]);
        let mut rejects = Rejects::default();
        interceptor.intercept(&mut batch, &mut rejects);
        assert_eq!(bodies(&batch), ["a"]);
        let rejected: Vec<_> = rejects.into_iter().flat_map(|it| bodies(&it.events)).collect();
        assert_eq!(rejected, ["other"]);
    }

    #[test]
    fn names_of_no_header_are_refused() {
        for setting in ["path_header", "time_header"] {
            assert_eq!(refused::<Config>(&json!({ setting: "" })), setting);
        }
    }
}

//! Joined lines. Goal: the events equal those of an oracle, in every channel once, however the
//! lines were written, whatever rotates, and wherever the agent is killed. Method: the source on
//! real files, killed and restarted between random writes and renames; and Java stack traces as a
//! logger writes them.

use proptest::prelude::*;

use super::*;

const TRACE: &str = "\
2026-11-25 20:00:00,123 ERROR Payment failed
java.lang.IllegalStateException: no answer
\tat shop.Payment.pay(Payment.java:17)
\tat shop.Main.main(Main.java:5)
Caused by: java.net.SocketTimeoutException: Read timed out
\tat java.base/sun.nio.ch.NioSocketImpl.timedRead(NioSocketImpl.java:278)
\t... 12 more
";

fn dated() -> serde_json::Value {
    json!({ "start": r"^\d{4}-", "timeout": "1h" })
}

#[tokio::test]
async fn a_stack_trace_is_one_event_by_either_pattern() {
    for multiline in [dated(), json!({ "continue": r"^(\s|Caused by:|java\.)", "timeout": "1h" })] {
        let rig = Rig::new(&json!({ "multiline": multiline, "offset_header": true }));
        let line = "2026-11-25 20:00:01,000 INFO ok\n";
        // Written in pieces, as a logger flushes.
        let running = rig.start();
        for piece in [&TRACE[..60], &TRACE[60..200], &TRACE[200..], line, "2026-\n"] {
            rig.append("a.log", piece);
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        rig.expect(&[TRACE.trim_end(), line.trim_end()]).await;
        let offsets: Vec<String> =
            rig.channels.events(0).iter().map(|event| event.headers["offset"].clone()).collect();
        assert_eq!(offsets, ["0".to_owned(), TRACE.len().to_string()]);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_quiet_file_ends_its_last_event() {
    let rig = Rig::new(&json!({
        "multiline": { "start": r"^\d{4}-", "timeout": "80ms" }, "poll_max": "60s",
    }));
    let running = rig.start();
    rig.append("a.log", format!("{TRACE}\tat half a li"));
    rig.expect(&[TRACE.trim_end()]).await;
    rig.append("a.log", "ne\n\tat another\n");
    rig.expect(&[TRACE.trim_end(), "\tat half a line\n\tat another"]).await;
    running.stop().await;
}

#[tokio::test]
async fn joins_parts_of_a_container_line_of_one_stream() {
    let rig = Rig::new(&json!({
        "multiline": { "container": true, "timeout": "1h" }, "offset_header": true,
    }));
    let running = rig.start();
    let lines = ["t stdout P a", "t stdout P b", "t stdout F c", "t stderr F d", "t stdout P e"];
    let more = ["t stderr F f", "no runtime", "t stdout F g", "t stderr P h"];
    for line in lines.iter().chain(&more) {
        rig.append("a.log", line);
        tokio::time::sleep(Duration::from_millis(15)).await;
        rig.append("a.log", "\n");
    }
    // The last line is a partial one, so its event may continue.
    let (first, third) = (lines[..3].join("\n"), format!("{}\n{}", lines[4], more[2]));
    rig.expect(&[&first, lines[3], &third, more[0], more[1]]).await;
    let events = rig.channels.events(0);
    let offsets: Vec<&str> = events.iter().map(|event| &*event.headers["offset"]).collect();
    let all = [&lines[..], &more[..]].concat();
    let start = |before: usize| all[..before].iter().map(|line| line.len() + 1).sum::<usize>();
    assert_eq!(offsets, [0, 3, 4, 5, 6].map(|before| start(before).to_string()));
    running.stop().await;
}

#[tokio::test]
async fn stores_a_whole_container_line_immediately() {
    let rig = Rig::new(&json!({ "multiline": { "container": true, "timeout": "1h" } }));
    let running = rig.start();
    let line = |pod: usize, number: usize| format!("t stdout F {pod} {number}");
    for number in 0..10 {
        for pod in 0..20 {
            rig.append(&format!("{pod}.log"), line(pod, number) + "\n");
        }
    }
    let stored = || rig.channels.lines()[0].len();
    for _ in 0..2_000 {
        if stored() == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.kill().await;
    let mut expected: Vec<String> =
        (0..20).flat_map(|pod| (0..10).map(move |number| line(pod, number))).collect();
    expected.sort();
    assert_eq!(rig.channels.lines()[0], expected);
}

#[tokio::test]
async fn a_stack_trace_on_stderr_and_lines_on_stdout_are_events_of_their_own() {
    let rig = Rig::new(&json!({
        "multiline": { "continue": r"^\S+ \S+ F \s", "timeout": "80ms" }, "poll_max": "60s",
    }));
    let running = rig.start();
    let trace = ["t stderr F Exception", "t stderr F \tat a", "t stderr F \tat b"];
    let lines = ["t stdout F one", "t stdout F  more", "t stdout F two"];
    for (error, line) in trace.iter().zip(lines) {
        rig.append("a.log", format!("{line}\n{error}\n"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.expect(&[&lines[..2].join("\n"), &trace.join("\n"), lines[2]]).await;
    running.stop().await;
}

#[tokio::test]
async fn the_end_of_a_rotated_file_ends_its_event() {
    let rig = Rig::new(&json!({ "multiline": dated() }));
    rig.append("a.log", format!("{TRACE}{TRACE}"));
    let running = rig.start();
    rig.expect(&[TRACE.trim_end()]).await;
    fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
    rig.append("a.log", "\tat its beginning\n2026-");
    rig.append("a.log.1", "\tat late without end");
    let late = format!("{TRACE}\tat late without end");
    rig.expect(&[TRACE.trim_end(), &late]).await;
    rig.append("a.log", "11-25\n2026-\n");
    rig.expect(&[TRACE.trim_end(), &late, "\tat its beginning", "2026-11-25"]).await;
    running.stop().await;
}

#[tokio::test]
async fn an_event_over_its_limits_ends_and_the_next_line_begins_another() {
    for (multiline, divided, expected) in [
        (json!({ "lines_max": 2 }), 2, vec!["0-a\nb", "c\nd", "e"]),
        (json!({ "bytes_max": "7B" }), 1, vec!["0-a\nb\nc", "d\ne"]),
        (json!({ "bytes_max": "1B" }), 4, vec!["0-a", "b", "c", "d", "e"]),
    ] {
        let mut settings = dated();
        settings.as_object_mut().unwrap().extend(multiline.as_object().unwrap().clone());
        settings["start"] = json!("^[0-9]-");
        let rig = Rig::new(&json!({ "multiline": settings, "line_max": "8B" }));
        rig.append("a.log", "0-a\nb\nc\nd\ne\n1-a too long\nx\n2-\n3-\n");
        let running = rig.start();
        let mut all = expected;
        all.extend(["1-a too ", "x", "2-"]);
        rig.expect(&all).await;
        assert_eq!(rig.anomalies("event_divided"), divided);
        running.stop().await;
    }
}

#[test]
fn a_multiline_that_cannot_be_is_refused_by_name() {
    let cx = BuildContext::alone("in", std::path::Path::new("unused"), env::real());
    for (multiline, path) in [
        (json!({}), "multiline"),
        (json!({ "start": "a", "continue": "b" }), "multiline"),
        (json!({ "start": "(" }), "multiline.start"),
        (json!({ "continue": "(?=a)" }), "multiline.continue"),
        (json!({ "start": "a", "lines_max": 0 }), "multiline.lines_max"),
        (json!({ "start": "a", "bytes_max": "2MiB" }), "multiline.bytes_max"),
        (json!({ "start": "a", "timeout": "0s" }), "multiline.timeout"),
    ] {
        let settings = json!({ "paths": ["/a/*.log"], "multiline": multiline });
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, path, "{error}");
    }
}

/// A change of one file between two surveys.
#[derive(Debug, Clone)]
enum Step {
    /// A line that begins an event.
    Begin,
    /// A line that belongs to the event before it.
    Continue,
    /// The beginning of a line, which the next step completes.
    Half,
    Rename,
    Pause,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Begin),
        6 => Just(Step::Continue),
        1 => Just(Step::Half),
        1 => Just(Step::Rename),
        3 => Just(Step::Pause),
        2 => Just(Step::Kill),
    ]
}

/// Returns the events of a file by the definition, line by line.
fn oracle(content: &str) -> Vec<String> {
    let mut events: Vec<String> = Vec::new();
    for line in content.lines() {
        match events.last_mut() {
            Some(event) if !line.starts_with('>') && event.lines().count() < 4 => {
                *event = format!("{event}\n{line}");
            }
            _ => events.push(line.to_owned()),
        }
    }
    events
}

/// Completes an unfinished line.
fn end_half(rig: &Rig, content: &mut String) {
    if !content.is_empty() && !content.ends_with('\n') {
        rig.append("a.log", "\n");
        content.push('\n');
    }
}

fn holds(steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut rig = Rig::new(&json!({
            "multiline": { "start": "^>", "lines_max": 4, "timeout": "1h" },
            "batch_events": 2,
        }));
        rig.settings["paths"] = json!([rig.path("a.log*")]);
        let (mut files, mut number) = (vec![String::new()], 0);
        let mut running = Some(rig.start());
        for step in steps {
            number += 1;
            let text = match step {
                Step::Begin => format!("> {number}\n"),
                Step::Continue => format!("- {number}\n"),
                Step::Half => format!("half {number} "),
                Step::Rename if !files.last().unwrap().is_empty() => {
                    end_half(&rig, files.last_mut().unwrap());
                    let rotated = rig.path(&format!("a.log.{number}"));
                    fs::rename(rig.path("a.log"), rotated).unwrap();
                    files.push(String::new());
                    continue;
                }
                Step::Rename => continue,
                Step::Pause => {
                    tokio::time::sleep(Duration::from_millis(4)).await;
                    continue;
                }
                Step::Kill => {
                    running.take().unwrap().kill().await;
                    running = Some(rig.start());
                    continue;
                }
            };
            rig.append("a.log", &text);
            files.last_mut().unwrap().push_str(&text);
        }
        end_half(&rig, files.last_mut().unwrap());
        running.unwrap().kill().await;
        rig.settings["multiline"]["timeout"] = json!("40ms");
        let running = rig.start();
        let expected: Vec<String> = files.iter().flat_map(|file| oracle(file)).collect();
        rig.expect(&expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
        running.stop().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn an_event_is_what_the_oracle_joins(steps in prop::collection::vec(step(), 0..60)) {
        holds(&steps);
    }
}

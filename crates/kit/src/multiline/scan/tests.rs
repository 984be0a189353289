//! Events of two streams, and the places at which a log may be divided.

use pipeline::units::ByteSize;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Multiline;
use super::*;

fn joining(settings: &Value) -> Joining {
    let multiline: Multiline = pipeline::Settings::from_json(settings).read().unwrap();
    multiline.joining(ByteSize::mib(1)).unwrap()
}

/// Returns lines whose text has the stream and the second as a prefix: `o1 text`.
fn log(lines: &[&str]) -> String {
    let line = |line: &&str| {
        let (head, text) = line.split_once(' ').unwrap();
        let stream = if head.starts_with('o') { "stdout" } else { "stderr" };
        let second: u32 = head[1..].parse().unwrap();
        let tag = if text.ends_with('-') { 'P' } else { 'F' };
        format!("2026-11-27T03:00:{second:02}Z {stream} {tag} {text}\n")
    };
    lines.iter().map(line).collect()
}

/// How open events end at the end of the log.
#[derive(Clone, Copy)]
enum Ends {
    None,
    Quiet,
    All,
}

/// Returns the texts of the events, the number of lines that they use, and the number of divided
/// events.
fn events(
    joining: &Joining,
    log: &str,
    limits: (usize, usize),
    ends: Ends,
) -> (Vec<String>, usize, u64) {
    let mut scan = Scan::new(joining, log.as_bytes(), limits.0);
    for line in log.lines() {
        scan.push(line.len(), line.len() + 1);
        if scan.is_over(limits.0, limits.1) {
            break;
        }
    }
    match ends {
        Ends::None => {}
        Ends::Quiet => scan.end_quiet(),
        Ends::All => scan.end(),
    }
    let Some(events) = scan.events(limits.0, limits.1) else { return (vec![], 0, 0) };
    let text = |event: Event<'_>| {
        let text = String::from_utf8(event.text().into_owned()).unwrap();
        let texts = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap().to_owned());
        texts.collect::<Vec<_>>().join("|")
    };
    let lines = log[..events.bytes].lines().count();
    (events.iter().map(text).collect(), lines, events.divided)
}

const ALL: (usize, usize) = (1 << 20, 1_000);

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn lines_of_two_streams_never_join_and_a_border_spans_no_event() {
    let joining = joining(&json!({ "continue": "F \\+" }));
    let lines = ["o1 a", "e1 x", "o1 +a", "e1 +x", "o2 b", "e2 y", "o2 +b", "o3 c", "e3 z"];
    let all = ["a|+a", "x|+x", "b|+b", "y", "c", "z"];
    let up_to = |count: usize, ends| events(&joining, &log(&lines[..count]), ALL, ends);
    assert_eq!(up_to(4, Ends::None), (texts(&[]), 0, 0), "either event may go on");
    assert_eq!(up_to(8, Ends::None), (texts(&all[..2]), 4, 0), "y may go on");
    assert_eq!(up_to(9, Ends::None), (texts(&all[..4]), 7, 0));
    assert_eq!(up_to(9, Ends::All), (texts(&all), 9, 0));
}

#[test]
fn a_line_of_a_container_is_complete_with_its_last_part() {
    let joining = joining(&json!({ "container": true }));
    let lines = ["o1 a", "o2 b-", "e2 x", "o3 c", "e4 y-"];
    let up_to = |count: usize| events(&joining, &log(&lines[..count]), ALL, Ends::None);
    assert_eq!(up_to(1), (texts(&["a"]), 1, 0));
    assert_eq!(up_to(3), (texts(&["a"]), 1, 0));
    assert_eq!(up_to(5), (texts(&["a", "b-|c", "x"]), 4, 0));
}

#[test]
fn a_part_is_continued_whatever_the_pattern_matches() {
    let joining = joining(&json!({ "start": "[FP] [a-z]" }));
    let lines = ["o1 a-", "e1 x", "o1 b", "o2 c"];
    let all = texts(&["a-|b", "x", "c"]);
    assert_eq!(events(&joining, &log(&lines), ALL, Ends::All), (all, 4, 0));
}

#[test]
fn a_stream_that_is_quiet_does_not_hold_the_other_one() {
    let joining = joining(&json!({ "start": "F [a-z]", "timeout": "5s" }));
    let lines = ["e1 x", "o1 a", "o3 b", "o5 c", "o6 d", "o7 e"];
    let up_to = |count: usize| events(&joining, &log(&lines[..count]), ALL, Ends::Quiet);
    assert_eq!(up_to(4), (texts(&[]), 0, 0));
    assert_eq!(up_to(5), (texts(&["x", "a", "b", "c"]), 4, 0));
    assert_eq!(up_to(6).1, 5);
}

#[test]
fn where_no_border_is_in_reach_the_open_events_end() {
    let joining = joining(&json!({ "start": "F [a-z]", "bytes_max": "200B" }));
    let lines = ["e1 x", "o1 a", "o1 b", "o1 c", "o1 d", "e1 +x"];
    let (first, count, divided) = events(&joining, &log(&lines), (ALL.0, 3), Ends::None);
    assert_eq!((first, count, divided), (texts(&["x", "a", "b"]), 3, 0));
    let lines = ["e1 x", "o1 a", "e1 +x", "o1 b", "e1 +x"];
    let bytes = log(&lines[..2]).len();
    let (first, count, divided) = events(&joining, &log(&lines), (bytes, 9), Ends::None);
    assert_eq!((first, count, divided), (texts(&["x", "a"]), 2, 1));
}

proptest! {
    /// For any data per read, each line is in one event, in the order of its stream, and the events
    /// equal those of the stream alone.
    #[test]
    fn events_of_a_stream_do_not_depend_on_the_other_one(
        lines in prop::collection::vec((any::<bool>(), any::<bool>()), 1..40),
        reads in prop::collection::vec(1_usize..9, 1..9),
    ) {
        let joining = joining(&json!({ "continue": "F \\+" }));
        let line = |(number, (is_error, continues)): (usize, &(bool, bool))| {
            let head = if *is_error { "e1" } else { "o1" };
            format!("{head} {}{number}", if *continues { "+" } else { "" })
        };
        let lines: Vec<String> = lines.iter().enumerate().map(line).collect();
        let mut expected = [Vec::<String>::new(), Vec::new()];
        for line in &lines {
            let (head, text) = line.split_once(' ').unwrap();
            let of_stream = &mut expected[usize::from(head == "e1")];
            match of_stream.last_mut().filter(|_| text.starts_with('+')) {
                Some(event) => *event = format!("{event}|{text}"),
                None => of_stream.push(text.to_owned()),
            }
        }
        let (mut stored, mut done, mut there) = (Vec::new(), 0, 0);
        for read in reads.iter().copied().cycle() {
            there = (there + read).min(lines.len());
            let ends = if there == lines.len() { Ends::All } else { Ends::None };
            let rest: Vec<&str> = lines[done..there].iter().map(String::as_str).collect();
            let (events, count, divided) = events(&joining, &log(&rest), ALL, ends);
            prop_assert_eq!(divided, 0);
            stored.extend(events);
            done += count;
            if done == lines.len() {
                break;
            }
        }
        let is_error = |event: &String| {
            let number = event.trim_start_matches('+').split('|').next().unwrap();
            lines[number.parse::<usize>().unwrap()].starts_with('e')
        };
        let (errors, output): (Vec<String>, Vec<String>) = stored.into_iter().partition(is_error);
        prop_assert_eq!([output, errors], expected);
    }
}

//! Each kind of finding is reported, and the worst comes first.
//!
//! Method: a snapshot of a healthy agent, and one change of it.

use support::meter::Throughput;

use super::*;
use crate::status::sample::healthy;
use crate::status::{
    FilesStatus, GroupStatus, IncompleteStatus, MemberStatus, PlainTextStatus, State, UnableStatus,
};

const WELL: &str = "All is well";
const CHANGED: (Level, Cause) = (Level::Note, Cause::Configuration);

fn member(snapshot: &mut Snapshot) -> &mut MemberStatus {
    &mut snapshot.groups[0].members[0]
}

fn group(snapshot: &mut Snapshot) -> &mut GroupStatus {
    &mut snapshot.groups[0]
}

fn failing() -> State {
    let last_error = "x".to_owned();
    State::Failing {
        since_seconds_ago: 9.0,
        last_error,
        retry_in_seconds: Some(1.0),
        needs_operator: false,
    }
}

fn waiting() -> State {
    State::Waiting { waits_for: "room".to_owned(), since_seconds_ago: 1.0 }
}

fn verdict(change: impl Fn(&mut Snapshot)) -> String {
    let mut snapshot = healthy();
    change(&mut snapshot);
    snapshot.judged(None).verdict.text
}

fn quiet(snapshot: &mut Snapshot, seconds: f64) {
    let passed = |it: &mut Throughput| it.last_seconds_ago = Some(seconds);
    snapshot.sources.iter_mut().for_each(|it| passed(&mut it.accepted));
    snapshot.channels.iter_mut().for_each(|it| passed(&mut it.stored));
    snapshot.groups.iter_mut().for_each(|it| passed(&mut it.delivered));
}

#[test]
fn components_and_channels_that_are_in_trouble_are_named() {
    assert_eq!(verdict(|_| ()), WELL);
    assert_eq!(
        verdict(|it| it.channels[0].fill_ratio = 0.85),
        "Needs attention: channel c is nearly full"
    );
    let fresh = |it: &mut Snapshot| {
        it.channels[0].until_full_seconds = Some(60.0);
        it.channels[0].oldest_event_seconds = Some(2.0);
    };
    assert_eq!(verdict(fresh), WELL, "what was delivered will be free");
    assert_eq!(
        verdict(|it| it.channels[0].until_full_seconds = Some(600.0)),
        "Needs attention: channel c fills"
    );
    assert_eq!(verdict(|it| it.channels[0].until_full_seconds = Some(6_000.0)), WELL);
    assert_eq!(
        verdict(|it| it.channels[0].intake_stopped = true),
        "Something is wrong: channel c accepts no events"
    );
    assert_eq!(
        verdict(|it| it.sources[0].state = waiting()),
        "Needs attention: source s waits for room"
    );
    assert_eq!(verdict(|it| it.dead_letters.events = 2), "Needs attention: there are dead letters");
}

#[test]
fn problems_of_a_delivering_sink_need_attention() {
    let named = member(&mut healthy()).sink.clone();
    let shown = verdict(|it| member(it).trouble = Some("its table lacks a partition".to_owned()));
    assert_eq!(shown, format!("Needs attention: sink {named}: its table lacks a partition"));
    let waits = |since_seconds_ago| {
        move |it: &mut Snapshot| {
            let (directory, waits_for) = ("2027-01-15-08".to_owned(), "web-17, db-2".to_owned());
            member(it).incomplete =
                Some(IncompleteStatus { directory, waits_for, since_seconds_ago });
        }
    };
    assert_eq!(verdict(waits(60.0)), WELL, "it is a note");
    let shown = verdict(waits(8_000.0));
    let text = "directory 2027-01-15-08 waits for edges: web-17, db-2";
    assert_eq!(shown, format!("Needs attention: sink {named}: {text}"));
}

#[test]
fn worst_finding_is_first_and_a_group_waiting_for_a_sink_is_omitted() {
    let change = |it: &mut Snapshot| {
        it.dead_letters.events = 1;
        member(it).state = failing();
        group(it).state = waiting();
    };
    assert_eq!(verdict(change), "Something is wrong: sink k fails: x, and 1 more");
    let mut snapshot = healthy();
    change(&mut snapshot);
    let snapshot = snapshot.judged(None);
    assert_eq!(snapshot.troubles[0].text, "sink k fails: x (for 9s; next try in 1s)");
    let levels = ["sink k", "group g", "channel c", "dead letters"].map(|it| snapshot.level_of(it));
    assert_eq!(levels, [Level::Bad, Level::Good, Level::Good, Level::Warn]);
    assert_eq!(
        verdict(|it| group(it).state = waiting()),
        "Needs attention: group g waits for room"
    );
}

#[test]
fn a_difference_is_one_when_nothing_moves() {
    let text = "Something is wrong: 3 events not accounted for";
    let with = |difference: i64, seconds: f64| {
        move |it: &mut Snapshot| {
            it.conservation.difference_events = difference;
            quiet(it, seconds);
        }
    };
    assert_eq!(verdict(with(3, 41.0)), text);
    assert_eq!(verdict(with(3, 39.0)), WELL);
    assert_eq!(verdict(with(0, 41.0)), WELL);
    let twice = "Something is wrong: 3 events left more often than they arrived";
    assert_eq!(verdict(with(-3, 41.0)), twice);
    let young = |it: &mut Snapshot| {
        with(3, 41.0)(it);
        it.uptime_seconds = 39.0;
    };
    assert_eq!(verdict(young), WELL);
}

#[test]
fn reasons_of_the_agent_are_shown_with_a_stable_text() {
    let change = |seconds: u64| {
        move |it: &mut Snapshot| {
            it.ready = false;
            it.reasons = vec![format!("channel `c` has not been open for {seconds} s: no room")];
        }
    };
    let text = "Something is wrong: channel `c` has not been open for some time: no room";
    assert_eq!((&*verdict(change(7)), &*verdict(change(8))), (text, text));
    let note = Finding::new(CHANGED, "configuration", "differs".to_owned(), "sinks.k");
    let judged = healthy().judged(Some(note));
    assert_eq!((&*judged.verdict.text, &*judged.troubles[0].text), (WELL, "differs (sinks.k)"));
}

#[test]
fn stopped_parts_need_attention_and_are_intended() {
    let held = || State::Held { since_seconds_ago: 60.0, by: "loopback".to_owned() };
    let text = "Needs attention: source s is stopped by an operator";
    let source = |it: &mut Snapshot| it.sources[0].state = held();
    assert_eq!(verdict(source), text);
    let every = |it: &mut Snapshot| {
        source(it);
        (it.ready, it.reasons) = (false, vec![EVERY_SOURCE_HELD.to_owned()]);
    };
    assert_eq!(verdict(every), text);
    let and_more = |it: &mut Snapshot| {
        every(it);
        it.reasons.push("stopping".to_owned());
    };
    assert_eq!(verdict(and_more), "Something is wrong: stopping, and 1 more");
    let mut snapshot = healthy();
    group(&mut snapshot).state = held();
    let more = "group g is stopped by an operator (for 1m, by loopback)";
    assert_eq!(snapshot.judged(None).troubles[0].text, more);
}

#[test]
fn dead_letters_of_the_next_agents_are_a_warning_while_they_are_recent() {
    let with = |ago| {
        let mut snapshot = healthy();
        snapshot.conservation.downstream_dead_letter_events = 3;
        snapshot.dead_letters.downstream_last_seconds_ago = Some(ago);
        snapshot.judged(None)
    };
    let recent = with(60.0);
    let what = "events of this agent became dead letters at the next agents";
    assert_eq!(recent.verdict.text, format!("Needs attention: {what}"));
    let text = format!("{what} (3 events since the start, the last 1m ago)");
    assert_eq!(recent.troubles[0].text, text);
    let old = with(7_200.0);
    assert_eq!((&*old.verdict.text, old.troubles[0].level), (WELL, Level::Note));
}

#[test]
fn plain_text_is_shown_and_is_no_trouble_of_its_own() {
    let mut snapshot = healthy();
    let (component, setting, address) = ("sink k".into(), "address".into(), "c:1".into());
    snapshot.plain_text = vec![PlainTextStatus { component, setting, address }];
    let snapshot = snapshot.judged(None);
    let shown = "sink k: plain text leaves this host over c:1 (`insecure = true`)";
    assert_eq!((&*snapshot.verdict.text, &*snapshot.troubles[0].text), (WELL, shown));
    assert_eq!(snapshot.troubles[0].cause, Cause::PlainText);
}

fn unable(address: &str) -> UnableStatus {
    let page = Some("http://c:9464/".to_owned());
    let agent = AgentStatus { address: address.to_owned(), page };
    UnableStatus { since_seconds_ago: 90.0, cause: "disk full".to_owned(), agent }
}

#[test]
fn the_root_cause_comes_first_and_what_it_causes_names_it() {
    let mut snapshot = healthy();
    member(&mut snapshot).unable = Some(unable("c:4141"));
    member(&mut snapshot).peer = Some("c:4141".to_owned());
    group(&mut snapshot).state = waiting();
    snapshot.channels[0].intake_stopped = true;
    snapshot.sources[0].state = waiting();
    snapshot.dead_letters.events = 1;
    let snapshot = snapshot.judged(None);
    let found: Vec<(&str, Level, Option<&str>)> = snapshot
        .troubles
        .iter()
        .map(|it| (&*it.component, it.level, it.caused_by.as_deref()))
        .collect();
    let expected = [
        ("sink k", Level::Bad, None),
        ("channel c", Level::Bad, Some("sink k")),
        ("dead letters", Level::Warn, None),
        ("source s", Level::Warn, Some("sink k")),
    ];
    assert_eq!(found, expected);
    let headline = "Something is wrong: sink k: c:4141 cannot store events: disk full, and 1 more";
    assert_eq!(snapshot.verdict.text, headline);
    let root = &snapshot.troubles[0];
    assert_eq!((root.cause, root.since_seconds_ago), (Cause::Downstream, Some(90.0)));
    let help = root.help();
    assert!(help[0].starts_with("fix the cause on that agent"), "{help:?}");
    assert!(help[0].ends_with("/runbook.html#a-downstream-agent-cannot-store-events"), "{help:?}");
    assert_eq!(help[1], "status of c:4141: http://c:9464/");
    let caused = &snapshot.troubles[1];
    assert_eq!(caused.text, "channel c accepts no events (10.0% full); caused by sink k");
    assert_eq!(caused.help(), Vec::<String>::new());
}

#[test]
fn a_root_cause_is_as_bad_as_what_it_causes() {
    let held = || State::Held { since_seconds_ago: 60.0, by: "loopback".to_owned() };
    let change = |it: &mut Snapshot| {
        group(it).state = held();
        it.channels[0].intake_stopped = true;
    };
    let text = "Something is wrong: group g is stopped by an operator";
    assert_eq!(verdict(change), text);
    // If another sink delivers, the failing one does not explain the full channel.
    let slow = |it: &mut Snapshot| {
        let mut other = member(it).clone();
        other.sink = "l".to_owned();
        group(it).members.push(other);
        member(it).unable = Some(unable("c:4141"));
        it.channels[0].intake_stopped = true;
    };
    assert_eq!(verdict(slow), "Something is wrong: channel c accepts no events, and 1 more");
    let mut snapshot = healthy();
    slow(&mut snapshot);
    let snapshot = snapshot.judged(None);
    assert_eq!(snapshot.level_of("sink k"), Level::Warn, "events are delivered");
    assert!(snapshot.troubles.iter().all(|it| it.caused_by.is_none()));
}

#[test]
fn an_agent_further_downstream_is_named_with_the_way_to_it() {
    let mut snapshot = healthy();
    member(&mut snapshot).unable = Some(unable("c:4141"));
    member(&mut snapshot).peer = Some("relay:4141".to_owned());
    let text =
        "sink k: c:4141, downstream of relay:4141, cannot store events: disk full (for 1m 30s)";
    assert_eq!(snapshot.judged(None).troubles[0].text, text);
}

#[test]
fn a_source_without_files_is_found_and_one_that_has_files_is_not() {
    let files = |followed, unreadable, problem: Option<&str>| {
        let problem = problem.map(str::to_owned);
        move |it: &mut Snapshot| {
            let problem = problem.clone();
            it.sources[0].files =
                Some(FilesStatus { followed, unread_bytes: 0, unreadable, problem });
        }
    };
    let none = Some("no file matches `/x`: no file in / matches");
    let text = "Needs attention: source s follows 0 files: no file matches `/x`: no file in / \
                matches";
    assert_eq!(verdict(files(0, 0, none)), text);
    assert_eq!(verdict(files(3, 0, none)), WELL, "a note");
    assert_eq!(verdict(files(3, 0, None)), WELL);
    let denied = Some("cannot read /a: permission denied, and 1 more");
    let text = "Needs attention: source s: cannot read /a: permission denied, and 1 more";
    assert_eq!(verdict(files(3, 2, denied)), text);
    let young = |it: &mut Snapshot| {
        files(0, 0, none)(it);
        it.sources[0].started_seconds_ago = 9.0;
    };
    assert_eq!(verdict(young), WELL);
    let held = |it: &mut Snapshot| {
        files(0, 0, none)(it);
        it.sources[0].state = failing();
    };
    assert_eq!(verdict(held), "Something is wrong: source s fails: x");
}

#[test]
fn each_kind_of_trouble_has_a_remedy_and_a_link() {
    for cause in Cause::all() {
        assert!(!cause.remedy().is_empty() && !cause.remedy().ends_with('.'), "{cause:?}");
        let runbook = cause.runbook();
        let (_, anchor) = runbook.split_once('#').unwrap();
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(anchor.chars().all(is_plain), "{anchor}");
    }
}

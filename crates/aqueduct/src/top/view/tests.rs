//! Tests of the screen and the keys.
//!
//! Method: the view draws into a terminal buffer.

use agent::status::{Finding, Verdict, WayState};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::top::sample::well;

fn drawn(view: &mut View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn press(view: &mut View, code: KeyCode) {
    view.press(KeyEvent::new(code, KeyModifiers::NONE));
}

fn snapshot() -> Box<Snapshot> {
    let mut it = well();
    it.verdict = Verdict { level: Level::Good, text: "All is well".to_owned() };
    let way = |from: &str, to: &str| {
        let (per_second, state) = (12.0, "open");
        serde_json::json!({
            "from": from, "to": to, "events_per_second": per_second, "state": state,
        })
    };
    let flow = serde_json::json!({
        "into_channels": [way("s", "c")], "out_of_channels": [way("c", "g")],
    });
    it.flow = serde_json::from_value(flow).unwrap();
    Box::new(it)
}

fn trouble(level: Level, component: &str, text: &str) -> Finding {
    let (component, text) = (component.to_owned(), text.to_owned());
    Finding { level, component, brief: text.clone(), text, ..Finding::default() }
}

#[test]
fn state_is_above_the_flow() {
    let mut view = View::new("here:1");
    assert!(drawn(&mut view, 80, 24)[1].contains("Waiting for the agent at here:1"));
    let mut it = snapshot();
    it.channels[0].until_full_seconds = Some(7_200.0);
    it.groups[0].members[0].penalty_seconds = Some(3.0);
    view.apply(Update::Snapshot(it));
    let lines = drawn(&mut view, 100, 24);
    assert_eq!(lines[0], "agent a, version 1, up 15m: ready");
    assert_eq!(lines[1], "✓ All is well");
    assert_eq!(lines[2], " Flow  Sources  Channels  Sinks  Failures");
    assert_eq!(lines[3], "s (http) ── 12/s ──▶");
    assert_eq!(lines[4], "  c (durable) █░░░░░░░░░ 10.0%, 7 events, oldest 1m 30s, full in 2h");
    assert_eq!(lines[5], "    ── 12/s ──▶ g (failover)");
    let member = "         ✓ k (grpc) last delivery 500ms ago, 0 batches in hand; penalty for 3s";
    assert_eq!(lines[6], member);
    let sum = "events since the start: 14 accepted = 7 delivered + 7 held; difference 0";
    assert_eq!(lines[22], sum);
}

#[test]
fn findings_show_their_cause_and_leave_room_for_the_rest() {
    let mut it = snapshot();
    let text = "sink k fails: cannot connect to collector-1:4141: connection refused \
                (for 9s; next try in 1s)";
    it.verdict = Verdict { level: Level::Bad, text: "Something is wrong: sink k fails".to_owned() };
    it.troubles = vec![trouble(Level::Bad, "sink k", text)];
    it.flow.into_channels[0].state = WayState::Stopped;
    let mut view = View::new("");
    view.apply(Update::Snapshot(it.clone()));
    let page = drawn(&mut view, 60, 24);
    assert_eq!(page[1], "✕ Something is wrong: sink k fails");
    let shown = page[2..4].join(" ").replace("   ", " ");
    assert_eq!(shown, format!("✕ {text}"), "{page:?}");
    assert!(page.iter().any(|line| line.contains("✕ k (grpc)")), "{page:?}");
    assert!(page.iter().any(|line| line.contains("──✕▶ back-pressure")), "{page:?}");
    it.troubles = vec![trouble(Level::Warn, "group g", "waits\u{1b}[2J"); 100];
    view.apply(Update::Snapshot(it));
    let page = drawn(&mut view, 60, 24);
    assert!(page[2].contains("waits?[2J"), "{page:?}");
    assert!(page[12].contains("and 90 more lines"), "{page:?}");
    assert!(page[13].contains("Flow") && page[22].contains("difference 0"), "{page:?}");
}

#[test]
fn keys_turn_the_parts_scroll_pause_and_end() {
    let mut view = View::new("");
    view.apply(Update::Snapshot(snapshot()));
    for (code, title) in [
        (KeyCode::Tab, "SOURCE  TYPE"),
        (KeyCode::Right, "CHANNEL  TYPE"),
        (KeyCode::Right, "GROUP  CHANNEL"),
        (KeyCode::Tab, "None"),
        (KeyCode::Left, "GROUP  CHANNEL"),
        (KeyCode::Tab, "None"),
        (KeyCode::Tab, "s (http)"),
    ] {
        press(&mut view, code);
        assert!(drawn(&mut view, 100, 24)[3].starts_with(title), "{title}");
    }
    press(&mut view, KeyCode::Down);
    assert!(drawn(&mut view, 100, 24)[3].starts_with("s (http)"), "all of it is shown");
    assert!(drawn(&mut view, 100, 8)[3].starts_with("s (http)"), "the end was reached before");
    press(&mut view, KeyCode::Down);
    assert!(drawn(&mut view, 100, 8)[3].starts_with("  c (durable)"));
    press(&mut view, KeyCode::Char('p'));
    let mut later = snapshot();
    later.uptime_seconds = 7_200.0;
    view.apply(Update::Snapshot(later.clone()));
    assert_eq!(drawn(&mut view, 100, 24)[0], "agent a, version 1, up 15m: ready  PAUSED");
    press(&mut view, KeyCode::Char('p'));
    view.apply(Update::Snapshot(later));
    assert_eq!(drawn(&mut view, 100, 24)[0], "agent a, version 1, up 2h: ready");
    assert!(!view.has_ended());
    let mut other = View::new("");
    other.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    press(&mut view, KeyCode::Char('q'));
    assert!(view.has_ended() && other.has_ended());
}

#[test]
fn lost_agent_is_reported_and_the_old_state_stays() {
    let mut view = View::new("");
    view.apply(Update::Snapshot(snapshot()));
    view.apply(Update::Lost("connection refused".to_owned()));
    let page = drawn(&mut view, 100, 24);
    let lost = "✕ No answer from the agent; the data below is 0s old: connection refused";
    assert_eq!((&*page[1], &*page[2]), (lost, "i Last known state: All is well"));
    view.apply(Update::Snapshot(snapshot()));
    assert_eq!(drawn(&mut view, 100, 24)[1], "✓ All is well");
}

#[test]
fn a_root_cause_is_followed_by_what_to_do_and_where_to_read_more() {
    let mut it = snapshot();
    let mut root = trouble(Level::Bad, "sink k", "sink k: c:4141 cannot store events: disk full");
    (root.remedy, root.runbook) = ("fix it there".to_owned(), "https://docs/run#x".to_owned());
    let caused = Finding { caused_by: Some("sink k".to_owned()), ..root.clone() };
    it.troubles = vec![root, Finding { text: "channel c accepts no events".to_owned(), ..caused }];
    let mut view = View::new("");
    view.apply(Update::Snapshot(it));
    let page = drawn(&mut view, 100, 24);
    let expected = [
        "✕ sink k: c:4141 cannot store events: disk full",
        "i fix it there: https://docs/run#x",
        "✕ channel c accepts no events",
    ];
    assert_eq!(page[2..5], expected);
}

#[test]
fn a_terminal_of_any_size_is_drawn_to() {
    let mut view = View::new("");
    let mut it = snapshot();
    it.troubles = vec![trouble(Level::Bad, "sink k", &"x".repeat(500)); 9];
    view.apply(Update::Snapshot(it));
    for (width, height) in [(1, 1), (3, 2), (20, 5), (500, 3), (40, 200)] {
        drawn(&mut view, width, height);
    }
}

#[test]
fn tenants_are_below_the_sources_with_limits_and_throttling() {
    let mut it = snapshot();
    let rate = serde_json::json!({ "times": 7, "first_seconds_ago": 60, "last_seconds_ago": 2 });
    let tenant = serde_json::json!({
        "name": "web-1\u{1b}", "weight": 1, "connections": 2, "connections_max": 4,
        "events_per_second": 50, "events_per_second_max": 60,
        "bytes_per_second": 1024, "bytes_per_second_max": null,
        "in_work_bytes": 2048, "share_bytes": 1 << 20, "message_max_bytes": null,
        "backlog_bytes": 1 << 20, "backlog_max_bytes": 8 << 20,
        "limited": { "rate": rate },
    });
    it.sources[0].tenants = vec![serde_json::from_value(tenant).unwrap()];
    let mut view = View::new("");
    view.apply(Update::Snapshot(it));
    press(&mut view, KeyCode::Tab);
    let lines = drawn(&mut view, 140, 24);
    assert!(lines[3].starts_with("SOURCE  TYPE"), "{lines:?}");
    assert!(lines[6].starts_with("TENANT  SOURCE"), "{lines:?}");
    let row: Vec<&str> =
        lines[7].split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect();
    let held_back = "7 by rate, since 1m, last 2s ago";
    let cells = [
        "web-1?",
        "s",
        "2 of 4",
        "50 of 60",
        "1.0 KiB",
        "2.0 KiB of 1.0 MiB",
        "1.0 MiB of 8.0 MiB",
        held_back,
    ];
    assert_eq!(row, cells);
}

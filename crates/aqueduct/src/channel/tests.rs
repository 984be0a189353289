//! Tests of the printed report of a channel.

use super::*;

#[test]
fn the_age_of_the_oldest_event_is_shown() {
    let stats = Stats {
        format: 1,
        origin: "0".repeat(32),
        epoch: 1,
        starts: 1,
        events: 5,
        batches: 2,
        segments: 1,
        bytes: 1 << 20,
        used_bytes: 8192,
        oldest_at_ms: Some(1_700_000_000_000),
        consumers: [("collectors".to_owned(), 2)].into(),
        identities: 2,
        positions: 1,
        encryption_keys: Vec::new(),
    };
    let text = stats_text(&stats, Some(77), 1_700_000_090_500);
    for line in [
        "used_bytes   8192\n",
        "bytes        1048576\n",
        "disk free    77 bytes\n",
        "oldest       1m 30s old, stored at 2023-11-14T22:13:20Z\n",
        "consumer     collectors: 2 batches to deliver\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn lost_batches_are_reported_by_ticket() {
    let report = Report {
        sound_frames: 7,
        damaged: vec![(2, 4096)],
        done_with: vec![(1, 8192)],
        lost: vec![(5, 6), (9, 12)],
        torn_bytes: 0,
        mendable: vec!["/a.log bytes 0 to 7".to_owned()],
        given_up: vec!["/b.log bytes 7 to 9".to_owned()],
    };
    assert!(repair_text(&report).ends_with("given up     /b.log bytes 7 to 9: lost, not resent\n"));
    let expected = "\
NOT sound: 7 intact frames
damaged      segment 0000000000000002, byte 4096
no loss      segment 0000000000000001, byte 8192: damaged, but already delivered
repairable   /a.log bytes 0 to 7: still in their file, reread at the next start
given up     /b.log bytes 7 to 9: lost, not resent
lost         1 batches, numbered 5 to 5
lost         3 batches, numbered 9 to 11
";
    assert_eq!(report_text(&report), expected);
}

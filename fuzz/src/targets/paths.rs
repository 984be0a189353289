//! Directories made of untrusted headers.

use std::collections::HashSet;

use components_hdfs::hdfs::Config;
use components_hdfs::hdfs::paths::Paths;
use pipeline::{BatchBuilder, Events, Settings};
use serde_json::{Value, json};

use super::chosen;

/// 2026-10-25T01:00:00Z: the second of two hours with the same name in Berlin.
const NOW: i64 = 1_792_890_000_000;
/// Maximum number of directories of a batch.
const PARTS_MAX: usize = 8;
/// Directory of the events beyond that.
const OVERFLOW: &str = "_overflow";
/// Maximum length of a name for all stores.
const NAME_MAX: usize = 255;
/// Events of a batch to check individually.
const ALONE: usize = 40;

/// Returns additional settings, by the selector byte.
fn settings(choice: usize, path: &str) -> Value {
    let mut settings = json!({ "url": format!("file:///data/{path}") });
    let with: &[(&str, &str)] = match choice % 8 {
        0 => &[],
        1 => &[("zone", "Europe/Berlin")],
        2 => &[("zone", "Asia/Kathmandu"), ("round", "10m")],
        3 => &[("round", "6h"), ("late_after", "1d")],
        4 => &[("without_time", "reject")],
        5 => &[("without_time", "/undated/x=1"), ("late_after", "1h"), ("late_path", "/late")],
        6 => &[("time_from", "arrival"), ("zone", "-03:30")],
        _ => &[("zone", "Australia/Lord_Howe"), ("round", "30m"), ("late_after", "1s")],
    };
    for (name, value) in with {
        settings[*name] = json!(value);
    }
    settings
}

/// The first line is the path, each further one an event: its time, and after a tab a header that
/// the path may contain. No event is lost, no name leads out of the prefix or into reserved
/// directories, and the directory of an event does not depend on other events of its batch.
pub(super) fn paths(input: &[u8]) -> usize {
    let (choice, text) = chosen(input);
    let text = String::from_utf8_lossy(text);
    let mut lines = text.split('\n');
    let path = lines.next().unwrap_or_default();
    let settings = Settings::from_json(&settings(choice, path));
    let Ok(settings) = settings.read::<Config>() else { return 0 };
    let Ok(paths) = Paths::from_config(&settings) else { return 0 };
    assert!(paths.prefix().starts_with("/data"), "the literal names stay in front");
    let mut builder = BatchBuilder::default();
    for (number, line) in lines.enumerate() {
        let (time, value) = line.split_once('\t').unwrap_or((line, ""));
        let (time, value) = (("timestamp", time), ("h", value));
        let headers = [time, value];
        // Some events lack one of the two.
        let headers = if number % 5 == 4 { &headers[number % 2..][..1] } else { &headers };
        builder.push(b"x", headers);
    }
    let batch = builder.finish();
    let parted = paths.part(&batch, NOW, PARTS_MAX);
    let events: usize = parted.parts.iter().map(|(_, events)| events.len()).sum();
    assert_eq!(events + parted.rejected, batch.len(), "each event has one directory");
    assert!(parted.parts.len() <= PARTS_MAX + 1, "no more directories than may be open");
    let mut looked_at = 0;
    for (directory, events) in &parted.parts {
        confined(directory);
        let same = events.iter().take(ALONE.saturating_sub(looked_at));
        for event in same.filter(|_| directory != OVERFLOW) {
            looked_at += 1;
            let mut alone = BatchBuilder::default();
            alone.push(event.body(), &event.headers().collect::<Vec<_>>());
            let alone = paths.part(&alone.finish(), NOW, PARTS_MAX).parts;
            let [(alone, _)] = &alone[..] else { panic!("an event has one directory") };
            assert_eq!(alone, directory, "an event has its directory in any batch");
        }
    }
    distinct(&parted.parts);
    events
}

/// Asserts that no name leads out of its directory.
fn confined(directory: &str) {
    for name in directory.split('/').filter(|_| !directory.is_empty()) {
        assert!(!matches!(name, "." | ".." | "_aqueduct"), "`{name}` is in {directory:?}");
        assert!(name.len() <= NAME_MAX, "{} bytes are in {directory:?}", name.len());
    }
}

/// Asserts that events of one directory are in one part if their times and headers are equal.
fn distinct(parts: &[(String, Events)]) {
    let mut known = HashSet::new();
    for (directory, events) in parts {
        let first = events.iter().next().map(|event| {
            let headers = event.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
            headers.collect::<Vec<_>>()
        });
        assert!(known.insert((directory, first)), "{directory:?} is parted twice");
    }
}

//! The events in the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// An event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// The body as text.
    pub(crate) text: String,
}

impl Event {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Returns the position of the commit, and the event's number within it.
    pub(crate) fn place(&self) -> (u64, u64) {
        let (high, low) = self.header("lsn").split_once('/').expect("a place in the log");
        let half = |digits| u64::from_str_radix(digits, 16).expect("a place in the log");
        (half(high) << 32 | half(low), self.header("change").parse().expect("a number"))
    }
}

fn event(line: &str) -> Event {
    let line: Value = serde_json::from_str(line).expect("a line of JSON");
    let headers = serde_json::from_value(line["headers"].clone()).expect("headers");
    let text = line["body"].as_str().expect("a body").to_owned();
    Event { headers, body: serde_json::from_str(&text).expect("JSON"), text }
}

/// Returns the lines of each file.
pub(crate) fn files(folder: &Path) -> Vec<Vec<String>> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.ends_with("_aqueduct") {
            continue;
        }
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if let Ok(text) = fs::read_to_string(&path) {
            files.push(text.lines().map(str::to_owned).collect());
        }
    }
    files
}

/// Checks the order within each file, and returns all events in log order.
pub(crate) fn in_order(folder: &Path) -> Vec<Event> {
    let mut all = Vec::new();
    for lines in files(folder) {
        let file: Vec<Event> = lines.iter().map(|line| event(line)).collect();
        let places: Vec<_> = file.iter().map(Event::place).collect();
        assert!(places.is_sorted(), "a file is not in the order of the log: {places:?}");
        all.extend(file);
    }
    all.sort_by_key(Event::place);
    let repeated = all.windows(2).find(|pair| pair[0].place() == pair[1].place());
    assert!(repeated.is_none(), "a change is stored twice: {repeated:?}");
    all
}

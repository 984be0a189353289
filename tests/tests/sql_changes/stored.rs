//! The events in the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::shop::Book;

/// An event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// The body as it is written.
    pub(crate) text: String,
}

impl Event {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Of the commit, and its number within it.
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

/// The lines of each file.
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

/// Holds the order within each file, and answers all events in the order of the log.
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

/// The rows of a table, as the events make them.
pub(crate) fn rebuilt(events: &[Event], table: &str) -> BTreeMap<i64, Value> {
    let mut rows = BTreeMap::new();
    let key = |body: &Value| body["id"].as_i64().expect("a key");
    for event in events.iter().filter(|event| event.header("table") == table) {
        match event.header("operation") {
            "truncate" => rows.clear(),
            "delete" => {
                let gone = rows.remove(&key(&event.body));
                assert!(gone.is_some(), "a row that is not there is deleted: {event:?}");
            }
            "update" => {
                let old: Option<Value> = Some(event.header("old"))
                    .filter(|old| !old.is_empty())
                    .map(|old| serde_json::from_str(old).expect("JSON"));
                let old = rows.remove(&key(old.as_ref().unwrap_or(&event.body)));
                let mut row: Value = old.unwrap_or_else(|| panic!("no row to change: {event:?}"));
                let (row_members, new) = (row.as_object_mut(), event.body.as_object());
                let new = new.expect("an object").clone();
                row_members.expect("an object").extend(new);
                rows.insert(key(&row), row);
            }
            _ => {
                let before = rows.insert(key(&event.body), event.body.clone());
                assert!(before.is_none(), "a row that is there comes again: {event:?}");
            }
        }
    }
    rows
}

/// What was done in each transaction, as the events have it.
pub(crate) fn book(events: &[Event]) -> Book {
    let mut book = Book::new();
    for event in events.iter().filter(|event| !event.header("xid").is_empty()) {
        let xid = event.header("xid").parse().expect("a number");
        let is_delete = event.header("operation") == "delete";
        let v = event.body["v"].as_i64().filter(|_| !is_delete);
        let entry = (
            event.header("table").to_owned(),
            event.header("operation").to_owned(),
            event.body["id"].as_i64(),
            v,
        );
        book.entry(xid).or_default().push(entry);
    }
    book
}

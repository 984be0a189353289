//! What readers of a store in a local directory see.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::site::read_below;

/// Returns the visible bytes: of all files below `directory`, except in `_aqueduct`. None without
/// the directory.
///
/// # Panics
///
/// When a file in a visible folder cannot be read.
pub fn visible(directory: &Path) -> Vec<u8> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let paths = paths.filter(|path| !path.ends_with("_aqueduct"));
    // A file without a folder of its own may be renamed before it is read.
    let bytes = |path: &Path| match path.is_dir() {
        true => read_below(path),
        false => fs::read(path).unwrap_or_default(),
    };
    paths.flat_map(|path| bytes(&path)).collect()
}

/// Counts how often each line is visible.
///
/// # Panics
///
/// When the store contains something else than text.
pub fn lines(directory: &Path) -> BTreeMap<String, usize> {
    counted(String::from_utf8(visible(directory)).expect("text").lines())
}

/// Returns the visible events, in any order. The sink writes JSON.
///
/// # Panics
///
/// When a line is not JSON.
pub fn events(directory: &Path) -> Vec<Value> {
    let text = String::from_utf8(visible(directory)).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is an event")).collect()
}

/// Counts how often each body is visible. The sink writes JSON.
///
/// # Panics
///
/// When a line is not JSON.
pub fn bodies(directory: &Path) -> BTreeMap<String, usize> {
    // A body that is not UTF-8 is in another field.
    let body =
        |event: Value| event["body"].as_str().map_or_else(|| event.to_string(), str::to_owned);
    counted(events(directory).into_iter().map(body))
}

/// Counts how often each text occurs.
pub fn counted<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    texts.into_iter().for_each(|text| *found.entry(text.into()).or_default() += 1);
    found
}

/// Returns the number of repeated copies.
pub fn repeats(found: &BTreeMap<String, usize>) -> usize {
    found.values().map(|times| times - 1).sum()
}

//! Reference implementation: the events of a text by the definition, line by line, with the
//! settings of the tests.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::sync::Arc;

use serde_json::json;

use super::{Joining, Multiline};
use pipeline::units::ByteSize;

/// Longest line of the tests.
pub const LINE_MAX: usize = 6;
/// Most bytes of an event.
pub const BYTES_MAX: usize = 14;
/// Most lines of an event.
const LINES_MAX: usize = 3;

/// The settings: lines that begin with `>` begin an event.
pub fn settings() -> serde_json::Value {
    json!({ "start": "^>", "lines_max": LINES_MAX, "bytes_max": format!("{BYTES_MAX}B") })
}

/// The same, as sources use them.
pub fn joining() -> Arc<Joining> {
    let multiline: Multiline = pipeline::Settings::from_json(&settings()).read().unwrap();
    Arc::new(multiline.joining(ByteSize::mib(1)).unwrap())
}

/// The events of `content`, without their last line end, and how many were divided.
pub fn events(content: &str) -> (Vec<String>, u64) {
    let (mut events, mut lines, mut divided) = (Vec::<String>::new(), 0, 0);
    for line in content.split_inclusive('\n') {
        let text = without_end(line);
        if text.len() > LINE_MAX {
            events.push(text[..LINE_MAX].to_owned());
            lines = 0;
            continue;
        }
        let continues = lines > 0 && !text.starts_with('>');
        let has_room = lines < LINES_MAX
            && events.last().is_some_and(|event| event.len() + text.len() <= BYTES_MAX);
        divided += u64::from(continues && !has_room);
        match events.last_mut().filter(|_| continues && has_room) {
            Some(event) => event.push_str(line),
            None => {
                events.push(line.to_owned());
                lines = 0;
            }
        }
        lines += 1;
    }
    (events.iter().map(|event| without_end(event).to_owned()).collect(), divided)
}

fn without_end(line: &str) -> &str {
    line.strip_suffix('\n').map_or(line, |text| text.strip_suffix('\r').unwrap_or(text))
}

//! Numbers as the commands and the troubles show them: short, with their units.

use std::time::Duration;

/// An unknown value.
pub const NONE: &str = "-";

/// Returns text from outside without terminal controls: control characters, and characters that
/// change the direction of writing.
pub fn printable(text: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if text.is_empty() { NONE.to_owned() } else { text.replace(odd, "?") }
}

/// Events a second, without the unit.
pub fn rate(per_second: f64) -> String {
    if per_second >= 10.0 { format!("{per_second:.0}") } else { format!("{per_second:.1}") }
}

/// A part of a whole.
pub fn percent(ratio: f64) -> String {
    format!("{:.1}%", ratio * 100.0)
}

/// Seconds since then.
pub fn ago(seconds_ago: Option<f64>) -> String {
    seconds_ago.map_or(NONE.to_owned(), |ago| format!("{} ago", seconds(Some(ago))))
}

/// A size, with one decimal below 100 units.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (size as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Formats a number with its noun: `1 event`, `2 batches`.
pub fn count(number: u64, noun: &str) -> String {
    let ending = match (number, noun.ends_with("ch") || noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {noun}{ending}")
}

/// Returns the reason of a counter in words, to follow a number of events.
pub fn reason(name: &str) -> String {
    name.trim_end_matches("_events").trim_end_matches("_event").replace('_', " ")
}

/// Formats a duration in at most two units, the smaller one rounded down: `3m 12s`, `2d 4h`,
/// `120ms`.
pub fn seconds(seconds: Option<f64>) -> String {
    const UNITS: [(u64, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let Some(duration) = duration else { return NONE.to_owned() };
    let step = if duration < Duration::from_secs(10) { 1 } else { 1_000 };
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) / step * step;
    let Some(first) = UNITS.iter().position(|(size, _)| millis >= *size) else {
        return "0s".to_owned();
    };
    let mut rest = millis;
    let parts = UNITS[first..].iter().take(2).map(|(size, name)| {
        let number = rest / size;
        rest %= size;
        (number, name)
    });
    let parts = parts.filter(|(number, _)| *number > 0);
    parts.map(|(number, name)| format!("{number}{name}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Given and shown. The script of the live page passes them too.
    #[derive(Deserialize)]
    struct Vectors {
        seconds: Vec<(f64, String)>,
        bytes: Vec<(u64, String)>,
        count: Vec<(u64, String, String)>,
        reason: Vec<(String, String)>,
    }

    #[test]
    fn numbers_have_their_units_and_at_most_two_of_them() {
        let vectors: Vectors = serde_json::from_str(include_str!("words.json")).unwrap();
        for (given, shown) in vectors.seconds {
            assert_eq!(seconds(Some(given)), shown);
        }
        for (size, shown) in vectors.bytes {
            assert_eq!(bytes(size), shown);
        }
        for (number, noun, shown) in vectors.count {
            assert_eq!(count(number, &noun), shown);
        }
        for (name, shown) in vectors.reason {
            assert_eq!(reason(&name), shown);
        }
        assert_eq!((seconds(None), seconds(Some(f64::INFINITY))), (NONE.into(), NONE.into()));
    }

    #[test]
    fn a_terminal_obeys_nothing_of_a_text() {
        assert_eq!(printable("a\x1b[2J\u{202e}b\u{9b}"), "a?[2J?b?");
        assert_eq!((printable(""), printable("größe")), (NONE.into(), "größe".into()));
    }
}

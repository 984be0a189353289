//! Numbers as the commands and the troubles show them: short, with their units.

use std::time::Duration;

/// What is not known.
pub const NONE: &str = "-";

/// Text from outside without what a terminal would obey: controls, and what turns the direction of
/// writing.
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

/// To the second where it is long, and to the millisecond where it is short.
pub fn seconds(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return NONE.to_owned() };
    let Ok(duration) = Duration::try_from_secs_f64(seconds) else { return NONE.to_owned() };
    let step = if seconds < 10.0 { 1 } else { 1_000 };
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) / step * step;
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_to_read() {
        for (given, shown) in
            [(0.0, "0s"), (0.0421, "42ms"), (12.345, "12s"), (7_322.9, "2h 2m 2s")]
        {
            assert_eq!(seconds(Some(given)), shown);
        }
        assert_eq!((seconds(None), seconds(Some(f64::INFINITY))), (NONE.into(), NONE.into()));
    }

    #[test]
    fn a_terminal_obeys_nothing_of_a_text() {
        assert_eq!(printable("a\x1b[2J\u{202e}b\u{9b}"), "a?[2J?b?");
        assert_eq!((printable(""), printable("größe")), (NONE.into(), "größe".into()));
    }
}

//! Output of the demo while it runs and at its end.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use program::cli;

/// Interval between two lines of progress: without a terminal, and on a terminal.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_TERMINAL: Duration = Duration::from_millis(200);

/// Prints progress: on a terminal in one line, elsewhere line by line.
pub struct Progress {
    terminal: bool,
    shown: Option<Duration>,
}

impl Progress {
    /// Detects whether standard output is a terminal.
    #[expect(clippy::new_without_default, reason = "it looks at standard output")]
    pub fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), shown: None }
    }

    /// Prints `moment`, if the interval since the last one is over.
    pub fn show(&mut self, elapsed: Duration, moment: &impl fmt::Display) {
        let pause = if self.terminal { PAUSE_TERMINAL } else { PAUSE };
        if self.shown.is_some_and(|shown| elapsed < shown + pause) {
            return;
        }
        self.shown = Some(elapsed);
        let text = format!("{:>5.1} s  {moment}", elapsed.as_secs_f64());
        if self.terminal {
            // Overwrites the line before, and clears the rest of it.
            let mut out = io::stdout().lock();
            let _ = write!(out, "\r{text}\x1b[K").and_then(|()| out.flush());
        } else {
            self.say(&text);
        }
    }

    /// Prints a line that stays.
    pub fn say(&self, text: &str) {
        let end = if self.terminal && self.shown.is_some() { "\r\x1b[K" } else { "" };
        cli::print(&format!("{end}{text}\n"));
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in MB.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}

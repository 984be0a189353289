//! What the demo shows while it runs and at its end.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use agent::cli;

/// A line every so often where no terminal is attached, and this much more often on a terminal.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_TERMINAL: Duration = Duration::from_millis(200);

/// Shows moments as they come: in one place on a terminal, else line by line.
pub(super) struct Progress {
    terminal: bool,
    shown: Option<Duration>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), shown: None }
    }

    /// Shows `moment` if the last one was shown long enough ago.
    pub(super) fn show(&mut self, elapsed: Duration, moment: &impl fmt::Display) {
        let pause = if self.terminal { PAUSE_TERMINAL } else { PAUSE };
        if self.shown.is_some_and(|shown| elapsed < shown + pause) {
            return;
        }
        self.shown = Some(elapsed);
        let text = format!("{:>5.1} s  {moment}", elapsed.as_secs_f64());
        if self.terminal {
            // Over the line before it; what is longer there is wiped.
            let mut out = io::stdout().lock();
            let _ = write!(out, "\r{text}\x1b[K").and_then(|()| out.flush());
        } else {
            self.say(&text);
        }
    }

    /// Shows a line that stays.
    pub(super) fn say(&self, text: &str) {
        let end = if self.terminal && self.shown.is_some() { "\r\x1b[K" } else { "" };
        cli::print(&format!("{end}{text}\n"));
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
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
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}

//! Formats the fields of a log line as text, and neutralises foreign values: names of files,
//! answers of peers and errors that quote them may contain line ends, which would forge a line, and
//! escape sequences, which a terminal executes.
//!
//! Control characters and those that change the direction of text are written as `\n` or `\u{1b}`.
//! The JSON format escapes in its own way.

use std::error::Error;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes fields as `message name=value …`, escaped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Escaped;

impl<'writer> FormatFields<'writer> for Escaped {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_empty: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'writer> {
    writer: Writer<'writer>,
    is_empty: bool,
    result: fmt::Result,
}

/// Passes text on, escaped.
struct Harmless<'a>(&'a mut dyn Write);

/// Returns `true` if a character has another effect than being visible.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Write for Harmless<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(acts) {
            let (harmless, from) = rest.split_at(at);
            self.0.write_str(harmless)?;
            let Some(c) = from.chars().next() else { break };
            // `escape_debug` does not escape some of them.
            match c {
                '\n' | '\r' | '\t' => write!(self.0, "{}", c.escape_debug())?,
                other => write!(self.0, "{}", other.escape_unicode())?,
            }
            rest = &from[c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) -> fmt::Result {
        let name = field.name();
        // Skip fields that the `log` crate adds.
        if name.starts_with("log.") {
            return Ok(());
        }
        if !std::mem::take(&mut self.is_empty) {
            self.writer.write_char(' ')?;
        }
        if name != "message" {
            let name = name.strip_prefix("r#").unwrap_or(name);
            if self.writer.has_ansi_escapes() {
                write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?;
            } else {
                write!(self.writer, "{name}=")?;
            }
        }
        Harmless(&mut self.writer).write_fmt(value)
    }

    fn record(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.result.is_ok() {
            self.result = self.write(field, value);
        }
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record(field, format_args!("{value}"));
        } else {
            self.record(field, format_args!("{value:?}"));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        self.record(field, format_args!("{text}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt().fmt_fields(Escaped).with_ansi(false).without_time();
        let lines = lines.with_target(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(lines, log);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn foreign_text_neither_breaks_lines_nor_controls_the_terminal() {
        let name = "a\u{1b}[31m\nINFO all is well\r\u{9b}2J\u{202e}.log";
        let error = io::Error::other(name);
        let written = line(|| {
            tracing::info!(file = %name, quoted = name, shown = ?name, %error,
                error2 = &error as &dyn Error, "met {name}");
        });
        assert_eq!(written.matches('\n').count(), 1, "{written:?}");
        assert!(!written[..written.len() - 1].contains(acts), "{written:?}");
        let harmless = r"file=a\u{1b}[31m\nINFO all is well\r\u{9b}2J\u{202e}.log";
        assert!(written.contains(harmless), "{written}");
    }

    #[test]
    fn a_line_of_harmless_text_is_as_it_was() {
        let written =
            line(|| tracing::warn!(file = %"/ä/b.log", bytes = 7, said = "so", "was met"));
        assert_eq!(written, " WARN was met file=/ä/b.log bytes=7 said=\"so\"\n");
    }

    #[test]
    fn the_causes_of_an_error_are_in_its_field() {
        let error = pipeline::SourceError {
            class: pipeline::ErrorClass::Fatal,
            message: "not\nread".into(),
            source: Some(Box::new(io::Error::other("no disk"))),
        };
        let written = line(|| tracing::warn!(error = &error as &dyn Error, "ended"));
        assert!(written.ends_with("not\\nread: no disk\n"), "{written:?}");
    }
}

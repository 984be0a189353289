//! Where a record of delimited text ends, and what its values are. Pure.
//!
//! A quote means something at the beginning of a value only. In a quoted value the delimiter and
//! the end of a line are text, and two quotes are one. Behind the escape each character is text.

/// What stands between values, around them, and for NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) line_end: u8,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
}

/// Looks for the end of a record in text that grows.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Bytes that were looked at.
    at: usize,
    place: Place,
    /// The next byte is text.
    is_escaped: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeValue,
    Value,
    Quoted,
    /// Behind a quote in a quoted value: its end, or the first of two.
    Quote,
}

impl Scanner {
    /// Where the line end behind the first record of `text` is; `None`: it is not in it. Each call
    /// gets the text of the call before, and more.
    pub(super) fn end(&mut self, text: &[u8], dialect: &Dialect) -> Option<usize> {
        while let Some(byte) = text.get(self.at) {
            let (at, byte) = (self.at, *byte);
            self.at += 1;
            if std::mem::take(&mut self.is_escaped) {
                if self.place != Place::Quoted {
                    self.place = Place::Value;
                }
                continue;
            }
            if self.place == Place::Quoted {
                if Some(byte) == dialect.escape {
                    self.is_escaped = true;
                } else if Some(byte) == dialect.quote {
                    self.place = Place::Quote;
                }
            } else if Some(byte) == dialect.quote && self.place != Place::Value {
                self.place = Place::Quoted;
            } else if byte == dialect.line_end {
                return Some(at);
            } else if byte == dialect.delimiter {
                self.place = Place::BeforeValue;
            } else {
                self.is_escaped = Some(byte) == dialect.escape;
                self.place = Place::Value;
            }
        }
        None
    }

    /// Whether the end was looked for within a quoted value.
    pub(super) fn is_quoted(&self) -> bool {
        self.place == Place::Quoted
    }
}

/// A value as it stands in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// What it says.
    pub(super) text: Vec<u8>,
    /// As it is written, unless it is quoted.
    pub(super) bare: Option<std::ops::Range<usize>>,
}

/// The values of a record.
///
/// # Errors
/// It is none, and why.
pub(super) fn values(record: &[u8], dialect: &Dialect) -> Result<Vec<Value>, String> {
    let (mut values, mut rest) = (Vec::new(), 0);
    loop {
        let (value, end) = match record.get(rest) {
            Some(byte) if Some(*byte) == dialect.quote => {
                let (text, end) = quoted(record, rest + 1, dialect, values.len() + 1)?;
                (Value { text, bare: None }, end)
            }
            _ => bare(record, rest, dialect),
        };
        values.push(value);
        if end == record.len() {
            return Ok(values);
        }
        rest = end + 1;
    }
}

/// A value without quotes from `start` on, and the place behind it.
fn bare(record: &[u8], start: usize, dialect: &Dialect) -> (Value, usize) {
    let (mut text, mut at) = (Vec::new(), start);
    while let Some(byte) = record.get(at) {
        if *byte == dialect.delimiter {
            break;
        }
        // An escape at the very end is itself.
        let is_escape = Some(*byte) == dialect.escape && at + 1 < record.len();
        at += usize::from(is_escape);
        text.push(record[at]);
        at += 1;
    }
    (Value { text, bare: Some(start..at) }, at)
}

/// The value behind a quote, and the place behind the quote that ends it.
fn quoted(
    record: &[u8],
    start: usize,
    dialect: &Dialect,
    number: usize,
) -> Result<(Vec<u8>, usize), String> {
    let (mut text, mut at) = (Vec::new(), start);
    loop {
        let Some(byte) = record.get(at).copied() else {
            return Err(format!("the quote of value {number} has no end"));
        };
        at += 1;
        if Some(byte) == dialect.escape && at < record.len() {
            text.push(record[at]);
            at += 1;
        } else if Some(byte) != dialect.quote {
            text.push(byte);
        } else if record.get(at).copied() == dialect.quote {
            text.push(byte);
            at += 1;
        } else if at == record.len() || record[at] == dialect.delimiter {
            return Ok((text, at));
        } else {
            return Err(format!("behind the quotes of value {number} stands no delimiter"));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dialect(quote: bool, escape: bool) -> Dialect {
        Dialect {
            delimiter: b',',
            line_end: b'\n',
            quote: quote.then_some(b'"'),
            escape: escape.then_some(b'\\'),
        }
    }

    fn texts(record: &str, dialect: &Dialect) -> Result<Vec<String>, String> {
        let values = values(record.as_bytes(), dialect)?;
        Ok(values.into_iter().map(|it| String::from_utf8(it.text).unwrap()).collect())
    }

    #[test]
    fn values_are_what_quotes_and_escapes_say() {
        let (bare, quoted, both) =
            (dialect(false, false), dialect(true, false), dialect(true, true));
        for (record, dialect, expected) in [
            ("a,b", &bare, vec!["a", "b"]),
            ("", &bare, vec![""]),
            (",", &bare, vec!["", ""]),
            ("5\" disk,\"x", &bare, vec!["5\" disk", "\"x"]),
            ("5\" disk,\"x\"", &quoted, vec!["5\" disk", "x"]),
            ("\"a,b\",\"c\nd\",\"\"", &quoted, vec!["a,b", "c\nd", ""]),
            ("\"say \"\"a\"\"\"", &quoted, vec!["say \"a\""]),
            ("a\\,b,\\\\,\\N", &both, vec!["a,b", "\\", "N"]),
            ("\"a\\\"b\",c\\", &both, vec!["a\"b", "c\\"]),
        ] {
            assert_eq!(texts(record, dialect).unwrap(), expected, "{record}");
        }
        assert!(texts("a,\"b", &quoted).unwrap_err().contains("value 2 has no end"));
        assert!(texts("\"a\"b,c", &quoted).unwrap_err().contains("value 1 stands no delimiter"));
    }

    /// A record as a writer would write it: what needs it is quoted.
    fn written(values: &[String], dialect: &Dialect) -> Vec<u8> {
        let mut record = Vec::new();
        for (number, value) in values.iter().enumerate() {
            if number > 0 {
                record.push(b',');
            }
            let is_quoted = dialect.quote.is_some();
            record.extend(is_quoted.then_some(b'"'));
            for byte in value.bytes() {
                match (dialect.escape, is_quoted) {
                    (Some(escape), _) if b",\"\n\\".contains(&byte) => record.push(escape),
                    (None, true) if byte == b'"' => record.push(b'"'),
                    _ => {}
                }
                record.push(byte);
            }
            record.extend(is_quoted.then_some(b'"'));
        }
        record
    }

    proptest! {
        /// Whatever the values are, and however the text comes in.
        #[test]
        fn what_is_written_is_read(
            rows in proptest::collection::vec(
                proptest::collection::vec("[a,\"\\\\\n ]{0,6}", 1..4), 1..4,
            ),
            form in 0..3_usize,
            step in 1..5_usize,
        ) {
            let (quotes, escapes) = [(true, false), (false, true), (true, true)][form];
            let dialect = dialect(quotes, escapes);
            let mut text = Vec::new();
            for row in &rows {
                text.extend(written(row, &dialect));
                text.push(b'\n');
            }
            let (mut found, mut start) = (Vec::new(), 0);
            let mut scanner = Scanner::default();
            let mut shown = 0;
            while shown < text.len() {
                shown = text.len().min(shown + step);
                while let Some(end) = scanner.end(&text[start..shown], &dialect) {
                    let record = String::from_utf8(text[start..start + end].to_vec()).unwrap();
                    found.push(texts(&record, &dialect).unwrap());
                    start += end + 1;
                    scanner = Scanner::default();
                }
            }
            prop_assert_eq!(found, rows);
        }
    }
}

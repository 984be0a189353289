//! Finds the end of a record of delimited text, and parses its values. Pure.
//!
//! A quote has a meaning only at the start of a value. In a quoted value, delimiter and line end
//! are text, and a double quote is a quote. Every character after the escape is text.

/// The delimiter, the quote, the escape, and the text for NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) line_end: u8,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
}

/// Finds the end of a record in growing text.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Number of examined bytes.
    at: usize,
    place: Place,
    /// Whether the next byte is escaped.
    is_escaped: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeValue,
    Value,
    Quoted,
    /// After a quote in a quoted value: its end, or the first of two.
    Quote,
}

impl Scanner {
    /// Returns the line end after the first record of `text`; `None` if it is still missing. Each
    /// call must extend the text of the previous call.
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

    /// Returns whether the scan is inside a quoted value.
    pub(super) fn is_quoted(&self) -> bool {
        self.place == Place::Quoted
    }
}

/// A value of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// Its unescaped text.
    pub(super) text: Vec<u8>,
    /// Range of the unquoted value in the record.
    pub(super) bare: Option<std::ops::Range<usize>>,
}

/// Parses the values of a record.
///
/// # Errors
/// Why the text is not a record.
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

/// Parses an unquoted value at `start`. Returns the end, too.
fn bare(record: &[u8], start: usize, dialect: &Dialect) -> (Value, usize) {
    let (mut text, mut at) = (Vec::new(), start);
    while let Some(byte) = record.get(at) {
        if *byte == dialect.delimiter {
            break;
        }
        // An escape at the very end is literal.
        let is_escape = Some(*byte) == dialect.escape && at + 1 < record.len();
        at += usize::from(is_escape);
        text.push(record[at]);
        at += 1;
    }
    (Value { text, bare: Some(start..at) }, at)
}

/// Parses the value after a quote. Returns the position after its closing quote, too.
fn quoted(
    record: &[u8],
    start: usize,
    dialect: &Dialect,
    number: usize,
) -> Result<(Vec<u8>, usize), String> {
    let (mut text, mut at) = (Vec::new(), start);
    loop {
        let Some(byte) = record.get(at).copied() else {
            return Err(format!("value {number} has an opening quote without a closing one"));
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
            return Err(format!(
                "value {number} has text between its closing quote and the next delimiter"
            ));
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
    fn unescapes_quoted_values() {
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
        assert!(texts("a,\"b", &quoted).unwrap_err().contains("value 2 has an opening quote"));
        assert!(texts("\"a\"b,c", &quoted).unwrap_err().contains("value 1 has text between"));
    }

    /// Writes a record, with quotes where needed.
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
        /// Any values survive a round trip, in any chunks.
        #[test]
        fn reads_written_records(
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

//! Key-value pairs: logfmt, and pairs with configured separators.

use pipeline::BuildError;

use super::Failure;
use super::fields::Found;

/// Parses `level=info msg="it is \"up\"" fast`: a value with blanks is in quotes, and a lone word
/// has the value `true`. Fails without any pair.
pub(super) fn logfmt(text: &str, found: &mut Found) -> Result<(), Failure> {
    let mut rest = text.trim_start();
    let mut has_pair = false;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, behind) = rest.split_at(end);
        if key.is_empty() || key.contains('"') {
            return Err("a pair has no key");
        }
        let Some(value) = behind.strip_prefix('=') else {
            found.push(key, "true");
            rest = behind.trim_start();
            continue;
        };
        has_pair = true;
        rest = if value.starts_with('"') {
            let mut read = Err("");
            found.push_with(key, |out| read = quoted(value, out));
            let behind = read?;
            if !behind.is_empty() && !behind.starts_with(char::is_whitespace) {
                return Err("text after a closing quote");
            }
            behind.trim_start()
        } else {
            let end = value.find(char::is_whitespace).unwrap_or(value.len());
            found.push(key, &value[..end]);
            value[end..].trim_start()
        };
    }
    if has_pair { Ok(()) } else { Err("no pair of key and value") }
}

/// Appends a quoted text, and returns the rest after it.
fn quoted<'a>(text: &'a str, out: &mut String) -> Result<&'a str, Failure> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(&text[at + 1..]),
            '\\' => match chars.next().ok_or("a quote is not closed")?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                other => out.push(other),
            },
            _ => out.push(c),
        }
    }
    Err("a quote is not closed")
}

/// Separators between pairs, and between keys and values.
#[derive(Debug)]
pub(super) struct Separators {
    pair: String,
    value: String,
}

impl Separators {
    pub(super) fn new(pair: &str, value: &str) -> Result<Self, BuildError> {
        if pair.is_empty() {
            return Err(BuildError::invalid("format.pair_separator", "must not be empty"));
        }
        if value.is_empty() || value == pair {
            let problem = "must not be empty, and must differ from `pair_separator`";
            return Err(BuildError::invalid("format.key_value_separator", problem));
        }
        Ok(Self { pair: pair.to_owned(), value: value.to_owned() })
    }

    /// Parses pairs; removes blanks around keys and values, and quotes around a whole value. A
    /// separator within quotes is literal.
    pub(super) fn parse(&self, text: &str, found: &mut Found) -> Result<(), Failure> {
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (key, behind) = rest.split_once(&*self.value).ok_or("a pair has no value")?;
            let key = key.trim();
            if key.is_empty() || key.contains(&*self.pair) {
                return Err("a pair has no value");
            }
            let behind = behind.trim_start_matches(' ');
            rest = if behind.starts_with('"') {
                let mut read = Err("");
                found.push_with(key, |out| read = quoted(behind, out));
                let behind = read?.trim_start_matches(' ');
                match behind.strip_prefix(&*self.pair) {
                    Some(behind) => behind,
                    None if behind.is_empty() => behind,
                    // Trimming has removed a separator of blanks.
                    None if self.pair.trim().is_empty() => behind,
                    None => return Err("text after a closing quote"),
                }
            } else {
                let (value, behind) = behind.split_once(&*self.pair).unwrap_or((behind, ""));
                found.push(key, value.trim());
                behind
            }
            .trim_start();
        }
        if found.len() > 0 { Ok(()) } else { Err("no pair of key and value") }
    }
}

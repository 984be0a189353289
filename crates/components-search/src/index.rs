//! The name of an event's index or collection: `logs-%{app}-%Y.%m.%d`.
//!
//! ```text
//!   %{name}            the header (for an index, in lower case); invalid characters become `_`
//!   %Y %m %d %H %G %V  the event's time in UTC: its header, in milliseconds since 1970
//! ```
//!
//! A resent batch must go to the same index, because the engine recognizes documents by their ids
//! per index. So the name depends only on the event, and never on the clock.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pipeline::EventRef;

/// Maximum length of an index name, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Time escapes allowed in a name.
const TIMES: [char; 6] = ['Y', 'm', 'd', 'H', 'G', 'V'];

/// The kind of name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An index of Elasticsearch or OpenSearch: lower case only.
    Index,
    /// A collection or core of Solr.
    Collection,
}

impl Kind {
    /// Returns a noun for messages, which is also the name of the setting.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Collection => "collection",
        }
    }

    fn allows(self, c: char) -> bool {
        let is_letter = match self {
            Self::Index => c.is_ascii_lowercase(),
            Self::Collection => c.is_ascii_alphabetic(),
        };
        is_letter || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
    }

    /// Converts a header value to a part of a name.
    fn part(self, value: &str) -> String {
        let small = match self {
            Self::Index => value.to_lowercase(),
            Self::Collection => value.to_owned(),
        };
        small.chars().map(|c| if self.allows(c) { c } else { '_' }).collect()
    }
}

/// A name with escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexName {
    kind: Kind,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Header(String),
    Time(char),
}

impl IndexName {
    /// Parses a name.
    ///
    /// # Errors
    /// The error in the name.
    pub(crate) fn new(kind: Kind, name: &str) -> Result<Self, String> {
        let (mut pieces, mut text) = (Vec::new(), String::new());
        let mut rest = name;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            let escape = rest.chars().next();
            if escape == Some('{') {
                let end = rest.find('}').ok_or("a `%{` has no `}`")?;
                if end == 1 {
                    return Err("`%{}` has no header name".into());
                }
                pieces.push(Piece::Header(rest[1..end].to_owned()));
                rest = &rest[end + 1..];
            } else if let Some(time) = escape.filter(|escape| TIMES.contains(escape)) {
                pieces.push(Piece::Time(time));
                rest = &rest[1..];
            } else {
                let known: String = TIMES.iter().map(|known| format!(" %{known}")).collect();
                let escape: String = escape.into_iter().collect();
                return Err(format!("unknown escape `%{escape}`; known: %{{header}}{known}"));
            }
        }
        text.push_str(rest);
        if let Some(wrong) = text.chars().chain(literals(&pieces)).find(|c| !kind.allows(*c)) {
            let letters = match kind {
                Kind::Index => "lowercase letters",
                Kind::Collection => "letters",
            };
            return Err(format!(
                "the name of the {} cannot contain {wrong:?}: use {letters}, digits, `-`, `_` and \
                 `.`",
                kind.what()
            ));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        match pieces.first() {
            None => Err(format!("must not be empty: set the name of the {}", kind.what())),
            Some(Piece::Text(first)) if first.starts_with(['-', '_', '.']) => {
                Err(format!("the name of the {} cannot start with `-`, `_` or `.`", kind.what()))
            }
            Some(Piece::Header(_)) => Err(format!(
                "a fixed prefix must precede the first header, so that no event selects the {} of \
                 another application: write for example `logs-%{{app}}`",
                kind.what()
            )),
            Some(Piece::Text(_) | Piece::Time(_)) => Ok(Self { kind, pieces }),
        }
    }

    /// Returns a noun for messages.
    pub(crate) fn what(&self) -> &'static str {
        self.kind.what()
    }

    /// Returns whether the name depends on the event's headers or time.
    pub(crate) fn is_chosen_by_event(&self) -> bool {
        self.pieces.iter().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// Returns whether the name contains a time.
    pub(crate) fn has_time(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Time(_)))
    }

    /// Returns the index of an event with this time.
    ///
    /// # Errors
    /// The name needs a time, which the event lacks; or the name is too long.
    pub(crate) fn fill(
        &self,
        event: EventRef<'_>,
        time: Option<Timestamp>,
    ) -> Result<String, Refused> {
        let mut name = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Header(header) => {
                    let value = event.header(header).unwrap_or_default();
                    name.push_str(&self.kind.part(value));
                    if value.is_empty() {
                        name.push('_');
                    }
                }
                Piece::Time(escape) => {
                    let time = time.ok_or(Refused::WithoutTime)?;
                    let form = format!("%{escape}");
                    name.push_str(&time.to_zoned(TimeZone::UTC).strftime(&form).to_string());
                }
            }
        }
        if name.len() > NAME_BYTES_MAX { Err(Refused::TooLong(name.len())) } else { Ok(name) }
    }
}

/// Why an event has no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The name contains a time, which the event lacks.
    WithoutTime,
    /// The name would have this many bytes.
    TooLong(usize),
}

fn literals(pieces: &[Piece]) -> impl Iterator<Item = char> {
    pieces.iter().flat_map(|piece| match piece {
        Piece::Text(text) => text.chars(),
        Piece::Header(_) | Piece::Time(_) => "".chars(),
    })
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;

    use super::*;

    fn named(name: &str, headers: &[(&str, &str)], ms: Option<i64>) -> Result<String, Refused> {
        let mut builder = BatchBuilder::default();
        builder.push(b"", headers);
        let batch = builder.finish();
        let time = ms.map(|ms| Timestamp::from_millisecond(ms).unwrap());
        let index = IndexName::new(Kind::Index, name).unwrap();
        index.fill(batch.iter().next().unwrap(), time)
    }

    #[test]
    fn a_name_is_made_of_the_event_alone() {
        let ms = Some(1_767_225_600_000 - 1); // the last millisecond of 2025 in UTC
        assert_eq!(named("logs-%Y.%m.%d", &[], ms).unwrap(), "logs-2025.12.31");
        assert_eq!(named("logs-%G.w%V", &[], ms).unwrap(), "logs-2026.w01");
        assert_eq!(named("logs-%d", &[], None), Err(Refused::WithoutTime));
        assert_eq!(named("logs-%{app}", &[("app", "Shop/EU")], None).unwrap(), "logs-shop_eu");
        assert_eq!(named("logs-%{app}", &[], None).unwrap(), "logs-_");
        assert_eq!(named("logs-%{app}", &[("app", "../x,*")], None).unwrap(), "logs-.._x__");
        let long = "x".repeat(300);
        assert_eq!(named("l-%{app}", &[("app", &long)], None), Err(Refused::TooLong(302)));
    }

    #[test]
    fn a_collection_keeps_capital_letters() {
        let mut builder = BatchBuilder::default();
        builder.push(b"", &[("app", "Shop/EU")]);
        let batch = builder.finish();
        let name = IndexName::new(Kind::Collection, "Logs-%{app}").unwrap();
        assert_eq!(name.fill(batch.iter().next().unwrap(), None).unwrap(), "Logs-Shop_EU");
        assert!(IndexName::new(Kind::Collection, "a/b").unwrap_err().contains("collection"));
    }

    #[test]
    fn rejects_invalid_names_with_the_cause() {
        for (name, expected) in [
            ("", "set the name"),
            ("Logs", "cannot contain 'L'"),
            ("logs/%Y", "cannot contain '/'"),
            ("_all", "cannot start with"),
            ("%{app}", "a fixed prefix"),
            ("logs-%q", "unknown escape `%q`; known: %{header} %Y"),
            ("logs-%{app", "has no `}`"),
            ("logs-%{}", "has no header name"),
            ("logs-%", "unknown escape `%`"),
        ] {
            let error = IndexName::new(Kind::Index, name).unwrap_err();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}

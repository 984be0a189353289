//! The subject of an event, built from its headers: `logs.%{site}`. Pure.

use std::convert::Infallible;

use formats::template::{Piece, Template};
use pipeline::EventRef;

use crate::server::is_of_token;

/// Maximum length of a subject: a line of the protocol has 4 KiB.
const SUBJECT_BYTES_MAX: usize = 2048;

/// Prefixes of subjects that control the server or carry replies. An event must not choose them: a
/// message to `$JS.API.STREAM.DELETE.logs` would delete a stream.
const RESERVED: [&str; 2] = ["$", "_INBOX."];

/// A subject with placeholders for headers.
#[derive(Debug)]
pub(super) struct Subject(Template);

impl Subject {
    /// Parses a subject.
    ///
    /// # Errors
    /// Fails if it is not a subject.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let subject = Self(Template::new(text)?);
        // Check it with a word in place of each header.
        check(&subject.with_each("a"))?;
        Ok(subject)
    }

    /// Returns it as a filter, with `*` for each header; `None` if a header is only a part of a
    /// word.
    pub(super) fn pattern(&self) -> Option<String> {
        let pattern = self.with_each("*");
        let is_whole = |word: &str| word == "*" || !word.contains('*');
        pattern.split('.').all(is_whole).then_some(pattern)
    }

    /// Returns true if it contains a header of the event.
    pub(super) fn is_chosen_by_event(&self) -> bool {
        self.0.has_headers()
    }

    /// Returns the subject of an event.
    ///
    /// # Errors
    /// Fails if a header is missing, or the result is invalid or reserved for the server.
    pub(super) fn fill(&self, event: EventRef<'_>) -> Result<String, String> {
        let missing = |name| {
            format!(
                "the event has no header `{name}`, which `subject` uses; set it with an \
                 interceptor, or change `subject`"
            )
        };
        let subject = self.0.with(|name| event.header(name).ok_or_else(|| missing(name)))?;
        check(&subject)?;
        let is_of_event = matches!(self.0.pieces().first(), Some(Piece::Text(it)) if it.is_empty());
        if is_of_event && RESERVED.iter().any(|begin| subject.starts_with(begin)) {
            return Err(format!("`{subject}` is reserved for the server; change `subject`"));
        }
        Ok(subject)
    }

    fn with_each(&self, value: &'static str) -> String {
        let Ok(subject) = self.0.with(|_| Ok::<_, Infallible>(value));
        subject
    }
}

/// Checks a subject to which a message is sent; returns a description of the problem.
fn check(subject: &str) -> Result<(), String> {
    if subject.len() > SUBJECT_BYTES_MAX {
        return Err(format!(
            "the subject has {} bytes, over the limit of {SUBJECT_BYTES_MAX}; change `subject`, or \
             shorten the headers that it uses",
            subject.len()
        ));
    }
    let is_word = |word: &str| !word.is_empty() && word.chars().all(is_of_token);
    match subject.split('.').all(is_word) {
        true => Ok(()),
        false => Err(format!("`{subject}` is not a valid subject: use words separated by dots")),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;

    use super::*;

    #[test]
    fn a_subject_is_made_of_headers_and_one_that_is_none_is_refused() {
        let mut builder = BatchBuilder::default();
        builder.push(b"", &[("site", "bern"), ("kind", "a.b")]);
        builder.push(b"", &[("site", "zürich nord"), ("kind", ">")]);
        let batch = builder.finish();
        let (good, bad) = (batch.iter().next().unwrap(), batch.iter().nth(1).unwrap());
        let subject = Subject::new("logs.%{site}.%{kind}").unwrap();
        assert_eq!(subject.fill(good).unwrap(), "logs.bern.a.b");
        assert_eq!(subject.pattern().unwrap(), "logs.*.*");
        assert!(subject.fill(bad).unwrap_err().contains("is not a valid subject"));
        assert!(Subject::new("%{kind}").unwrap().fill(bad).unwrap_err().contains("is not a valid"));
        assert_eq!(Subject::new("logs-%{site}").unwrap().pattern(), None);
        let mut builder = BatchBuilder::default();
        builder.push(b"", &[("kind", "$JS.API.STREAM.DELETE.logs")]);
        let batch = builder.finish();
        let reserved = batch.iter().next().unwrap();
        let refused = Subject::new("%{kind}").unwrap().fill(reserved).unwrap_err();
        assert!(refused.contains("reserved for the server"), "{refused}");
        assert!(Subject::new("logs.%{kind}").unwrap().fill(reserved).is_ok());
        let missing = Subject::new("logs.%{host}").unwrap().fill(good).unwrap_err();
        assert!(missing.contains("no header `host`"), "{missing}");
        let long = "a".repeat(SUBJECT_BYTES_MAX + 1);
        for (text, cause) in [
            ("", "is not a valid subject"),
            ("a..b", "is not a valid subject"),
            ("a.*", "is not a valid subject"),
            ("a b", "is not a valid subject"),
            ("a.%{b", "has no `}`"),
            ("a.%{}", "has no header name"),
            (&*long, "over the limit of 2048"),
        ] {
            assert!(Subject::new(text).unwrap_err().contains(cause), "{text}");
        }
    }
}

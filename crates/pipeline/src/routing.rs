//! How an agent routes the events of a source into datasets, as reported to other agents.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// Maximum size of its text in messages to others.
const TEXT_MAX: usize = 2 << 10;

/// How an agent routes the events of a source into datasets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// The same for the same routing; never 0.
    pub digest: u64,
    /// A description for people; truncated if it is long.
    pub text: Arc<str>,
}

impl Routing {
    /// Creates a routing that `text` describes completely.
    pub fn from_text(text: &str) -> Self {
        Self::from_digest(xxh3_64(text.as_bytes()).max(1), text)
    }

    /// Creates a routing that another agent reported.
    pub fn from_digest(digest: u64, text: &str) -> Self {
        Self { digest, text: text[..text.floor_char_boundary(TEXT_MAX)].into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_letters_and_its_digest_is_of_all_of_it() {
        let (one, other) = ("ä".repeat(5_000), "ä".repeat(5_001));
        assert_eq!(Routing::from_text(&one).text, Routing::from_text(&other).text);
        assert_ne!(Routing::from_text(&one).digest, Routing::from_text(&other).digest);
        assert!(Routing::from_text(&one).text.len() <= TEXT_MAX);
    }
}

//! Paths of a dataset, and identities of its writers.

use std::fmt;

/// Sixteen random bytes that identify a collector, a start of it, or an attempt to commit.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub [u8; 16]);

impl Token {
    /// Parses the output of [`fmt::Display`]: 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        Some(Self(u128::from_str_radix(text, 16).ok()?.to_be_bytes()))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One start of one collector: only it writes to its part of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriterId {
    /// The collector, stored in its data directory.
    pub collector: Token,
    /// New at every opening of the sink.
    pub incarnation: Token,
}

/// The paths of one dataset: one sink by name, below one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    prefix: String,
    sink: String,
    root: String,
}

/// Name of the directory with the ledger, next to the data. Readers of Hadoop skip names that begin
/// with an underscore.
pub const BOOKS: &str = "_aqueduct";

/// Extension of an entry that is not won yet; sweeping looks for it.
pub(super) const PREPARED: &str = ".entry";

impl Dataset {
    /// The dataset of the sink `sink` below `prefix`, an absolute path without a slash at its end.
    pub fn new(prefix: &str, sink: &str) -> Self {
        let root = format!("{prefix}/{BOOKS}/{sink}");
        Self { prefix: prefix.into(), sink: sink.into(), root }
    }

    /// The directory that everything is published below.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the name of the sink, as used in its file names.
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// Path of the identity of the ledger.
    pub(super) fn identity(&self) -> String {
        format!("{}/ledger/identity", self.root)
    }

    /// The full path of a published file that an entry names below the prefix.
    pub fn published(&self, target: &str) -> String {
        format!("{}/{target}", self.prefix)
    }

    /// The full path of a staged file that an entry names below the dataset's own directory.
    pub fn staged(&self, temp: &str) -> String {
        format!("{}/{temp}", self.root)
    }

    /// The directory of the ledger.
    pub(super) fn ledger(&self) -> String {
        format!("{}/ledger", self.root)
    }

    /// The directory of one generation of the ledger.
    pub(super) fn generation(&self, generation: u64) -> String {
        format!("{}/ledger/g{generation}", self.root)
    }

    /// The file of one entry. Zero-padded, so that a listing cut short is a prefix.
    pub(super) fn entry(&self, generation: u64, index: u64) -> String {
        format!("{}/ledger/g{generation}/{index:020}", self.root)
    }

    /// Path of the checkpoint of a generation other than the first.
    pub(super) fn checkpoint(&self, generation: u64) -> String {
        format!("{}/ledger/g{generation}/checkpoint", self.root)
    }

    /// The directory of the staged files of all collectors.
    pub(super) fn stage(&self) -> String {
        format!("{}/stage", self.root)
    }

    /// Returns the directory in which a store prepares merges, if it has to.
    pub(super) fn merging(&self) -> String {
        format!("{}/merging", self.root)
    }

    /// The directory of one author's staged files, below the dataset's own.
    pub fn desk(author: WriterId) -> String {
        format!("stage/{}/{}", author.collector, author.incarnation)
    }
}

/// Returns `true` if a path stays below the directory from which it starts.
pub(super) fn is_inside(path: &str) -> bool {
    !path.split('/').any(|name| matches!(name, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is_one() {
        let token = Token(*b"\x00\x01\xfe\xffsixteen byte");
        assert_eq!(Token::parse(&token.to_string()), Some(token));
        for other in ["", "ledger", &"F".repeat(32), &"0".repeat(31), &format!("+{:031}", 0)] {
            assert_eq!(Token::parse(other), None, "{other}");
        }
    }
}

//! The receipt of a complete directory, and the records of late files, as JSON.

use serde::{Deserialize, Serialize};
use support::mutant;
use xxhash_rust::xxh3::xxh3_64;

/// State of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has no receipt.
    Open,
    /// It has a receipt that covers every edge.
    Complete,
    /// It has a receipt, but some edges are waived or have left.
    CompleteWithWaivers,
    /// It has a receipt, and files of later entries.
    Reopened,
}

/// One edge in a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeLine {
    /// The host of the agent; empty if it has never reported.
    pub name: String,
    /// The identity of its channel: 32 hexadecimal digits.
    pub origin: String,
    /// Everything before this time was committed, in milliseconds since 1970.
    pub sent_before_ms: Option<i64>,
    /// Committed batches that the ledger lists. It forgets those of closed epochs.
    pub batches: u64,
    /// Epoch of the first and the last of them.
    pub epochs: Option<(u64, u64)>,
    /// Number of the first one in its epoch, and of the last one in its epoch.
    pub numbers: Option<(u64, u64)>,
    /// Its part of the covered files; `None` if the ledger has forgotten some of them, or their
    /// writer did not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_directory: Option<Share>,
}

/// The part of an edge in the files of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Events.
    pub events: u64,
    /// Epoch of the first and the last batch with events in them.
    pub epochs: Option<(u64, u64)>,
    /// Number of the first one in its epoch, and of the last one in its epoch.
    pub numbers: Option<(u64, u64)>,
}

/// The receipt of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of the format: 1.
    pub format: u32,
    /// The directory, below the prefix of the dataset.
    pub directory: String,
    /// When the receipt was made, by the clock of a collector, in milliseconds since 1970.
    pub made_at_ms: i64,
    /// Identity of the commit ledger.
    pub ledger: String,
    /// Files of entries below this number are covered; files of later entries are late.
    pub entries: u64,
    /// Events in the files; `None` if the ledger has forgotten some of the entries.
    pub events: Option<u64>,
    /// Bytes of the files; `None` as for `events`, and in older receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Names of the covered files, sorted.
    pub files: Vec<String>,
    /// [`file_hash`] of the names.
    pub files_hash: String,
    /// Edges that are past the period of the directory.
    pub edges: Vec<EdgeLine>,
    /// Edges that an operator has waived.
    pub waived: Vec<EdgeLine>,
    /// Edges that were silent for longer than `leave_after`, or that an operator has removed from
    /// the roster.
    pub left: Vec<EdgeLine>,
    /// XXH3-64 of the receipt as JSON without spaces and without this field. Older receipts have
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// The record of the late files of one ledger entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateRecord {
    /// Version of the format: 1.
    pub format: u32,
    /// The ledger entry.
    pub entry: u64,
    /// When it was found, by the clock of a collector, in milliseconds since 1970.
    pub found_at_ms: i64,
    /// Its files in the directory.
    pub files: Vec<LateFile>,
}

/// A late file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateFile {
    /// Its name.
    pub name: String,
    /// Events in it; `None` if the ledger has forgotten the entry.
    pub events: Option<u64>,
}

impl Receipt {
    /// Reads a receipt; `None` if it is not one of this format.
    pub fn parse(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok().filter(|receipt: &Self| receipt.format == 1)
    }

    /// Returns whether a file of this ledger entry came after the receipt.
    pub fn is_late(&self, entry: u64) -> bool {
        entry >= self.entries && !mutant!("complete_late_not_recorded")
    }

    /// Returns the state of its directory, which has files of these ledger entries.
    pub fn state(&self, entries: impl IntoIterator<Item = u64>) -> State {
        if entries.into_iter().any(|entry| self.is_late(entry)) {
            return State::Reopened;
        }
        match self.waived.is_empty() && self.left.is_empty() {
            true => State::Complete,
            false => State::CompleteWithWaivers,
        }
    }

    /// Returns covered files that are missing from these names.
    pub fn missing<'r>(&'r self, names: &'r [String]) -> impl Iterator<Item = &'r String> {
        self.files.iter().filter(|file| !names.contains(file))
    }

    /// Returns whether the content is what the receipt was made with.
    pub fn is_intact(&self) -> bool {
        let is_unchanged = self.hash.is_none() || self.hash == Some(self.content_hash());
        is_unchanged && file_hash(&self.files) == self.files_hash
    }

    /// Sets the hash of the content.
    pub fn seal(&mut self) {
        self.hash = Some(self.content_hash());
    }

    fn content_hash(&self) -> String {
        let content = Self { hash: None, ..self.clone() };
        let text = serde_json::to_vec(&content).expect("its maps have texts as keys");
        format!("{:016x}", xxh3_64(&text))
    }

    /// All edges, covered or not.
    pub fn all_edges(&self) -> impl Iterator<Item = &EdgeLine> {
        self.edges.iter().chain(&self.waived).chain(&self.left)
    }
}

/// Returns the XXH3-64 of sorted names, each with a line feed, as hexadecimal digits.
pub fn file_hash(names: &[String]) -> String {
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    format!("{:016x}", xxh3_64(lines.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        let files = vec!["a-store-3-0.log".to_owned()];
        Receipt {
            format: 1,
            directory: "2027-01-15-08".into(),
            made_at_ms: 7,
            ledger: "0".repeat(32),
            entries: 5,
            events: Some(9),
            bytes: None,
            files_hash: file_hash(&files),
            files,
            edges: Vec::new(),
            waived: Vec::new(),
            left: Vec::new(),
            hash: None,
        }
    }

    #[test]
    fn the_number_of_the_entry_decides_whether_a_file_is_late() {
        let mut receipt = receipt();
        assert_eq!(receipt.state([3, 4]), State::Complete);
        assert_eq!(receipt.state([3, 5]), State::Reopened);
        let (name, origin) = ("web-17".into(), String::new());
        let (sent_before_ms, batches, epochs, numbers, in_directory) = Default::default();
        let line =
            EdgeLine { name, origin, sent_before_ms, batches, epochs, numbers, in_directory };
        receipt.left.push(line);
        assert_eq!(receipt.state([3]), State::CompleteWithWaivers);
    }

    #[test]
    fn a_receipt_is_read_as_it_was_written_and_detects_a_changed_list() {
        let mut receipt = receipt();
        assert!(receipt.is_intact(), "an older receipt");
        receipt.seal();
        let text = serde_json::to_vec_pretty(&receipt).unwrap();
        let mut read = Receipt::parse(&text).unwrap();
        assert_eq!(read, receipt);
        read.events = Some(8);
        assert!(!read.is_intact());
        read.events = Some(9);
        assert!(read.is_intact() && read.missing(&receipt.files).next().is_none());
        assert_eq!(read.missing(&[]).count(), 1);
        read.files.clear();
        assert!(!read.is_intact());
        assert_eq!(Receipt::parse(b"{\"format\":2}"), None);
    }
}

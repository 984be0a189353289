//! Handles a batch with more files than may be open.

use super::staged::{FileKey, Part};

/// Maximum number of rounds of `buckets_max` files for one batch. Its files are in memory and in
/// one ledger entry until they are committed.
pub(super) const ROUNDS_MAX: usize = 16;

/// Writes a batch in rounds, each of which closes its files. A single commit covers all files.
pub(super) struct BatchRounds {
    /// Whether there is more than one round.
    pub(super) are_several: bool,
    files_max: usize,
    /// Files of this round.
    files: usize,
    last: Option<FileKey>,
}

impl BatchRounds {
    /// Plans the rounds of these parts, which are sorted by file.
    pub(super) fn new(parts: &[Part], files_max: usize) -> Self {
        let files = parts.chunk_by(|one, other| one.file == other.file).count();
        Self { are_several: files > files_max, files_max, files: 0, last: None }
    }

    /// Returns whether a round ends before this file.
    pub(super) fn ends_before(&mut self, file: &FileKey) -> bool {
        if !self.are_several || self.last.as_ref() == Some(file) {
            return false;
        }
        self.last = Some(file.clone());
        let ends = self.files == self.files_max;
        self.files = if ends { 1 } else { self.files + 1 };
        ends
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Events;

    use super::*;

    /// Returns which of the sorted files start a round.
    fn begin(files: &[&str], files_max: usize) -> (bool, Vec<usize>) {
        let key = |name: &&str| FileKey { directory: (*name).to_owned(), form: String::new() };
        let part = |name| Part {
            file: key(name),
            events: Events::default(),
            bytes_bound: 1,
            noted: None,
            counted: None,
        };
        let parts: Vec<Part> = files.iter().map(part).collect();
        let mut rounds = BatchRounds::new(&parts, files_max);
        let begins = |(at, part): (usize, &Part)| rounds.ends_before(&part.file).then_some(at);
        let begins = parts.iter().enumerate().filter_map(begins).collect();
        (rounds.are_several, begins)
    }

    #[test]
    fn no_round_has_more_files_than_may_be_open_and_no_file_is_in_two() {
        assert_eq!(begin(&["a", "b"], 2), (false, vec![]));
        assert_eq!(begin(&["a", "a", "b", "b"], 2), (false, vec![]));
        assert_eq!(begin(&["a", "b", "c", "d", "e"], 2), (true, vec![2, 4]));
        assert_eq!(begin(&["a", "b", "b", "c", "c", "d", "e"], 2), (true, vec![3, 6]));
        assert_eq!(begin(&["a", "b", "c"], 1), (true, vec![1, 2]));
    }
}

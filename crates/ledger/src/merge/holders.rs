//! Maps committed file names to the visible files into which they were merged.

use std::collections::BTreeMap;

use super::record::Merge;
use crate::entry::{Entry, Kind, StagedFile};

/// Which file contains which others, by the merges of a ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holders {
    /// In the order of the ledger.
    merges: Vec<Merge>,
    /// The merge of each source.
    by_source: BTreeMap<String, usize>,
}

impl Holders {
    /// By the merges among these entries, which are in the order of the ledger.
    pub(crate) fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut holders = Self::default();
        entries.into_iter().for_each(|entry| holders.add(entry));
        holders
    }

    /// By one entry more.
    pub(crate) fn add(&mut self, entry: &Entry) {
        let Kind::Merge(merge) = &entry.kind else { return };
        for source in &merge.sources {
            self.by_source.insert(source.target.clone(), self.merges.len());
        }
        self.merges.push(merge.clone());
    }

    /// Returns the files into which this one was merged, in order. Empty if it was not merged, or
    /// has kept its name.
    pub(crate) fn of_file<'a>(&'a self, target: &str) -> impl Iterator<Item = &'a str> {
        let next = |target: &str| {
            let merge = &self.merges[*self.by_source.get(target)?];
            Some(merge.target.target.as_str())
        };
        // A damaged ledger must not lead in circles.
        std::iter::successors(next(target), move |holder| next(holder)).take(self.merges.len())
    }

    /// Returns the merge that gives the file `target` this length.
    pub(crate) fn whole(&self, target: &str, len: u64) -> Option<&Merge> {
        let mut own = self.merges.iter().filter(|merge| merge.target.target == target);
        own.find(|merge| merge.bytes() == len)
    }

    /// Returns which of these files each merge contains, by its copy.
    pub(crate) fn parts<'a>(
        &self,
        files: impl Iterator<Item = &'a StagedFile>,
    ) -> BTreeMap<&str, Vec<&'a StagedFile>> {
        let mut content: BTreeMap<&str, Vec<&StagedFile>> =
            files.map(|file| (file.target.as_str(), vec![file])).collect();
        let mut parts = BTreeMap::new();
        for merge in &self.merges {
            let mut all = content.remove(merge.target.target.as_str()).unwrap_or_default();
            for source in &merge.sources {
                all.append(&mut content.remove(source.target.as_str()).unwrap_or_default());
            }
            parts.insert(merge.copy.as_str(), all.clone());
            content.insert(&merge.target.target, all);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::MergedFile;
    use super::*;
    use crate::{Token, WriterId};

    fn merge(copy: &str, files: &[&str]) -> Entry {
        let file = |name: &&str| MergedFile { target: (*name).into(), len: 10 };
        let sources = files[1..].iter().map(file).collect();
        let merge = Merge { copy: copy.into(), target: file(&files[0]), sources, crc: 0 };
        let author = WriterId { collector: Token([1; 16]), incarnation: Token([1; 16]) };
        Entry { index: 0, author, attempt: Token([0; 16]), kind: Kind::Merge(merge) }
    }

    fn file(target: &str) -> StagedFile {
        let (temp, target, shares) = ("t".into(), target.into(), Vec::new());
        StagedFile { temp, target, len: 10, crc: 0, events: 1, shares }
    }

    #[test]
    fn a_file_is_followed_through_all_its_merges() {
        let holders = Holders::of(&[merge("1", &["b", "c"]), merge("2", &["a", "b"])]);
        assert_eq!(holders.of_file("c").collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(holders.of_file("b").collect::<Vec<_>>(), ["a"]);
        assert_eq!(holders.of_file("a").count(), 0);
        assert_eq!(holders.whole("b", 20).unwrap().copy, "1");
        assert!(holders.whole("c", 20).is_none() && holders.whole("b", 10).is_none());
        let files = ["a", "b", "c"].map(file);
        let parts = holders.parts(files.iter());
        let names = |copy| parts[copy].iter().map(|file| &*file.target).collect::<String>();
        assert_eq!((names("1"), names("2")), ("bc".into(), "abc".into()));
    }

    #[test]
    fn a_damaged_ledger_leads_in_no_circle() {
        let holders = Holders::of(&[merge("1", &["a", "b"]), merge("2", &["b", "a"])]);
        assert!(holders.of_file("a").count() <= 2);
    }
}

//! A merge, as entries and checkpoints contain it.

use std::collections::BTreeMap;

use prost::Message;

use crate::dataset::is_inside;
use crate::frame::EntryError;

/// Ending of the copy of merged files on the stage.
pub(crate) const COPY: &str = ".merged";

/// Small files that become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// Path of the staged copy of all files, below the dataset's own directory.
    pub copy: String,
    /// The first one, which keeps its name, below the prefix.
    pub target: MergedFile,
    /// The others, in the order of their bytes.
    pub sources: Vec<MergedFile>,
    /// CRC32C of all of them in this order.
    pub crc: u32,
}

/// One of the merged files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedFile {
    /// Below the prefix.
    pub target: String,
    /// Bytes.
    pub len: u64,
}

impl Merge {
    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.target.len + self.sources.iter().map(|file| file.len).sum::<u64>()
    }

    /// Returns their directory, below the prefix; empty for the prefix itself.
    pub fn directory(&self) -> &str {
        self.target.target.rsplit_once('/').map_or("", |(directory, _)| directory)
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MergeBody {
    #[prost(string, tag = "1")]
    pub(super) copy: String,
    /// The target is the first one.
    #[prost(message, repeated, tag = "2")]
    pub(super) files: Vec<MergedFileBody>,
    #[prost(fixed32, tag = "3")]
    crc: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MergedFileBody {
    #[prost(string, tag = "1")]
    pub(super) target: String,
    #[prost(uint64, tag = "2")]
    pub(super) len: u64,
}

impl MergeBody {
    pub(crate) fn from_merge(merge: &Merge) -> Self {
        let files = [&merge.target].into_iter().chain(&merge.sources);
        let file = |MergedFile { target, len }: &MergedFile| MergedFileBody {
            target: target.clone(),
            len: *len,
        };
        Self { copy: merge.copy.clone(), files: files.map(file).collect(), crc: merge.crc }
    }

    /// Other collectors read the entry too: its files must be in one directory of the dataset.
    pub(crate) fn into_merge(self) -> Result<Merge, EntryError> {
        let damaged = || EntryError::Damaged { problem: "invalid list of merged files" };
        let parent = |path: &str| path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
        let is_one = |file: &MergedFileBody| {
            is_inside(&file.target) && parent(&file.target) == parent(&self.files[0].target)
        };
        if self.files.len() < 2 || !is_inside(&self.copy) || !self.files.iter().all(is_one) {
            return Err(damaged());
        }
        let file = |MergedFileBody { target, len }| MergedFile { target, len };
        let mut files = self.files.into_iter().map(file);
        let target = files.next().ok_or_else(damaged)?;
        Ok(Merge { copy: self.copy, target, sources: files.collect(), crc: self.crc })
    }
}

/// The merges of a ledger that are still relevant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Merges {
    /// Merges that may be open, by their copy.
    pub(crate) open: BTreeMap<String, Merge>,
    /// The last one of each directory in this generation, by its index.
    last: BTreeMap<String, u64>,
    /// Files that became part of another one, in all generations.
    pub(crate) sources: u64,
}

impl Merges {
    /// Merges of a checkpoint.
    pub(crate) fn carried(open: impl Iterator<Item = Merge>, sources: u64) -> Self {
        let open = open.map(|merge| (merge.copy.clone(), merge)).collect();
        Self { open, last: BTreeMap::new(), sources }
    }

    pub(crate) fn add(&mut self, index: u64, merge: &Merge) {
        self.last.insert(merge.directory().to_owned(), index);
        self.sources += merge.sources.len() as u64;
        self.open.insert(merge.copy.clone(), merge.clone());
    }

    /// Returns `true` if a merge of this directory was won at `index` or later.
    pub(crate) fn has_since(&self, directory: &str, index: u64) -> bool {
        self.last.get(directory).is_some_and(|last| *last >= index)
    }
}

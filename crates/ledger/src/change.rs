//! Ways in which a ledger differs from the one that its collectors remember.

use thiserror::Error;

use super::dataset::Token;

/// A change of the ledger from outside. Each one stops the sink before it stores anything, because
/// continuing could store committed batches again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Change {
    /// A ledger is remembered, but the store does not have it.
    #[error(
        "the ledger was deleted after this collector had read {entries} commit records, up to the \
         directory g{generation}; restore it, for example from the trash"
    )]
    Missing {
        /// The generation that is remembered.
        generation: u64,
        /// Entries of all generations that are remembered.
        entries: u64,
    },
    /// Its identity is missing, and one is remembered.
    #[error(
        "the file {path}, which contains the ledger's identity {expected}, was deleted; restore it"
    )]
    Nameless {
        /// The remembered identity.
        expected: Token,
        /// The file that holds it.
        path: String,
    },
    /// It is another ledger.
    #[error(
        "the directory contains another ledger: identity {found} instead of {expected}; restore \
         the previous one"
    )]
    Other {
        /// The remembered identity.
        expected: Token,
        /// The identity in the store.
        found: Token,
    },
    /// It ends before the remembered entry: an older copy, or its newest entries are lost.
    #[error(
        "the ledger has only {found} commit records up to the directory g{generation}, but this \
         collector has read {expected} up to g{expected_generation}; if it is an older copy, \
         restore the newest one"
    )]
    Shorter {
        /// Entries of all generations that are remembered.
        expected: u64,
        /// The generation that is remembered.
        expected_generation: u64,
        /// Entries of all generations in the store.
        found: u64,
        /// The newest generation in the store.
        generation: u64,
    },
    /// An entry differs from the one that was read before: an older copy that has grown again.
    #[error(
        "the commit record {index} in the directory g{generation} differs from the one that this \
         collector has read; if the ledger is an older copy, restore the newest one"
    )]
    Differs {
        /// The generation.
        generation: u64,
        /// The entry.
        index: u64,
    },
    /// A newer generation does not name batches that an older one did.
    #[error(
        "the checkpoint of the directory g{generation} lacks {batches} committed batches; if the \
         ledger is an older copy, restore the newest one"
    )]
    Forgets {
        /// The generation.
        generation: u64,
        /// The number of batches.
        batches: u64,
    },
    /// An entry is missing before an existing one.
    #[error(
        "the commit record {index} in the directory g{generation} is missing, but the later record \
         {last} exists; restore the missing one"
    )]
    Hole {
        /// The generation.
        generation: u64,
        /// The first entry that is missing.
        index: u64,
        /// The last existing entry.
        last: u64,
    },
    /// The ledger is missing or has no entries, and a file exists that an entry has published.
    #[error(
        "the ledger was deleted or replaced by an empty one, because one of its commit records has \
         published {file}; restore it, for example from the trash"
    )]
    Unrecorded {
        /// The file.
        file: String,
    },
    /// It has entries, and a file is visible that none of them has published.
    #[error(
        "the ledger has {entries} commit records, but {file} was published by commit record \
         {index}, so records are missing; if it is an older copy, restore the newest one, or the \
         missing records from a backup"
    )]
    Behind {
        /// Entries of all generations in the store.
        entries: u64,
        /// The file.
        file: String,
        /// The entry in the name of the file, counted from 0.
        index: u64,
    },
}

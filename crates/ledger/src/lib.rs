//! The commit ledger in the store: a batch is delivered when an entry names it.
//!
//! ```text
//! <prefix>/_aqueduct/<sink>/
//!   ledger/identity               identity of the ledger, for all its generations
//!          g0/00000000000000000000      entries without gaps; won by a rename that never replaces
//!             00000000000000000001
//!        g1/checkpoint                sum of all generations before; only the newest one counts
//!   notes/<roll>                        directories for which a marker is due
//!   partitions/<roll>                   directories that are due in a table of Hive
//!   merges/<roll>                       directories whose small files are to be merged
//!   table/<number>                      how far a table of a catalog got
//!   receipts/<roll>                     directories that are due for a receipt
//!   edges/, waivers/                    how far the edges got, and which ones an operator waived
//!   lineage/, properties/               receipts that other systems do not have yet
//!   merging/                            where a store prepares a merge, if it has to
//!   stage/<collector>/<incarnation>/    files being written, and entries not won yet
//! <prefix>/2026-11-20/…                 visible files, named by the entry that published them
//! ```
//!
//! Sinks of one name on all collectors share a dataset. Each sink keeps a [`View`] of the entries,
//! and wins the next entry by renaming its own file to that index: the store lets exactly one sink
//! win. The other one reads the winner's entry and leaves out the batches in it. A batch that
//! several collectors hold is therefore in exactly one entry, and only files in entries are
//! published.
//!
//! | module | contents |
//! |---|---|
//! | [`entry`] | the encoding of one entry |
//! | [`view`] | the sum of the entries read so far: pure |
//! | [`committer`] | decides the next step to commit a roll: pure |
//! | [`proof`] | proves that accepted batches are committed: pure |
//! | `append`, `work` | the loop around committer and view |
//! | `store` | the interface: [`Ledger`] |
//! | `publish`, `refusals` | gives committed files their final names |
//! | `sweep` | opens a ledger, finishes and cleans up earlier starts |
//! | `memory`, `recall` | a collector's memory of its ledger; the comparison with it |
//! | `visible` | the ledger indexes in the names of visible files |
//! | `salvage`, `decide` | reads a damaged ledger; an operator's decisions about it |
//! | `change` | the ways in which a ledger can differ from the remembered one |
//! | `audit` | audits a ledger without changing it |
//! | `fence` | cleans up after other collectors |
//! | `idle` | finds collectors that may be dead: pure |
//! | `notes` | directories that get files, for later work on behalf of their readers |
//! | `sidecar` | small files of this program next to the data, and the files of a directory |
//! | `tables`, `carried` | commits that a table lacks, and how far it got |
//! | `compact` | turns a generation of many entries into one checkpoint |
//! | [`merge`] | merges small files of one directory into a large one |

mod append;
mod audit;
mod carried;
mod change;
mod checkpoint;
pub mod committer;
mod compact;
mod dataset;
mod decide;
pub mod entry;
mod error;
mod fence;
mod frame;
mod idle;
mod memory;
pub mod merge;
mod notes;
pub mod proof;
mod publish;
mod recall;
mod refusals;
mod salvage;
mod sidecar;
mod store;
mod sweep;
mod tables;
pub mod view;
mod visible;
mod work;

pub use audit::{Audit, Contents, Place, VisibleFile, VisibleFiles, is_lines};
pub use change::Change;
pub use dataset::{BOOKS, Dataset, Token, WriterId};
pub use decide::{Decided, DecisionError, KnownState, Operator};
pub use entry::{Entry, Kind, Share, StagedFile};
pub use error::LedgerError;
pub use frame::EntryError;
pub use memory::{Memory, Remembered, Turns};
pub use merge::{Merge, MergeLimits, MergeOutcome};
pub use notes::{NoteKind, NotedPlace};
pub use sidecar::CommittedFile;
pub use store::{Committed, FileNames, Known, Ledger, Options, Roll, RollFile, check_length};
pub use tables::{Commits, TableRecord};
pub use view::{Settled, Totals, View};

//! The commit ledger: the one place where a batch becomes delivered, in the store itself.
//!
//! ```text
//! <prefix>/_aqueduct/<sink>/
//!   ledger/identity               what names the ledger, through all its generations
//!          g0/00000000000000000000      entries without gaps; won by a rename that never replaces
//!             00000000000000000001
//!        g1/checkpoint                all that the generations before say; the newest one counts
//!   notes/<roll>                        directories of which a marker is due
//!   partitions/<roll>                   directories that are due in a table of Hive
//!   merges/<roll>                       directories whose small files are to be merged
//!   merging/                            what a store prepares a merge in, where it has to
//!   stage/<collector>/<incarnation>/    files being written, and entries not won yet
//! <prefix>/2026-11-20/…                 what readers see, named by the entry that published it
//! ```
//!
//! Sinks of one name on all collectors share a dataset. Each keeps a [`View`] of what the entries
//! say, and wins the next entry by renaming its own file to that index: the store lets exactly one
//! win. The second one reads what the first one wrote and leaves out what is in it. So a batch
//! that several collectors hold is in exactly one entry, and only what an entry names is published.
//!
//! | module | what it holds |
//! |---|---|
//! | [`entry`] | the bytes of one entry |
//! | [`view`] | what the entries read so far add up to: pure |
//! | [`committer`] | what to do next to get a roll committed: pure |
//! | [`proof`] | whether what was accepted is committed: pure |
//! | `append` | the loop around both |
//! | `store` | what is kept open and called: [`Ledger`] |
//! | `publish` | how committed files get their final names |
//! | `sweep` | what a start finishes and clears away |
//! | `memory`, `recall` | what a collector remembers of it; how it is known again |
//! | `visible` | which entries the names of visible files speak of |
//! | `salvage`, `decide` | what is left of a damaged one; what an operator makes of it |
//! | `change` | how it can be found to be another one |
//! | `audit` | what it proves, read without changing anything |
//! | `fence` | how what another collector left behind is cleared away |
//! | `idle` | which collectors may have left something behind: pure |
//! | `notes` | which directories get files, for what is done for their readers |
//! | `compact` | how a generation of many entries becomes one checkpoint |
//! | [`merge`] | how small files of one directory become a large one |

mod append;
mod audit;
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
mod salvage;
mod store;
mod sweep;
pub mod view;
mod visible;

pub use audit::{Audit, Contents, Place, VisibleFile, VisibleFiles, is_lines};
pub use change::Change;
pub use dataset::{BOOKS, Dataset, Token, WriterId};
pub use decide::{Decided, DecisionError, Operator, Standing};
pub use entry::{Entry, EntryError, Kind, StagedFile};
pub use error::LedgerError;
pub use memory::{Memory, Remembered, Turns};
pub use merge::{Merge, MergeLimits, MergeOutcome};
pub use notes::{NoteKind, NotedPlace};
pub use store::{Committed, FileNames, Known, Ledger, Options, Roll, RollFile, check_length};
pub use view::{Settled, Totals, View};

//! Decides when a directory of a dataset is complete, and what its receipt contains. Pure: no
//! clock, no I/O.
//!
//! **Definition.** A directory is complete when each expected edge has reported "all lines that I
//! saw before T are committed", with a T after the end of the directory's period plus `grace`.
//!
//! ```text
//!   edge        files read to their end at T ─► all read batches committed ─► report (origin, T)
//!                                                                               │ any way, any
//!   collectors  ◄───────────────────────────────────────────────────────────────┘ collector
//!      │ [`Roster`]: the largest T of each origin; origins in the ledger join without a T
//!      ▼
//!   roster read ─► ledger read to its end, files published ─► [`Judgement`] ─► [`Receipt`]
//!                                             entries below N │ entries from N on: late
//! ```
//!
//! # States of a directory
//!
//! | state | meaning |
//! |---|---|
//! | open | it has no receipt: an expected edge holds it back |
//! | complete | it has a receipt |
//! | complete with waivers | it has a receipt, but an operator has waived an edge, or an edge left |
//! | reopened | it has a receipt, and files of later ledger entries |
//!
//! # Invariants
//!
//! 1. A report leaves an edge only after everything that it covers is committed. So it can overtake
//!    nothing, whichever way and collector it takes, and the largest T of an origin is true.
//! 2. Each origin with a batch in the ledger is expected, whether it reports or not.
//! 3. The ledger is read to its end after the reports. So the entries below the number in a receipt
//!    contain everything that the reports cover.
//! 4. A file of an entry from that number on is late: the number decides, not a clock.
//! 5. A receipt is never changed. A late entry adds a record next to it.
//!
//! # Assumptions
//!
//! An application writes a line less than `grace` after the time in it. The clocks of an edge and
//! of the applications on it agree; those of the collectors differ by less than `grace`. A data
//! directory has one running copy. If an assumption fails, events are late, and are recorded.
//!
//! # Other systems
//!
//! [`Announcement`] is a receipt, or a record of late files, for other systems: as events of
//! OpenLineage ([`Lineage`]), and as properties of a partition. Equal receipts have equal events.

mod announcement;
mod lineage;
mod receipt;
mod roster;

pub use announcement::Announcement;
pub use lineage::Lineage;
pub use receipt::{EdgeLine, LateFile, LateRecord, Receipt, Share, State, file_hash};
pub use roster::{Departure, Edge, Expected, Judgement, Roster};

/// Name of the receipt in its directory. Readers of Hadoop skip names with an underscore.
pub const RECEIPT: &str = "_receipt.json";

/// Returns the name of the record of the late files of this ledger entry.
pub fn late_name(entry: u64) -> String {
    format!("_late-{entry}.json")
}

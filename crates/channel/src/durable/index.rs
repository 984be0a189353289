//! Where batches lie: derived from the log, and rebuilt from it.
//!
//! | module | what it holds |
//! |---|---|
//! | `ticket_index` | all live segments, tickets, identities and positions, in memory |
//! | `segment_index` | the batches of one segment by ticket, and the trait of a store for it |
//! | `sled_store` | the indexes of sealed segments, in sled |

pub(crate) mod segment_index;
pub(crate) mod sled_store;
pub(crate) mod ticket_index;

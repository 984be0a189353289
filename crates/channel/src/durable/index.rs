//! Locations of batches: derived from the log, and rebuilt from it.
//!
//! | module | contents |
//! |---|---|
//! | `ticket_index` | all live segments, tickets, identities and positions, in memory |
//! | `segment_index` | the batches of one segment by ticket, and the trait of its store |
//! | `sled_store` | the indexes of sealed segments, in sled |

pub(crate) mod segment_index;
pub(crate) mod sled_store;
pub(crate) mod ticket_index;

//! Capacity and disk space: when the intake stops, and why.
//!
//! | module | contents |
//! |---|---|
//! | `usage` | effective capacity, its reserved part, the reason for a stopped intake |
//! | `capacity` | checks the configured capacity against batches and disk |
//! | `full_disk` | behaviour on a disk without room |
//! | `open_segment` | the room of the open segment |
//! | `overflow`, `when_full` | handles puts into a full channel; the setting for that |
//! | `intake_stop` | decides when a stop of the intake is logged |
//! | `fill_rate` | the time until the channel is full |

pub(crate) mod capacity;
pub(crate) mod fill_rate;
pub(crate) mod full_disk;
pub(crate) mod intake_stop;
pub(crate) mod open_segment;
pub(crate) mod overflow;
pub(crate) mod usage;
pub(crate) mod when_full;

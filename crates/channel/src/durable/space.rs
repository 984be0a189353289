//! Capacity and disk space: when the intake stops, and why.
//!
//! | module | what it holds |
//! |---|---|
//! | `usage` | capacity in force, what of it is reserved, why the intake has stopped |
//! | `capacity` | whether the configured capacity suits the batches and the disk |
//! | `full_disk` | what goes on and what waits on a disk without room |
//! | `overflow` | what a full channel does with puts |
//! | `standstill` | when a stop of the intake is logged |
//! | `fill_rate` | the time until the channel is full |

pub(crate) mod capacity;
pub(crate) mod fill_rate;
pub(crate) mod full_disk;
pub(crate) mod overflow;
pub(crate) mod standstill;
pub(crate) mod usage;

//! The ledger on a store: whichever collector opens it, whatever fails, whichever was fenced.
//!
//! Method: ledgers on a store in memory, which the tests inspect, damage, and make fail at the n-th
//! call, for every n. One test also runs on a real HDFS, and one on the disk of this machine.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.

mod changed;
mod crowd;
mod exchanged;
mod fence;
mod floors;
mod gateway;
mod harness;
mod merge;
mod objects;
mod opening;
#[cfg(feature = "mutants")]
mod planted;
mod site;

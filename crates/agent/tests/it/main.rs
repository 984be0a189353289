//! Whole agents in one process, on real and simulated worlds.
//!
//! One program for all of them, so that they are linked once.

mod bitrot;
mod discovery;
mod edits;
mod lives;

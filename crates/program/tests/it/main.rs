//! Whole agents in one process, on real and simulated worlds.
//!
//! One program for all of them, so that they are linked once.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run outside the world that `Env` is, and end at the first failure"
)]

mod bitrot;
mod discovery;
mod edits;
mod lives;

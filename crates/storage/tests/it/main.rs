//! The stores against the contract of a file system.
//!
//! One program for all of them, so that they are linked once.

mod conformance;
mod connections;

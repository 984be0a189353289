//! What tests of sources share: intakes whose answers a test decides, and a source that runs.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

pub mod channels;
pub mod narrow;
pub mod running;

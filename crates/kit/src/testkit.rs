//! Helpers for tests of sources and sinks: intakes with scripted answers, a running source, a
//! server.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

pub mod channels;
pub mod narrow;
pub mod running;
pub mod sinks;

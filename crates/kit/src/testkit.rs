//! Helpers for tests of sources: intakes with scripted answers, and a running source.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

pub mod channels;
pub mod narrow;
pub mod running;

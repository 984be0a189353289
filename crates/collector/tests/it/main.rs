//! Collectors against clients that misbehave, refuse or share.
//!
//! One program for all of them, so that they are linked once.

mod common;
mod hostile;
mod refusing;
mod tenants;

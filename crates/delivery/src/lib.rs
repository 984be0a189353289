//! Exactly once: what decides that a batch is delivered, once and for good.
//!
//! | module | what it holds |
//! |---|---|
//! | [`sender`] | what an agent may put to the next one, and what became of it: pure |
//! | [`receiver`] | what an agent owes the one before it: pure |

pub mod receiver;
pub mod sender;

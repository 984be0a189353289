//! Exactly once: what decides that a batch is delivered, once and for good.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ledger`] | the commit ledger in the store: entries, what they add up to, opening, sweeping |
//! | [`committer`] | what to do next to get a roll committed: pure |
//! | [`proof`] | whether what was accepted is committed: pure |
//! | [`sender`] | what an agent may put to the next one, and what became of it: pure |
//! | [`receiver`] | what an agent owes the one before it: pure |

pub mod committer;
pub mod ledger;
pub mod proof;
pub mod receiver;
pub mod sender;

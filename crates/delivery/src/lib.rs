//! Exactly-once delivery between two agents, as pure state machines.
//!
//! | module | contents |
//! |---|---|
//! | [`sender`] | the sending agent: which batches it may put, and the verdict on each |
//! | [`receiver`] | the receiving agent: which replies it owes the sender |

pub mod receiver;
pub mod sender;

//! Takes: from memory while a consumer keeps up, otherwise from the segments.
//!
//! | module | contents |
//! |---|---|
//! | `take` | a take transaction |
//! | `tail` | the newest batches, in memory |
//! | `memory` | the state of all of these |
//! | `ahead`, `fetch` | batches read ahead of a consumer |
//! | `reader` | batches of a segment, verified one by one |
//! | `wakeups` | decides when a put wakes consumers |
//! | `drain_throttle` | the pace of a backlog while new events arrive |

pub(crate) mod ahead;
pub(crate) mod drain_throttle;
pub(crate) mod fetch;
pub(crate) mod memory;
pub(crate) mod reader;
pub(crate) mod tail;
pub(crate) mod take;
pub(crate) mod wakeups;

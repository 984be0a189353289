//! The setting `overflow`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Treatment of puts when the channel is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Puts wait: no event is lost, and the sources slow down.
    #[default]
    Block,
    /// New events are dropped and counted. Their identity and positions are kept, so they are not
    /// sent or read again.
    DropNewest,
    /// The oldest events are dropped and counted, one segment at a time. If a sink is processing
    /// some of them, puts wait for it.
    DropOldest,
}

//! Settings of the `grpc` sink.

use std::net::SocketAddr;
use std::path::PathBuf;

use pipeline::units::{ByteSize, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::ClientTls;

/// Settings of the `grpc` sink.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the downstream agent: `host:port`. The name is resolved for each connection.
    pub address: Option<String>,
    /// Lookup of the downstream agents, instead of `address`: `dns:host:port` for all addresses of
    /// a host, or `srv:name` for all targets of SRV records (not in `aqueduct-edge`).
    pub discover: Option<String>,
    /// Interval of the lookup. The TTL of DNS is ignored.
    #[serde(default = "defaults::discover_every")]
    pub discover_every: Period,
    /// Limit of downstream agents in use, including those that are leaving. Others wait until one
    /// has left.
    #[serde(default = "defaults::discover_max")]
    pub discover_max: usize,
    /// DNS server, as `ip:port`, instead of the name servers of the system. Not in `aqueduct-edge`.
    pub discover_server: Option<SocketAddr>,
    /// Time for an agent that is not found any more to acknowledge its batches. Then they are sent
    /// to another agent.
    #[serde(default = "defaults::drain_max")]
    pub drain_max: Period,
    /// Limit of unacknowledged batches.
    #[serde(default = "defaults::window_batches")]
    pub window_batches: u32,
    /// Limit of unacknowledged bytes. They are kept in memory.
    #[serde(default = "defaults::window_bytes")]
    pub window_bytes: ByteSize,
    /// Compression of batches. An agent that does not support it gets them uncompressed.
    #[serde(default)]
    pub compression: Compression,
    /// Condition for the deletion of a batch from the channel.
    #[serde(default)]
    pub retain: Keep,
    /// Timeout for a connection until the downstream agent has accepted it.
    #[serde(default = "defaults::connect_timeout")]
    pub connect_timeout: Period,
    /// Timeout for the acknowledgement of a batch. Then the batch is sent to another agent.
    #[serde(default = "defaults::answer_timeout")]
    pub answer_timeout: Period,
    /// Time that a downstream agent may be unreachable. Then the batches that it has received but
    /// not committed are sent to another agent.
    #[serde(default = "defaults::resend_after")]
    pub resend_after: Period,
    /// TLS of the connection. If downstream agents are found with `dns:`, their certificates must
    /// be for that host, or for `tls.server_name`.
    pub tls: Option<ClientTls>,
    /// File with the token of this agent, if the downstream agents require one (`tokens_file`): one
    /// line `NAME TOKEN`. It is read for each connection.
    pub token_file: Option<PathBuf>,
}

/// How batches are compressed on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// zstd, at its cheapest level.
    Zstd,
}

/// Condition for the deletion of a batch from the channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The batch is durably in the store.
    #[default]
    Committed,
    /// The batch is on the disk of the downstream agent. If that disk is lost, the batch is lost.
    Stored,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(super) fn window_batches() -> u32 {
        64
    }

    pub(super) fn window_bytes() -> ByteSize {
        ByteSize::mib(8)
    }

    pub(super) fn discover_every() -> Period {
        Period(Duration::from_secs(30))
    }

    pub(super) fn discover_max() -> usize {
        16
    }

    pub(super) fn drain_max() -> Period {
        Period(Duration::from_secs(10 * 60))
    }

    pub(super) fn connect_timeout() -> Period {
        Period(Duration::from_secs(5))
    }

    pub(super) fn answer_timeout() -> Period {
        Period(Duration::from_secs(30))
    }

    pub(super) fn resend_after() -> Period {
        Period(Duration::from_secs(60))
    }
}

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
    /// Address of the next agent: `host:port`. Names are resolved anew for each connection.
    pub address: Option<String>,
    /// In its place, what is looked up to find the next agents: `dns:host:port` for every address
    /// of a host, or `srv:name` for every target of SRV records (not in `aqueduct-edge`).
    pub discover: Option<String>,
    /// How often they are looked up, whatever the lifetime that DNS gives.
    #[serde(default = "defaults::discover_every")]
    pub discover_every: Period,
    /// How many are used at once, with those that leave; others wait until one has left.
    #[serde(default = "defaults::discover_max")]
    pub discover_max: usize,
    /// DNS server to ask, as `ip:port`, instead of the name servers of the system. Not in
    /// `aqueduct-edge`.
    pub discover_server: Option<SocketAddr>,
    /// How long one that is not found any more may take to settle what it has, before that is sent
    /// to another one.
    #[serde(default = "defaults::drain_max")]
    pub drain_max: Period,
    /// Batches that may be without an answer at a time.
    #[serde(default = "defaults::window_batches")]
    pub window_batches: u32,
    /// Bytes that may be without an answer at a time, and are held in memory until then.
    #[serde(default = "defaults::window_bytes")]
    pub window_bytes: ByteSize,
    /// How batches are compressed. An agent that does not take it gets them uncompressed.
    #[serde(default)]
    pub compression: Compression,
    /// When a batch may be forgotten here.
    #[serde(default)]
    pub retain: Keep,
    /// How long a connection may take until the next agent says welcome.
    #[serde(default = "defaults::connect_timeout")]
    pub connect_timeout: Period,
    /// How long the next agent may leave a batch unanswered before it is given to another one.
    #[serde(default = "defaults::answer_timeout")]
    pub answer_timeout: Period,
    /// How long the next agent may stay away before what it has stored is sent to another one.
    #[serde(default = "defaults::resend_after")]
    pub resend_after: Period,
    /// TLS: with this table it is spoken. Where the next agents are looked up by `dns:`, their
    /// certificates have to be for that host, unless `tls.server_name` says another name.
    pub tls: Option<ClientTls>,
    /// File with the token of this agent, where the next ones ask for one (`tokens_file`): one line
    /// `NAME TOKEN`. It is read for each connection.
    pub token_file: Option<PathBuf>,
}

/// How batches are compressed on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// zstd, at the level that costs least.
    Zstd,
}

/// When a batch may be forgotten here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// When it is in the store for good.
    #[default]
    Committed,
    /// When the next agent has it on disk. The loss of that disk loses it.
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

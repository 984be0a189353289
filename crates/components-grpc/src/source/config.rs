//! Settings of the `grpc` source.

use std::path::PathBuf;

use kit::tenants::{BacklogLimits, Tenants};
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::ServerTls;

use super::binding::Origins;

/// Settings of the `grpc` source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: `host:port`. Port 0 selects a free port.
    pub listen: String,
    /// Size limit of a batch, before and after compression. Senders learn it when they connect, and
    /// split batches accordingly.
    #[serde(default = "defaults::message_max")]
    pub message_max: ByteSize,
    /// Limit of unacknowledged batches of a connection.
    #[serde(default = "defaults::window_batches")]
    pub window_batches: u32,
    /// Limit of unacknowledged bytes of a connection. With many connections, each gets its share of
    /// `in_flight_max`, at least 1 MiB.
    #[serde(default = "defaults::window_bytes")]
    pub window_bytes: ByteSize,
    /// Limit of bytes in flight of all connections.
    #[serde(default = "defaults::in_flight_max")]
    pub in_flight_max: ByteSize,
    /// Memory limit of messages that have arrived in part or wait to be stored, for all
    /// connections. Further messages wait unread. A message without progress for 20 s closes its
    /// connection.
    #[serde(default = "defaults::gathered_max")]
    pub gathered_max: ByteSize,
    /// Memory limit of the state that the agent keeps about unsettled batches of its senders, for
    /// all connections: about 500 bytes for each epoch of an origin. A connection may use a quarter
    /// of it, by default about 30,000 epochs. More is rejected, and retried by the sender.
    #[serde(default = "defaults::remembered_max")]
    pub remembered_max: ByteSize,
    /// Connection limit. Further connections wait to be accepted. Each is an open file, limited by
    /// the hard limit of the process (`ulimit -Hn`).
    #[serde(default = "defaults::connections_max")]
    pub connections_max: u32,
    /// Accepted compressions. Uncompressed batches are always accepted.
    #[serde(default = "defaults::compression")]
    pub compression: Vec<Compression>,
    /// Time for which senders still receive commits after the agent begins to stop. They receive
    /// the rest when they reconnect.
    #[serde(default = "defaults::linger")]
    pub linger: Period,
    /// TLS of the connections. With this table, connections without TLS are rejected.
    pub tls: Option<ServerTls>,
    /// File with the tokens of agents that may send, read again when it changes: lines `NAME TOKEN`
    /// or `NAME sha256:HEX`. Streams without a token are rejected. If `tls.client_auth` is
    /// `optional`, a certificate is enough.
    pub tokens_file: Option<PathBuf>,
    /// Handling of a batch whose origin is not bound to a proven name of its sender: `off` accepts
    /// it; `warn` accepts and logs it; `require` closes its stream. Default: `warn`, or `off` if
    /// clients prove no names by certificates or tokens.
    pub origins: Option<Origins>,
    /// Names of agents, in their certificates or tokens, that may send batches of any origin
    /// because they forward batches of others.
    #[serde(default)]
    pub relays: Vec<String>,
    /// Limits for each sender: shares, connections, rates, sizes. Batches above a rate wait unread.
    #[serde(default)]
    pub tenants: Tenants,
    /// Limit of the part of the channels that each sender may fill. Senders are identified as for
    /// `tenants`.
    #[serde(default)]
    pub backlog: BacklogLimits,
}

/// A compression of batches on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// zstd.
    Zstd,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    use super::Compression;

    pub(super) fn message_max() -> ByteSize {
        ByteSize::mib(16)
    }

    pub(super) fn window_batches() -> u32 {
        64
    }

    pub(super) fn window_bytes() -> ByteSize {
        ByteSize::mib(8)
    }

    pub(super) fn in_flight_max() -> ByteSize {
        ByteSize::mib(64)
    }

    pub(super) fn gathered_max() -> ByteSize {
        ByteSize::mib(128)
    }

    pub(super) fn remembered_max() -> ByteSize {
        ByteSize::mib(64)
    }

    pub(super) fn connections_max() -> u32 {
        1024
    }

    pub(super) fn compression() -> Vec<Compression> {
        vec![Compression::Zstd]
    }

    pub(super) fn linger() -> Period {
        Period(Duration::ZERO)
    }
}

impl Config {
    /// What becomes of an origin that is not bound to its sender.
    pub(super) fn origins(&self) -> Origins {
        let by_default = if self.shows_names() { Origins::Warn } else { Origins::Off };
        self.origins.unwrap_or(by_default)
    }

    fn shows_names(&self) -> bool {
        let certificates = self.tls.as_ref().is_some_and(ServerTls::asks_for_certificates);
        certificates || self.tokens_file.is_some()
    }

    /// Whether no client is served that does not prove a name.
    pub(super) fn needs_names(&self) -> bool {
        let certificates = self.tls.as_ref().is_some_and(ServerTls::needs_certificates);
        certificates || self.tokens_file.is_some()
    }

    /// Whether a client may show a certificate or not.
    pub(super) fn may_show_certificate(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.asks_for_certificates() && !tls.needs_certificates())
    }

    /// Whether the settings can work.
    pub(super) fn check(&self, cx: &BuildContext) -> Result<(), BuildError> {
        pipeline::address::check(&self.listen, "0.0.0.0:4141", true)
            .map_err(|problem| BuildError::invalid("listen", problem))?;
        let positive = [
            ("window_batches", u64::from(self.window_batches)),
            ("window_bytes", self.window_bytes.0),
            ("in_flight_max", self.in_flight_max.0),
            ("gathered_max", self.gathered_max.0),
            ("remembered_max", self.remembered_max.0),
            ("connections_max", u64::from(self.connections_max)),
        ];
        if let Some((setting, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(BuildError::invalid(*setting, "must be greater than 0"));
        }
        if let Some(max) = cx.env.net.connections_max()
            && u64::from(self.connections_max) >= max
        {
            let problem = format!(
                "must be below {max}, the limit of open files of this process; raise that limit \
                 (systemd: LimitNOFILE, shell: ulimit -Hn), or lower this"
            );
            return Err(BuildError::invalid("connections_max", problem));
        }
        const MESSAGE_MAX: ByteSize = ByteSize::mib(1024);
        if self.message_max == ByteSize(0) || self.message_max > MESSAGE_MAX {
            let problem = format!("must be from 1B to {MESSAGE_MAX}");
            return Err(BuildError::invalid("message_max", problem));
        }
        self.tenants.check(("message_max", self.message_max))?;
        self.backlog.check("backlog")?;
        let binds = !matches!(self.origins, None | Some(Origins::Off));
        let of_names = [("origins", binds), ("relays", !self.relays.is_empty())];
        if let Some((setting, _)) = of_names.iter().find(|(_, set)| *set && !self.shows_names()) {
            let problem = "has an effect only with `tls.client_ca`, `tls.truststore` or \
                           `tokens_file`, which prove the names of clients; set one of them, or \
                           remove this";
            return Err(BuildError::invalid(*setting, problem));
        }
        Ok(())
    }
}

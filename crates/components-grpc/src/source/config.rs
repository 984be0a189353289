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
    /// Address to listen on: `host:port`. Port 0 takes a free one.
    pub listen: String,
    /// Largest batch that is taken, before and after compression. Senders learn it when they
    /// connect, and cut to it what they read from then on.
    #[serde(default = "defaults::message_max")]
    pub message_max: ByteSize,
    /// Batches that one connection may have without an answer.
    #[serde(default = "defaults::window_batches")]
    pub window_batches: u32,
    /// Bytes that one connection may have without an answer. Where there are many, each gets its
    /// share of `in_flight_max`, at least 1 MiB.
    #[serde(default = "defaults::window_bytes")]
    pub window_bytes: ByteSize,
    /// Bytes that all connections together may have in work.
    #[serde(default = "defaults::in_flight_max")]
    pub in_flight_max: ByteSize,
    /// Bytes of messages that may have arrived in part or wait to be stored, over all connections.
    /// More wait unread. A message that stands still for 20 s ends its connection.
    #[serde(default = "defaults::gathered_max")]
    pub gathered_max: ByteSize,
    /// Bytes that all connections together may make this agent remember of what their senders hold
    /// unsettled: some 500 for each life of an origin. One connection may take a quarter of it, by
    /// default some 30,000 lives; more is refused, and tried again by the sender.
    #[serde(default = "defaults::remembered_max")]
    pub remembered_max: ByteSize,
    /// Connections at a time. More wait to be accepted. Each is an open file, of which this process
    /// may have as many as its hard limit says (`ulimit -Hn`).
    #[serde(default = "defaults::connections_max")]
    pub connections_max: u32,
    /// Compressions that are taken. Batches without compression are always taken.
    #[serde(default = "defaults::compression")]
    pub compression: Vec<Compression>,
    /// How long senders still get the news of commits once the agent stops. They get the rest when
    /// they connect again.
    #[serde(default = "defaults::linger")]
    pub linger: Period,
    /// TLS: with this table it is spoken, and nothing else is taken.
    pub tls: Option<ServerTls>,
    /// File with the tokens of the agents that may send, read again when it changes: lines
    /// `NAME TOKEN` or `NAME sha256:HEX`. Streams without one of them are refused. Where
    /// `tls.client_auth` is `optional`, a certificate does as well.
    pub tokens_file: Option<PathBuf>,
    /// What becomes of a batch whose origin is not bound to a name that its sender proves: `off`,
    /// it is taken; `warn`, it is taken and logged; `require`, its stream is ended. `warn` unless
    /// set, and `off` where clients show neither certificates nor tokens.
    pub origins: Option<Origins>,
    /// Names of the agents that may send batches of any origin, because they hand on what others
    /// send: in their certificates, or of their tokens.
    #[serde(default)]
    pub relays: Vec<String>,
    /// What each sender may take: shares, connections, rates, sizes. What comes over a rate waits
    /// unread.
    #[serde(default)]
    pub tenants: Tenants,
    /// How much of the channels each sender may fill, known as for `tenants`.
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
            return Err(BuildError::invalid(*setting, "must not be 0"));
        }
        if let Some(max) = cx.env.net.connections_max()
            && u64::from(self.connections_max) >= max
        {
            let problem = format!(
                "must be below {max}, the open files that this process may have; raise that limit \
                 (systemd: LimitNOFILE, shell: ulimit -Hn) or set less"
            );
            return Err(BuildError::invalid("connections_max", problem));
        }
        const MESSAGE_MAX: ByteSize = ByteSize::mib(1024);
        if self.message_max == ByteSize(0) || self.message_max > MESSAGE_MAX {
            let problem = format!("must be over 0 and at most {MESSAGE_MAX}");
            return Err(BuildError::invalid("message_max", problem));
        }
        self.tenants.check(("message_max", self.message_max))?;
        self.backlog.check("backlog")?;
        let binds = !matches!(self.origins, None | Some(Origins::Off));
        let of_names = [("origins", binds), ("relays", !self.relays.is_empty())];
        if let Some((setting, _)) = of_names.iter().find(|(_, set)| *set && !self.shows_names()) {
            let problem = "it counts with `tls.client_ca`, `tls.truststore` or `tokens_file`: \
                           names are proved by certificates or tokens of clients";
            return Err(BuildError::invalid(*setting, problem));
        }
        Ok(())
    }
}

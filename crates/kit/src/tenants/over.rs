//! Limits of a tenant, and the errors for exceeding them.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// A limit of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    /// Number of connections.
    Connections,
    /// Events or bytes per second.
    Rate,
    /// Size of a message.
    Message,
    /// Bytes in the channels.
    Backlog,
}

impl Limit {
    /// Returns its name in `/status` and in the metrics of a tenant.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Rate => "rate",
            Self::Message => "message",
            Self::Backlog => "backlog",
        }
    }

    /// Returns its reason in the metric of the source.
    pub(super) fn anomaly(self) -> &'static str {
        match self {
            Self::Connections => "tenant_connections",
            Self::Rate => "tenant_rate",
            Self::Message => "tenant_message",
            Self::Backlog => "tenant_backlog",
        }
    }
}

/// A tenant exceeds a limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Over {
    /// Too many connections.
    #[error(
        "`{name}` has {connections} connections, over its limit of {max}: raise \
         `tenants.connections_max` of this source"
    )]
    Connections {
        /// The tenant.
        name: Arc<str>,
        /// Number of connections, including this one.
        connections: u32,
        /// Maximum number of connections.
        max: u32,
    },
    /// Too many events or bytes per second.
    #[error(
        "`{name}` exceeds its rate: retry later, or raise `tenants.events_per_second` or \
         `tenants.bytes_per_second` of this source"
    )]
    Rate {
        /// The tenant.
        name: Arc<str>,
        /// Time until the next message is allowed.
        wait: Duration,
    },
    /// A message is too large.
    #[error(
        "a message of `{name}` exceeds its limit of {max} bytes: raise `tenants.message_max` of \
         this source"
    )]
    Message {
        /// The tenant.
        name: Arc<str>,
        /// Maximum size of a message.
        max: u64,
    },
}

/// Retry delay of a client with too many connections: the time at which one closes is unknown.
const CONNECTIONS_RETRY: Duration = Duration::from_secs(1);

impl Over {
    /// Returns when a retry makes sense; `None`: the same message never succeeds.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Connections { .. } => Some(CONNECTIONS_RETRY),
            Self::Rate { wait, .. } => Some(*wait),
            Self::Message { .. } => None,
        }
    }
}

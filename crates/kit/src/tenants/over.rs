//! What a tenant takes beyond its limits, and what it is answered.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// A limit of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    /// Of its connections.
    Connections,
    /// Of its events or bytes a second.
    Rate,
    /// Of the size of its messages.
    Message,
    /// Of what it has in the channels.
    Backlog,
}

impl Limit {
    /// Its name in `/status` and in the series of a tenant.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Rate => "rate",
            Self::Message => "message",
            Self::Backlog => "backlog",
        }
    }

    /// By what it is counted with all others of the source.
    pub(super) fn anomaly(self) -> &'static str {
        match self {
            Self::Connections => "tenant_connections",
            Self::Rate => "tenant_rate",
            Self::Message => "tenant_message",
            Self::Backlog => "tenant_backlog",
        }
    }
}

/// A tenant takes more than it may.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Over {
    /// Connections.
    #[error(
        "`{name}` has {connections} connections, over its {max}: `tenants.connections_max` of \
         this source"
    )]
    Connections {
        /// The tenant.
        name: Arc<str>,
        /// Its connections, with this one.
        connections: u32,
        /// How many it may have.
        max: u32,
    },
    /// Events or bytes.
    #[error(
        "`{name}` gives more than its rate: `tenants.events_per_second` or \
         `tenants.bytes_per_second` of this source"
    )]
    Rate {
        /// The tenant.
        name: Arc<str>,
        /// When the next one may come.
        wait: Duration,
    },
    /// The size of a message.
    #[error(
        "a message of `{name}` is over its limit of {max} bytes: `tenants.message_max` of this \
         source"
    )]
    Message {
        /// The tenant.
        name: Arc<str>,
        /// Bytes that one may have.
        max: u64,
    },
}

/// When a client with too many connections comes again: there is no time at which one ends.
const CONNECTIONS_RETRY: Duration = Duration::from_secs(1);

impl Over {
    /// When it is of use to come again; never, with the same message.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Connections { .. } => Some(CONNECTIONS_RETRY),
            Self::Rate { wait, .. } => Some(*wait),
            Self::Message { .. } => None,
        }
    }
}

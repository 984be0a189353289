//! Errors of connections to brokers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Classify, ErrorClass};
use thiserror::Error;

/// Why a connection to a broker cannot be opened, or has ended. `E` are the errors of one protocol.
#[derive(Debug, Error)]
pub enum BrokerError<E> {
    /// The connection failed.
    #[error(
        "cannot connect to {address}; check that the broker is running and reachable from this host"
    )]
    Connect {
        /// The broker.
        address: Arc<str>,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The broker did not answer in time.
    #[error("no answer from {address} within {limit:?}: check the broker and the network")]
    NoAnswer {
        /// The broker.
        address: Arc<str>,
        /// The time limit.
        limit: Duration,
    },
    /// The broker rejected the login.
    #[error("{address} rejects the login: {problem}; check `broker.user` and `broker.password`")]
    Login {
        /// The broker.
        address: Arc<str>,
        /// Its message.
        problem: String,
    },
    /// The broker works and refuses a request.
    #[error("{address} {problem}")]
    NotGranted {
        /// The broker.
        address: Arc<str>,
        /// What it refuses, and the remedy.
        problem: String,
    },
    /// The connection, or a part of it, has ended.
    #[error(
        "lost the connection to {address}: {problem}; reconnecting; no event is lost. If this \
         repeats, see the log of the broker, and check the network and proxies in between"
    )]
    Ended {
        /// The broker.
        address: Arc<str>,
        /// The reason.
        problem: String,
    },
    /// The broker does not accept a message now.
    #[error(
        "{address} cannot accept a message now, so its batch is resent: {problem}; no event is \
         lost. If this lasts, see the log of the broker"
    )]
    NotTaken {
        /// The broker.
        address: Arc<str>,
        /// Its message.
        problem: String,
    },
    /// An error of the protocol.
    #[error(transparent)]
    Other(E),
}

impl<E: Classify> Classify for BrokerError<E> {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } | Self::NoAnswer { .. } => ErrorClass::Transient,
            Self::Login { .. } | Self::NotGranted { .. } => ErrorClass::Blocked,
            // The messages may have been stored.
            Self::Ended { .. } | Self::NotTaken { .. } => ErrorClass::Indeterminate,
            Self::Other(error) => error.class(),
        }
    }
}

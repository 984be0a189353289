//! The adapter for sources whose clients connect and send events.
//!
//! ```text
//!   client ─► port ─► TLS ─► connection ─► message ─► events ─► put ─► channels
//!              │       │          │           │         │        │
//!   adapter    places  refused    tenant      memory    limits   room, turn, time limit
//!   protocol                      framing ─────────► decoding    │
//!              reply ◄─────────────────────────────── Stored ◄───┘
//! ```
//!
//! [`Serve`] is one protocol: how to read messages and how to reply. [`Served`] is the source
//! around it: ports, TLS, the accept loop, limits, tenants, stop and drain. [`Put`] is the way from
//! a connection to the channels. [`Listening`] and [`Connections`] are the shared settings.
//!
//! # Invariants
//!
//! 1. [`Stored::All`] is returned only after every required channel has stored every event of the
//!    batch.
//! 2. After [`Stored::Nothing`] and [`Stored::Never`] nothing of the batch is stored, also later.
//! 3. A put that has reserved room runs to its end, even if its client disconnects. A stop waits
//!    for it, at most for [`DRAIN`](crate::listening::DRAIN).
//! 4. A stop ends the wait for room. After it, no connection is accepted and no put begins.
//!    Connections that do not end within `DRAIN` are cut.
//! 5. A connection releases its place, its memory and its turns in every case: at its end, when it
//!    is cut, and when its protocol panics.
//! 6. At most `connections_max` connections are open on each port. Further ones wait to be
//!    accepted.
//! 7. The messages of all connections take at most `in_flight_max` bytes of shared memory.
//!
//! # Limits
//!
//! - A batch that only some channels have stored is retried in the others for `wait_max`. If that
//!   fails, or if a channel has perhaps stored it, the result is [`Stored::Unknown`]. A client that
//!   resends the batch stores it again: at least once.
//!   [`Calls`](crate::repeats::Calls) recognizes batches whose reply was lost.
//! - The protocol decides how many puts of a connection are under way. Only a protocol with
//!   concurrent calls has more than one.

mod ahead;
mod ports;
mod put;
mod served;
mod settings;

use std::sync::Arc;

use pipeline::Guarantee;
use pipeline::env::Stream;

pub use ahead::read_ahead;
pub use ports::{Limits, Ports};
pub use put::{NoRoom, Put, Stored};
pub use served::Served;
pub use settings::{Connections, Listening, Preset, describe};

use crate::tenants::Client;

/// A client that has connected.
pub struct Connected {
    /// Its bytes, in TLS if the source has TLS. The first read completes the handshake.
    pub stream: Box<dyn Stream>,
    /// Its tenant, which is known after the first read.
    pub client: Client,
    /// Its address.
    pub peer: Arc<str>,
    /// The host of its address.
    pub host: Arc<str>,
    /// The address of the port, with its real number.
    pub local: Arc<str>,
}

/// How the end of a connection by the source is reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Counted as an anomaly with this reason.
    pub anomaly: Option<&'static str>,
    /// Logged as a warning, at a limited rate, because the client has a problem. Otherwise it is
    /// logged for debugging only.
    pub is_warning: bool,
}

/// A protocol of clients that connect. Its value is kept between runs of the source.
pub trait Serve: Send + Sync + 'static {
    /// Why the source ended a connection.
    type End: std::error::Error + Send;

    /// As [`pipeline::Source::guarantee`]. By default, clients resend messages without a reply, and
    /// not every repetition is recognized.
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    /// Serves a connection until the client closes it or the source stops ([`Put::stop`]). Dropped
    /// when the connection is cut.
    ///
    /// # Errors
    /// Neither the client nor the stop ended the connection.
    fn serve(
        &self,
        connected: Connected,
        put: &Arc<Put>,
    ) -> impl Future<Output = Result<(), Self::End>> + Send;

    /// How to report the end of a connection. By default, it is logged for debugging only.
    fn report(&self, _end: &Self::End) -> Report {
        Report::default()
    }
}

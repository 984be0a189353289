//! The adapter for sources that consume messages of a broker and acknowledge them.
//!
//! ```text
//!             arrives            fits                 nothing is being stored
//!   broker ────────────► waiting ────► filling round ─────────────────────────► put under way
//!      ▲                    │ does not fit: nothing is read,                          │
//!      │                    └ the connection is kept alive                            │
//!      │                                                                              │
//!      ├── acknowledge ◄──── every required channel stored the round ◄────────────────┤
//!      │                     some did: retry in those that lack it ──► pause, put ────┤
//!      ├── reject, or stop ◄ refused as too large, one message ◄──────────────────────┤
//!      │                     refused, many messages ──► one round for each message ───┤
//!      └── return ◄───────── no channel stored it: the run fails ◄────────────────────┘
//! ```
//!
//! [`Consume`] is one protocol: how to connect, receive, acknowledge and reject. [`Consumed`] is
//! the source around it: rounds, the put, retries, stop and drain. The runner of the agent opens a
//! failed source again, with back-off.
//!
//! # Invariants
//!
//! 1. A message is acknowledged only after every required channel has stored it. It is acknowledged
//!    at most once on a connection.
//! 2. At most one put is under way. The next round fills in the meantime. So a source holds at most
//!    two rounds and one message.
//! 3. Rounds are stored in the order in which their messages arrived. A put of an earlier
//!    connection ends before the next connection is opened.
//! 4. A round that only some channels have stored is retried in the others only, for as long as the
//!    source runs. With positions, the channels themselves report what they lack.
//! 5. When the source stops or fails, each message that is not stored is returned to the broker:
//!    released where the protocol can do that, otherwise by the end of the connection.
//! 6. A message that cannot become an event, or that the channels refuse, is rejected, or it stops
//!    the source after all messages before it are stored and acknowledged. [`Consume::verdict`]
//!    decides. It is never acknowledged.
//! 7. A put that has begun runs to its end in its own task. A put that waits for room is cancelled
//!    by a stop and by the loss of the connection, and stores nothing later.
//!
//! # Limits
//!
//! - A channel that fails *indeterminately* may have stored the round. Without positions the retry
//!   or the redelivery stores it again: at least once.
//! - A stop while only some channels have a round returns it to the broker. The channels that have
//!   it store it again then, unless the protocol recognizes its messages.

mod broker;
mod consumed;
mod round;
mod storing;

use std::time::Duration;

use pipeline::{Classify, Guarantee, ResendMode, SourceContext, SourceError, SourcePosition};

pub use consumed::Consumed;

use crate::messages::{Event, ROUND_BYTES};

/// A delivery of the broker.
pub struct Arrived<A> {
    /// Names the message in acknowledgements.
    pub ack: A,
    /// The content.
    pub content: Content,
    /// The broker has delivered the message before.
    pub is_repeated: bool,
}

/// The content of a delivery.
#[derive(Debug)]
pub enum Content {
    /// A message.
    Event(Event),
    /// A message that cannot become an event, and why.
    Unusable(String),
    /// A step of the protocol without an event. It is acknowledged when the positions of its round
    /// are stored.
    Mark,
}

/// Why a message cannot be stored.
#[derive(Debug)]
pub enum Problem {
    /// It cannot become an event.
    NoEvent(String),
    /// The channels refuse it permanently, for example because it is too large.
    Refused(String),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoEvent(problem) | Self::Refused(problem) => f.write_str(problem),
        }
    }
}

/// The fate of an unusable message.
#[derive(Debug)]
pub enum Verdict<E> {
    /// The broker moves it to its dead letters, or deletes it, as the broker is set up.
    Reject,
    /// It stays at the broker. The source stops with this error once everything before the message
    /// is stored.
    Hold(E),
}

/// The messages of a source, for [`Consume::prepare`].
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Messages that arrived and are neither acknowledged nor rejected.
    pub unanswered: usize,
    /// A put is under way.
    pub is_storing: bool,
}

/// A subscription at a broker, over any number of connections.
///
/// The adapter calls one method at a time. It drops the future of [`next`](Self::next) and
/// [`idle`](Self::idle) at any await, so both must be cancel safe. Every other future runs to its
/// end, unless the broker hangs while the source stops.
pub trait Consume: Send + 'static {
    /// A connection. Dropping it disconnects without a goodbye: the broker then redelivers every
    /// message without an acknowledgement.
    type Link: Send;
    /// Names a message in acknowledgements.
    type Ack: Send;
    /// Errors of the protocol.
    type Error: Classify + std::error::Error + Send + Sync + 'static;

    /// As [`pipeline::Source::guarantee`].
    fn guarantee(&self) -> Guarantee;

    /// As [`pipeline::Source::resend_mode`]. With [`positions`](Self::positions) it must be
    /// [`ResendMode::ByPosition`].
    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    /// As [`pipeline::Source::batch_bytes`].
    fn batch_bytes(&self) -> u64 {
        ROUND_BYTES
    }

    /// Maximum number of messages in a round.
    fn round_max(&self) -> usize {
        usize::MAX
    }

    /// Connects and subscribes. May be dropped midway.
    ///
    /// # Errors
    /// There is no connection, or the broker refuses the subscription. [`not_received`] converts
    /// errors of the protocol.
    fn open(
        &mut self,
        cx: &SourceContext,
    ) -> impl Future<Output = Result<Self::Link, SourceError>> + Send;

    /// Whether [`positions`](Self::positions) must be stored before the first message, after this
    /// connection was opened.
    fn begins_with_position(&self) -> bool {
        false
    }

    /// Called before each wait, for flow control by the receiver.
    ///
    /// # Errors
    /// The connection has ended.
    fn prepare(
        &mut self,
        _link: &mut Self::Link,
        _load: Load,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Receives the next message. Cancel safe.
    ///
    /// # Errors
    /// The subscription or the connection has ended.
    fn next(
        &mut self,
        link: &mut Self::Link,
    ) -> impl Future<Output = Result<Arrived<Self::Ack>, Self::Error>> + Send;

    /// Keeps the connection alive while nothing is read. Returns only when it has failed. Cancel
    /// safe. Not needed if the connection has a task of its own.
    fn idle(&mut self, _link: &mut Self::Link) -> impl Future<Output = Self::Error> + Send {
        std::future::pending()
    }

    /// Positions that are stored in the same write as these messages. Called when their put begins.
    fn positions(&mut self, _acks: &[Self::Ack]) -> Vec<SourcePosition> {
        Vec::new()
    }

    /// Acknowledges messages, in the order in which they arrived: every required channel has stored
    /// them. Empty for a put of positions only.
    ///
    /// # Errors
    /// The connection has ended.
    fn acknowledge(
        &mut self,
        link: &mut Self::Link,
        acks: Vec<Self::Ack>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Decides about a message that cannot be stored.
    fn verdict(&self, ack: &Self::Ack, problem: &Problem) -> Verdict<Self::Error>;

    /// Identifies a message in the log, where the protocol can.
    fn describe(&self, _ack: &Self::Ack) -> String {
        String::new()
    }

    /// Rejects a message.
    ///
    /// # Errors
    /// The connection has ended.
    fn reject(
        &mut self,
        link: &mut Self::Link,
        ack: Self::Ack,
        problem: &Problem,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// These messages are stored, but their connection has ended before they were acknowledged. The
    /// broker will redeliver them.
    fn stored_unacknowledged(&mut self, _acks: Vec<Self::Ack>) {}

    /// A put has failed: what the channels have must be read from them again.
    fn put_failed(&mut self) {}

    /// Whether the connection works, as far as is known, so that it can be closed in order.
    fn is_open(&self, link: &Self::Link) -> bool;

    /// Stops deliveries, before the last acknowledgements.
    ///
    /// # Errors
    /// The connection has ended.
    fn pause(
        &mut self,
        _link: &mut Self::Link,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Returns messages to the broker. Not needed if the end of a connection returns them.
    ///
    /// # Errors
    /// The connection has ended.
    fn release(
        &mut self,
        _link: &mut Self::Link,
        _acks: Vec<Self::Ack>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Closes the connection in order, with everything that is queued, within `limit`.
    fn close(&mut self, link: Self::Link, limit: Duration) -> impl Future<Output = ()> + Send;
}

/// The error of a source that cannot receive messages.
pub fn not_received<E>(error: E) -> SourceError
where
    E: Classify + std::error::Error + Send + Sync + 'static,
{
    SourceError {
        class: error.class(),
        message: "cannot receive messages".into(),
        source: Some(Box::new(error)),
    }
}

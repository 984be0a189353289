//! An adapter for sinks that deliver a batch by a request: an HTTP intake, a bulk API, a local
//! file.
//!
//! Such a sink implements [`Deliver`], which delivers one batch. [`Requests`] makes a
//! [`Sink`](crate::Sink) of it: it controls the number of requests in flight, their order, their
//! timeout, and the handling of failures.

mod destinations;
mod requests;
mod settings;

use async_trait::async_trait;

use crate::batch::Batch;
use crate::error::Classify;
use crate::sink::{DedupeScope, Guarantee};
use crate::sink_board::SinkBoard;
pub use destinations::{Destinations, UNKNOWN_DESTINATION, destination_wait};
pub use requests::{Options, Requests};
pub use settings::InFlight;

/// The result of a batch whose request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// Every event is delivered.
    All,
    /// All but these, which can never be delivered and go to the dead letters.
    Except {
        /// Places of the events in their batch, in rising order.
        events: Vec<usize>,
        /// The reason, in snake case: letters are counted and listed by it.
        reason: &'static str,
        /// The reason for the operator, with the other side's response.
        detail: String,
    },
}

/// Delivers batches, each independently. Several calls run concurrently.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use std::sync::Mutex;
///
/// use async_trait::async_trait;
/// use pipeline::deliver::{Deliver, Delivered};
/// use pipeline::{Batch, Classify, ErrorClass, Guarantee};
///
/// /// A table in memory, in the place of a database.
/// #[derive(Default)]
/// struct Table(Mutex<Vec<String>>);
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("the table is full")]
/// struct TableFull;
///
/// impl Classify for TableFull {
///     fn class(&self) -> ErrorClass {
///         ErrorClass::Transient
///     }
/// }
///
/// #[async_trait]
/// impl Deliver for Table {
///     type Error = TableFull;
///
///     async fn deliver(&self, batch: &Batch) -> Result<Delivered, TableFull> {
///         let mut rows = self.0.lock().expect("no holder panics");
///         if rows.len() + batch.len() > 1000 {
///             return Err(TableFull);
///         }
///         let mut refused = Vec::new();
///         for event in batch.iter() {
///             match std::str::from_utf8(event.body()) {
///                 Ok(row) => rows.push(row.to_owned()),
///                 Err(_) => refused.push(event.index()),
///             }
///         }
///         if refused.is_empty() {
///             return Ok(Delivered::All);
///         }
///         let detail = "the body is not UTF-8".to_owned();
///         Ok(Delivered::Except { events: refused, reason: "not_text", detail })
///     }
///
///     fn guarantee(&self) -> Guarantee {
///         Guarantee::AtLeastOnce
///     }
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// let table = Table::default();
/// assert_eq!(table.deliver(&Batch::of(["a", "b"])).await?, Delivered::All);
/// assert_eq!(*table.0.lock().expect("no holder panics"), ["a", "b"]);
/// # Ok::<(), TableFull>(())
/// # }).expect("there is room");
/// ```
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// The error of a delivery. Its class decides whether it may be retried; the class `Poison`
    /// sends the whole batch to the dead letters.
    type Error: std::error::Error + Classify + Send + Sync + 'static;

    /// Prepares the delivery; called before the first batch and again after a failure, with
    /// back-off.
    ///
    /// # Errors
    /// Not ready; nothing is delivered until it is.
    async fn open(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Tests the destination without an event, as [`probe`](crate::Sink::probe).
    ///
    /// # Errors
    /// The destination cannot be reached.
    async fn probe(&self) -> Result<Option<String>, Self::Error> {
        Ok(None)
    }

    /// Delivers a batch. The future may be dropped midway: after the timeout, or when the agent
    /// stops.
    ///
    /// # Errors
    /// It is not delivered, or only some of it is; the channel offers it again unless the class is
    /// `Poison`.
    async fn deliver(&self, batch: &Batch) -> Result<Delivered, Self::Error>;

    /// Returns the maximum number of batches of one origin in one request, if order is kept.
    /// Batches that wait for a request of their origin then share the next one.
    fn together_max(&self) -> usize {
        1
    }

    /// Delivers batches of one origin, in this order, by one request; returns the result of each.
    /// `None`: the result is unknown, and each is delivered separately next. The future may be
    /// dropped midway, as in [`Deliver::deliver`].
    async fn deliver_together(&self, _batches: &[&Batch]) -> Option<Vec<Delivered>> {
        None
    }

    /// Ends what [`Deliver::open`] began; called when the sink stops. It may be opened again.
    async fn close(&self) {}

    /// Returns the guarantee of a batch that counts as delivered.
    fn guarantee(&self) -> Guarantee;

    /// Returns the scope of deduplication, as [`dedupe_scope`](crate::Sink::dedupe_scope).
    fn dedupe_scope(&self) -> DedupeScope {
        DedupeScope::Nothing
    }

    /// Returns its board for status pages.
    fn status(&self) -> Option<&SinkBoard> {
        None
    }
}

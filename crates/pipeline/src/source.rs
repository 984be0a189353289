//! The source: receives events.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::error::ErrorClass;
use crate::intake::{Intake, PositionIntake, RelayIntake};
use crate::resource::Resource;
use crate::sink::Guarantee;

/// Receives events into the agent.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use std::time::Duration;
///
/// use async_trait::async_trait;
/// use pipeline::{Batch, Guarantee, Source, SourceContext, SourceError};
///
/// /// Says each second that the agent lives.
/// struct Heartbeat;
///
/// #[async_trait]
/// impl Source for Heartbeat {
///     async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
///         let second = || tokio::time::sleep(Duration::from_secs(1));
///         while cx.stop.run_until_cancelled(second()).await.is_some() {
///             // One that is not stored is not missed: the next one comes.
///             let _ = cx.intake.accept(Batch::of(["alive"])).await;
///         }
///         Ok(())
///     }
///
///     fn guarantee(&self) -> Guarantee {
///         Guarantee::BestEffort
///     }
/// }
/// ```
#[async_trait]
pub trait Source: Send {
    /// Acquires the resources that it needs before it can receive events: binds its ports, looks
    /// for its files. Passes no batch on. Called before each [`Source::run`], while no other source
    /// of its name runs; after `Ok` the agent counts it as ready. The resources are released when
    /// the run ends, when this fails, and when the source is dropped. May be dropped midway.
    ///
    /// # Errors
    /// No resource is held. The runner retries with back-off; a configuration change that adds the
    /// source is rejected with this error.
    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        Ok(())
    }

    /// Runs until `cx.stop` is cancelled; the last [`Source::open`] was `Ok`, with the same intake.
    /// A batch counts as read when [`Intake::accept`] returned `Ok`; only then may the source
    /// acknowledge it or continue after it. Returns soon after the stop: it accepts no batch after
    /// it, and answers every accepted one.
    ///
    /// # Errors
    /// The source cannot continue; the runner restarts it with back-off.
    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError>;

    /// Returns how long the runner waits before it reopens the source after a failure; `None`: the
    /// runner's own back-off. For a source whose server has rules for that.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// Returns its guarantee for the events that reach it, including a dying agent and a lost
    /// answer.
    fn guarantee(&self) -> Guarantee;

    /// Returns how a batch of it, or a part of one, may be resent when some of the channels have
    /// it. By default, a source rereads by position.
    fn resend_mode(&self) -> ResendMode {
        ResendMode::ByPosition
    }

    /// Returns whether it reports its progress by [`PositionIntake::stored_before`]. Another source
    /// that creates batches holds the reports of its channels back.
    fn reports_progress(&self) -> bool {
        false
    }

    /// Returns the resources that it uses exclusively.
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// Returns the approximate size of its batches when there is enough input; 0 if others create
    /// them.
    fn batch_bytes(&self) -> u64 {
        0
    }
}

/// How a source resends events that some of its channels already have.
///
/// If it can, the choice of the channels has to be a function of the event: a resent event has to
/// go to the same channels again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResendMode {
    /// Never: its batches have neither positions nor identities. Data that a client resends is new,
    /// and is stored again: at least once.
    Nothing,
    /// It resumes from the positions in the channels, and sends the batches that one channel lacks
    /// only to that one: [`PositionIntake::accept_into`].
    ByPosition,
    /// Its batches have identities, and are resent with the same ones: [`RelayIntake`].
    ByIdentity,
}

/// The context of a running source. Its intake has three sides; a source uses the narrowest one
/// that suffices.
#[derive(Clone)]
pub struct SourceContext {
    /// Takes the batches: all that most sources need.
    pub intake: Arc<dyn Intake>,
    /// The same, for a source that keeps its positions in the channels.
    pub positions: Arc<dyn PositionIntake>,
    /// The same, for a source whose batches already have identities.
    pub relay: Arc<dyn RelayIntake>,
    /// Cancelled when the source is to stop.
    pub stop: CancellationToken,
}

impl SourceContext {
    /// The three sides of one intake.
    pub fn new<I: PositionIntake + RelayIntake + 'static>(
        intake: Arc<I>,
        stop: CancellationToken,
    ) -> Self {
        Self { intake: intake.clone(), positions: intake.clone(), relay: intake, stop }
    }
}

/// The error that stopped a source.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct SourceError {
    /// `Fatal` keeps it stopped until the configuration changes; everything else restarts it.
    pub class: ErrorClass,
    /// The error, with the object and its limit.
    pub message: String,
    /// The cause beneath.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

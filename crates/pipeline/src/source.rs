//! The source: where events enter.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::error::ErrorClass;
use crate::intake::{Intake, PositionIntake, RelayIntake};
use crate::resource::Resource;
use crate::sink::Guarantee;

/// Where events enter the agent.
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
    /// Takes what it needs before it can take events in: binds its ports, looks for its files.
    /// Hands over no batch. Called before each [`Source::run`], while no other source of its name
    /// runs; after `Ok` the agent counts it as ready. What was taken is released when the run ends,
    /// when this fails, and when the source is dropped. May be dropped midway.
    ///
    /// # Errors
    /// Nothing is held. The runner tries again with back-off; what a change of the configuration
    /// has added is refused with this error.
    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        Ok(())
    }

    /// Runs until `cx.stop` is cancelled; the last [`Source::open`] was `Ok`, with the same intake.
    /// A batch counts as read when [`Intake::accept`] said `Ok`, and only then may the source
    /// acknowledge it or go on after it. Returns soon after the stop: no batch is accepted after
    /// it, none that was accepted is left unanswered.
    ///
    /// # Errors
    /// The source cannot go on; the runner restarts it with back-off.
    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError>;

    /// How long the runner waits before it opens the source again, after what has just failed;
    /// `None`: as its own back-off says. For a source whose server has rules for that.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// What it promises of the events that reach it, a dying agent and a lost answer included.
    fn guarantee(&self) -> Guarantee;

    /// How a batch of it, or a part of one, may come again when some of the channels have it. A
    /// source that does not say it is taken for one that reads again.
    fn gives_again(&self) -> GivesAgain {
        GivesAgain::ByPosition
    }

    /// What it takes that no other component can have then.
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// About how many bytes its batches have where there is enough to read; 0 where others make
    /// them.
    fn batch_bytes(&self) -> u64 {
        0
    }
}

/// How a source gives events again that some of its channels have already.
///
/// Where it can, the choice of the channels has to be a function of the event: what comes again
/// has to go where it went before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivesAgain {
    /// Not at all: its batches have neither positions nor identities. What a client sends again is
    /// new, and is stored again: at least once.
    Nothing,
    /// It reads on from the positions in the channels, and gives what one of them lacks into that
    /// one alone: [`PositionIntake::accept_into`].
    ByPosition,
    /// Its batches come with identities, and come again with the same: [`RelayIntake`].
    ByIdentity,
}

/// What a running source is given. Its intake has three sides; a source takes the narrowest that
/// does its job.
#[derive(Clone)]
pub struct SourceContext {
    /// Takes the batches: all that most sources need.
    pub intake: Arc<dyn Intake>,
    /// The same, for a source that keeps its positions in the channels.
    pub positions: Arc<dyn PositionIntake>,
    /// The same, for a source whose batches have identities already.
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

/// Why a source stopped by itself.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct SourceError {
    /// `Fatal` keeps it stopped until the configuration changes; everything else restarts it.
    pub class: ErrorClass,
    /// What happened, with the thing and its limit.
    pub message: String,
    /// The cause beneath.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

//! Opens the channels: at the start, and later those whose disk has no room, or whose log is on
//! hosts that do not answer.
//!
//! ```text
//!   open ──Ok───────────────► its groups and sources run
//!    ▲ └─NoRoom, Remote─┐
//!    └─ 200 ms … 5 s ◄──┘    everything else runs: the other channels, the admin address
//! ```
//!
//! A channel is created once, in its own directory. If the disk has no room for that, the channel
//! is empty, so waiting loses nothing; other channels may free room by delivering events. A channel
//! with a remote log keeps its contents there: the log may be unreachable like the destination of a
//! sink.

use std::sync::Arc;

use peers::FloorBoard;
use pipeline::{Channel, ChannelError};
use support::causes::chain;
use support::failure_log::FailureLog;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::built::BuiltChannel;
use crate::error::AgentError;
use crate::failure::Failure;
use crate::opened::Opened;

/// First and longest pause before a channel is retried; the pause doubles for a remote log that
/// does not answer.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A channel that is opened later.
struct PendingChannel {
    name: Arc<str>,
    consumers: Vec<Arc<str>>,
    channel: Arc<dyn Channel>,
    floors: FloorBoard,
    opened: Opened,
    failure_log: FailureLog,
    pause: Duration,
}

/// The channels that are opened later.
pub struct PendingChannels(Vec<PendingChannel>);

/// Opens the channels and registers their groups; returns those whose disk has no room, or whose
/// log cannot be reached.
///
/// # Errors
/// A channel cannot be opened for another reason.
pub async fn open_channels(channels: &[BuiltChannel]) -> Result<PendingChannels, AgentError> {
    let (mut opened, mut late) = (Vec::new(), Vec::new());
    for built in channels {
        let mut one = PendingChannel::new(built);
        match one.open().await? {
            true => opened.push(one),
            false => late.push(one),
        }
    }
    if let Some(first) = channels.first() {
        let floors = &first.boards.floors;
        late.iter().for_each(|one| floors.mark_not_open(&one.channel));
        floors.begin_lives(opened.iter().map(|one| &one.channel));
    }
    opened.iter().for_each(PendingChannel::has_opened);
    Ok(PendingChannels(late))
}

/// Opens a channel that a reload has added, and registers its groups.
///
/// # Errors
/// It cannot be opened, or the disk has no room for it.
pub async fn open_channel(built: &BuiltChannel) -> Result<(), ChannelError> {
    let one = PendingChannel::new(built);
    one.channel.open().await?;
    one.channel.register(&one.consumers).await?;
    one.floors.begin_lives([&one.channel].into_iter());
    one.has_opened();
    Ok(())
}

impl PendingChannel {
    fn new(built: &BuiltChannel) -> Self {
        built.channel.warnings().iter().for_each(|warning| warn!("{warning}"));
        Self {
            name: built.name.clone(),
            consumers: built.consumers.clone(),
            channel: built.channel.clone(),
            floors: built.boards.floors.clone(),
            opened: built.boards.opened.clone(),
            failure_log: FailureLog::default(),
            pause: RETRY,
        }
    }

    /// Tries to open it; `false`: the disk has no room, or its log cannot be reached.
    async fn open(&mut self) -> Result<bool, ChannelError> {
        let error = match self.channel.open().await {
            Ok(()) => {
                self.channel.register(&self.consumers).await?;
                return Ok(true);
            }
            Err(error) => error,
        };
        let now = Instant::now();
        match &error {
            ChannelError::NoRoom { directory, reason, help, source, .. } => {
                if self.count_failure(now, &source.to_string()) {
                    warn!(
                        channel = %self.name, error = %source, reason, help, directory,
                        "cannot create the channel; its sources and sink groups wait; retrying; \
                         `help` names the remedy",
                    );
                }
            }
            ChannelError::Remote { .. } => {
                self.pause = (self.pause * 2).min(RETRY_MAX);
                let cause = chain(&error);
                if self.count_failure(now, &cause) {
                    warn!(
                        channel = %self.name, error = %cause,
                        "cannot open the channel; its sources and sink groups wait; retrying; fix \
                         the cause in `error`",
                    );
                }
            }
            _ => return Err(error),
        }
        self.opened.failed(&error);
        Ok(false)
    }

    /// Counts a failure; returns whether to log it.
    fn count_failure(&mut self, now: Instant, cause: &str) -> bool {
        self.failure_log.count(now);
        self.failure_log.should_log(now, cause).is_some()
    }

    /// Lets its groups and sources begin.
    fn has_opened(&self) {
        let backlog = |name: &Arc<str>| (name.clone(), self.channel.backlog(name).ready);
        let batches = self.consumers.iter().map(backlog).collect();
        self.opened.open_with(self.channel.status().events, batches);
    }

    async fn open_later(mut self, stop: CancellationToken, failure: Failure) {
        while stop.run_until_cancelled(sleep(self.pause)).await.is_some() {
            match self.open().await {
                Ok(false) => {}
                Ok(true) => {
                    self.floors.mark_open(&self.channel);
                    self.has_opened();
                    let lasted = self.failure_log.over(Instant::now());
                    let waited_seconds = lasted.unwrap_or_default().1.as_secs_f64();
                    info!(
                        channel = %self.name, waited_seconds,
                        "the channel is open; starting its sources and groups",
                    );
                    return;
                }
                Err(error) => return failure.channel_failed(error),
            }
        }
    }
}

impl PendingChannels {
    /// Opens them as soon as that is possible, until `stop`.
    pub async fn open(self, stop: CancellationToken, failure: Failure) {
        let each = self.0.into_iter().map(|one| one.open_later(stop.clone(), failure.clone()));
        futures::future::join_all(each).await;
    }
}

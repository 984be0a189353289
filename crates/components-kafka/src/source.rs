//! `kafka`: reads topics as a member of a consumer group.
//!
//! The channel stores the position of each partition with the events in one atomic write. A
//! partition that is assigned again continues there. The group's offsets are committed afterwards,
//! for lag monitors and for the next member that reads the partition.
//!
//! ```text
//!   run ──turn──► Reader (on a blocking thread): poll, poll, …
//!    ▲              │ pieces = events + positions
//!    │ errors       ▼
//!    └────────── storer: into all channels that lack them, then the offsets of the group
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `position` | the stored position of a partition |
//! | `gather` | turns messages into events |
//! | `member` | handles rebalances of the group |
//! | `reader` | one turn |
//!
//! # Where a partition starts
//!
//! At the larger of the channel's position and the group's offset. The position is larger if the
//! agent died between its put and the offset commit. The offset is larger if another member had the
//! partition in the meantime: it commits an offset only when its channels have stored the events.

mod config;
mod gather;
mod member;
mod position;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kit::follow::{Refused, Store};
use pipeline::{
    BuildContext, BuildError, Component, Env, ErrorClass, Guarantee, ResendMode, Source,
    SourceContext, SourceError,
};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

pub use config::Config;
use config::Options;
use member::{Member, Piece};
use reader::Reader;

/// How long the source waits on stop for events being stored.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

impl Component for Config {
    const KIND: &'static str = "kafka";
    const ANOMALIES: &[&str] =
        &["not_flume_event", "offsets_not_written", "position_out_of_range", "revoked_unstored"];
    const EXAMPLE: &str = "brokers = [\"127.0.0.1:9092\"]\n\
        topics = [\"a\"]\n\
        group = \"g\"";
    const METRICS: &'static [metrics::MetricSpec] = &[metrics::MetricSpec::gauge(
        "lag_messages",
        "Messages of the assigned partitions that are not stored yet.",
    )];
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let lag = cx.scope::<Self>().gauge("lag_messages")?;
        let options = Arc::new(self.options(cx.metrics.clone(), lag, cx)?);
        crate::client::name_plain_text(&options.client, cx);
        Ok(Box::new(Kafka { name: cx.name.clone(), options, env: cx.env.clone(), opened: None }))
    }
}

struct Kafka {
    name: Arc<str>,
    options: Arc<Options>,
    env: Env,
    /// Set between opening and running.
    opened: Option<(Reader, mpsc::UnboundedReceiver<Piece>)>,
}

#[async_trait]
impl Source for Kafka {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::ByPosition
    }

    fn batch_bytes(&self) -> u64 {
        self.options.batch_bytes as u64
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        // At most two pieces are in flight, and one more while partitions are revoked.
        let (send, pieces) = mpsc::unbounded_channel();
        let (name, options) = (self.name.clone(), self.options.clone());
        let (intake, env) = (cx.positions.clone(), self.env.clone());
        let open = move || {
            let member = Member::new(name, options, intake, send);
            Reader::open(member, env)
        };
        let reader = self.env.offload(open).await.map_err(unavailable)?;
        self.opened = Some((reader, pieces));
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let (reader, pieces) = self.opened.take().expect("a source is opened before it runs");
        let entropy = self.env.entropy.clone();
        let put = Store::new(self.name.clone(), entropy, cx.positions.clone());
        // A separate task, because a turn may wait for it when partitions are revoked.
        let storing = tokio::spawn(store(reader.clone(), pieces, put));
        let mut storing = AbortOnDropHandle::new(storing);
        let result = loop {
            let turn = reader.clone();
            let turn = self.env.offload(move || turn.turn());
            tokio::select! {
                biased;
                () = cx.stop.cancelled() => break Ok(()),
                stored = &mut storing => break ended(stored),
                turned = turn => if let Err(message) = turned {
                    break Err(unavailable(message));
                },
            }
        };
        reader.member().stop();
        if storing.is_finished() {
            reader.member().stop_storing();
        } else {
            self.finish(&reader, &cx, result.is_ok()).await;
        }
        drop(storing);
        reader.close().await;
        result
    }
}

impl Kafka {
    /// Waits for events being stored. Waits for all of them if another run follows, which continues
    /// at the channels' positions.
    async fn finish(&self, reader: &Reader, cx: &SourceContext, is_stop: bool) {
        let finished = if is_stop {
            tokio::time::timeout(FINISH_WITHIN, reader.member().idle()).await.is_ok()
        } else {
            tokio::select! {
                biased;
                () = reader.member().idle() => true,
                () = cx.stop.cancelled() => false,
            }
        };
        if !finished {
            tracing::debug!(source = %self.name, "stopped while a batch waited for its channels");
        }
    }
}

/// Returns the result of the run when storing has ended.
fn ended(stored: Result<Result<(), Refused>, JoinError>) -> Result<(), SourceError> {
    match stored {
        Ok(Err(Refused::Source(error))) => Err(error),
        Ok(Err(Refused::Batch(message))) => {
            Err(SourceError { class: ErrorClass::Blocked, message, source: None })
        }
        Ok(Ok(()) | Err(Refused::Stopping)) => Ok(()),
        Err(error) => Err(unavailable(format!(
            "the task that stores batches failed: {error}; the source restarts; report this as a \
             bug"
        ))),
    }
}

/// Returns a transient error: the brokers do not answer.
fn unavailable(message: String) -> SourceError {
    SourceError { class: ErrorClass::Transient, message, source: None }
}

/// Stores one piece after the other, so that no position overtakes earlier events.
async fn store(
    reader: Reader,
    mut pieces: mpsc::UnboundedReceiver<Piece>,
    mut put: Store,
) -> Result<(), Refused> {
    while let Some(Piece { batch, targets, ends }) = pieces.recv().await {
        put.put(batch, targets).await?;
        reader.stored(&ends);
    }
    Ok(())
}

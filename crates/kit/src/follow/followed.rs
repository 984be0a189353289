//! The source around a protocol.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pipeline::env::Entropy;
use pipeline::{
    BuildContext, ErrorClass, Guarantee, ResendMode, Source, SourceContext, SourceError,
};
use support::mutant;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tracing::{debug, info};

use super::puts::Storing;
use super::start::Leg;
use super::store::Refused;
use super::{Follow, Puts};

/// How long a stop waits for the put under way.
const DRAIN: Duration = Duration::from_secs(5);

/// A source that follows positions.
pub struct Followed<F: Follow> {
    name: Arc<str>,
    entropy: Arc<dyn Entropy>,
    follow: F,
    /// Opened, and not running yet.
    opened: Option<(F::Link, Leg)>,
    /// A put that a stop did not wait for.
    last: Option<JoinHandle<Result<(), Refused>>>,
}

impl<F: Follow> Followed<F> {
    /// A source for this protocol.
    pub fn new(cx: &BuildContext, follow: F) -> Self {
        let (name, entropy) = (cx.name.clone(), cx.env.entropy.clone());
        Self { name, entropy, follow, opened: None, last: None }
    }

    async fn opened(&mut self, cx: &SourceContext) -> Result<(F::Link, Leg), SourceError> {
        let channels = cx.positions.positions(&self.name);
        let follow = &self.follow;
        let number = |known: &[_]| follow.number(known);
        let leg = Leg::new(F::KIND, channels, follow.catch_up(), number)?;
        if let Some(channels) = &leg.into {
            info!(
                source = %self.name, ?channels,
                "reading events again that some required channels lack, into these channels only"
            );
        }
        let link = self.follow.open(&leg.start, cx).await?;
        Ok((link, leg))
    }

    /// Reads and stores. Returns true if the source continues with another run.
    async fn read(
        &mut self,
        link: &mut F::Link,
        leg: &Leg,
        cx: &SourceContext,
    ) -> Result<bool, SourceError> {
        let (mut storing, mut puts) = Storing::begin(leg, &self.name, &self.entropy, cx);
        let reading = async {
            let read = self.follow.read(link, &mut puts).await;
            if let (Ok(()), Some(until)) = (&read, &leg.start.until) {
                puts.reach(&leg.start.known, until).await;
            }
            read
        };
        let read = tokio::select! {
            biased;
            () = cx.stop.cancelled() => None,
            ended = &mut storing.task => return not_stored(ended, cx).await.map(|()| false),
            read = reading => Some(read),
        };
        let Some(read) = read else {
            self.flush(link, &mut puts).await;
            drop(puts);
            self.finish(storing.stop_waiting()).await;
            return Ok(false);
        };
        // The next run starts at the position of the channels.
        drop(puts);
        if mutant!("follow_last_put_forgotten") {
            return read.map(|()| leg.start.until.is_some());
        }
        let stored = tokio::select! {
            biased;
            ended = &mut storing.task => not_stored(ended, cx).await,
            () = cx.stop.cancelled() => {
                self.finish(storing.stop_waiting()).await;
                Ok(())
            }
        };
        read.and(stored).map(|()| leg.start.until.is_some() && !cx.stop.is_cancelled())
    }

    /// Stores the events that were read before a stop, if the peer may not send them again.
    async fn flush(&mut self, link: &mut F::Link, puts: &mut Puts) {
        let drain = self.follow.drain();
        if !drain.is_zero() {
            let flush = async {
                self.follow.flush(link, puts).await;
                puts.stored().await;
            };
            let _ = timeout(drain, flush).await;
        }
    }

    /// Waits for the put under way.
    async fn finish(&mut self, mut task: JoinHandle<Result<(), Refused>>) {
        if timeout(DRAIN, &mut task).await.is_err() {
            debug!(source = %self.name, "stopped while a batch waited for its channels");
            self.last = Some(task);
        }
    }
}

#[async_trait]
impl<F: Follow> Source for Followed<F> {
    fn guarantee(&self) -> Guarantee {
        self.follow.guarantee()
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::ByPosition
    }

    fn batch_bytes(&self) -> u64 {
        self.follow.batch_bytes()
    }

    fn retry_after(&self) -> Option<Duration> {
        self.follow.retry_after()
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        self.opened = None;
        if let Some(last) = &mut self.last {
            let _ended = last.await;
            self.last = None;
        }
        self.opened = Some(self.opened(cx).await?);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let (mut link, mut leg) = self.opened.take().expect("a source is opened before it runs");
        loop {
            let read = Box::pin(self.read(&mut link, &leg, &cx)).await;
            self.follow.close(link).await;
            if !read? {
                return Ok(());
            }
            let Some(opened) = cx.stop.run_until_cancelled(self.opened(&cx)).await else {
                return Ok(());
            };
            (link, leg) = opened?;
        }
    }
}

/// Converts the end of the task that stores batches.
async fn not_stored(
    ended: Result<Result<(), Refused>, JoinError>,
    cx: &SourceContext,
) -> Result<(), SourceError> {
    let failed = |class, message| Err(SourceError { class, message, source: None });
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Refused::Stopping)) => {
            cx.stop.cancelled().await;
            Ok(())
        }
        Ok(Err(Refused::Source(error))) => Err(error),
        Ok(Err(Refused::Batch(message))) => failed(ErrorClass::Blocked, message),
        Err(error) => failed(
            ErrorClass::Transient,
            format!(
                "the task that stores batches failed: {error}; the source restarts; report this as \
                 a bug"
            ),
        ),
    }
}

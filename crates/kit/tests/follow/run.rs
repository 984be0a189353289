//! A source that a runner opens again after each failure, over a log and channels.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::follow::{CatchUp, Followed};
use pipeline::testkit::position_context;
use pipeline::{BuildContext, ErrorClass, Source, SourceError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::channels::Channels;
use super::log::{Log, Reader};

pub(crate) const BATCH_MAX: usize = 10;

/// The longest time that a test waits for a state, in paused time.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);

/// A source that runs until it is stopped.
pub(crate) struct Run {
    pub(crate) log: Arc<Log>,
    pub(crate) channels: Arc<Channels>,
    catch_up: CatchUp,
    drain: Duration,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<Option<SourceError>>,
    /// The last error of the source.
    error: Arc<std::sync::Mutex<Option<String>>>,
}

impl Run {
    pub(crate) fn start(channels: Channels) -> Self {
        Self::with(channels, CatchUp::Exact, Duration::ZERO)
    }

    pub(crate) fn with(channels: Channels, catch_up: CatchUp, drain: Duration) -> Self {
        support::mutants::plant_by_environment();
        let channels = Arc::new(channels);
        let log = Log::new(channels.clone());
        Self::spawn(log, channels, catch_up, drain)
    }

    fn spawn(log: Arc<Log>, channels: Arc<Channels>, catch_up: CatchUp, drain: Duration) -> Self {
        let cx = BuildContext::alone("in", Path::new("unused"), env::real());
        let reader = Reader { log: log.clone(), catch_up, batch_max: BATCH_MAX, drain };
        let mut source = Followed::new(&cx, reader);
        let stop = CancellationToken::new();
        let error = Arc::<std::sync::Mutex<Option<String>>>::default();
        let context = position_context(channels.clone(), stop.clone());
        let last = Arc::clone(&error);
        let running = tokio::spawn(async move {
            loop {
                let ended = match source.open(&context).await {
                    Ok(()) => source.run(context.clone()).await,
                    Err(error) => Err(error),
                };
                let Err(error) = ended else { return None };
                *last.lock().expect("no holder panics") =
                    Some(format!("{:?}: {error}", error.class));
                if error.class == ErrorClass::Fatal || context.stop.is_cancelled() {
                    return Some(error);
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        Self { log, channels, catch_up, drain, stop, running, error }
    }

    /// Kills the source, and starts another one.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// Kills the source, changes its channels, and starts another one.
    pub(crate) async fn restart_after(self, change: impl FnOnce(&Channels)) -> Self {
        let Self { log, channels, catch_up, drain, running, .. } = self;
        channels.kill();
        running.abort();
        let _ = running.await;
        change(&channels);
        Self::spawn(log, channels, catch_up, drain)
    }

    /// Waits for a state. No rule may be broken before it.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let reached = async {
            while !is_so(self) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let is_reached = timeout(LIMIT, reached).await.is_ok();
        assert_eq!(self.log.broken(), Vec::<String>::new(), "broken rules");
        assert!(is_reached, "not reached: {what}");
    }

    pub(crate) async fn until_done(&self) {
        self.until("every event is confirmed", |it| it.log.is_confirmed()).await;
    }

    /// Each channel has each event once, in order.
    pub(crate) fn is_exact(&self, channels: usize) {
        for channel in 0..channels {
            assert_eq!(self.channels.bodies(channel), self.log.bodies(), "channel {channel}");
        }
    }

    pub(crate) fn error(&self) -> String {
        self.error.lock().expect("no holder panics").clone().unwrap_or_default()
    }

    /// Stops the source; its error and the duration of the stop.
    pub(crate) async fn stop(self) -> (Option<SourceError>, Duration) {
        let began = Instant::now();
        self.stop.cancel();
        let ended =
            timeout(LIMIT, self.running).await.expect("the source stops").expect("no panic");
        assert_eq!(self.log.broken(), Vec::<String>::new(), "broken rules");
        (ended, began.elapsed())
    }
}

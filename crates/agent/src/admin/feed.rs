//! `/status/events`: a snapshot a second as server-sent events, one gathered for all readers.
//!
//! ```text
//!   first reader ─► task: gather, once a second ─► latest ─► each reader, when it has read the last
//!   last reader leaves ─► the task ends: an agent without readers does no work
//! ```
//!
//! A reader that is slow misses snapshots; one that does not read for some seconds is cut off, as
//! every client of the listener. Readers are bounded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Duration, MissedTickBehavior, interval};

use super::answer::{Answer, fresh, of, page};
use super::pages::Pages;

/// Readers at once. Fewer than there are connections, so that other pages are answered.
pub(super) const READERS_MAX: usize = 16;

/// Time between two snapshots.
const PACE: Duration = Duration::from_secs(1);

/// The snapshots that readers wait for.
#[derive(Debug, Default)]
pub(super) struct Feed {
    latest: watch::Sender<Bytes>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Feed {
    fn task(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more reader; `None` where there are as many as may be. The first one starts the task.
    fn read(&self, pages: &Arc<Pages>) -> Option<watch::Receiver<Bytes>> {
        let mut task = self.task();
        if self.latest.receiver_count() >= READERS_MAX {
            return None;
        }
        let reader = self.latest.subscribe();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(gather(pages.clone())));
        }
        Some(reader)
    }

    /// Whether there is a reader still. Without one the task is over.
    fn goes_on(&self) -> bool {
        let mut task = self.task();
        let goes_on = self.latest.receiver_count() > 0;
        if !goes_on {
            *task = None;
        }
        goes_on
    }

    /// Whether snapshots are gathered.
    #[cfg(test)]
    pub(super) fn is_at_work(&self) -> bool {
        self.task().is_some()
    }
}

async fn gather(pages: Arc<Pages>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        if !pages.live.feed.goes_on() {
            return;
        }
        let snapshot = serde_json::to_string(&pages.snapshot().await);
        let snapshot = snapshot.expect("names and numbers are JSON");
        // JSON has no line ends of its own.
        pages.live.feed.latest.send_replace(format!("data: {snapshot}\n\n").into());
    }
}

/// The stream for one more reader.
pub(super) fn answer(pages: &Arc<Pages>) -> Answer {
    let Some(reader) = pages.live.feed.read(pages) else {
        let text = format!("there are {READERS_MAX} readers, which is as many as may be\n");
        return page(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let events = stream::unfold(reader, |mut reader| async {
        reader.changed().await.ok()?;
        let event = reader.borrow_and_update().clone();
        Some((Ok(Frame::data(event)), reader))
    });
    fresh(of(StatusCode::OK, "text/event-stream", StreamBody::new(events).boxed_unsync()))
}

//! `/status/events`: a snapshot a second as server-sent events, one gathered for all readers.
//!
//! ```text
//!   first reader ─► task: gather, once a second ─► event ─► each reader that has read the last
//!   last reader leaves ─► the task ends: an agent without readers does no work
//! ```
//!
//! A reader that is slow misses snapshots; one that does not read for some seconds is cut off, as
//! every client of the listener. Readers are bounded.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use control::monitor::Monitor;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Duration, MissedTickBehavior, interval};

use super::answer::{Answer, fresh, page, respond};

/// Maximum number of concurrent readers: fewer than connections, so that other pages are answered.
pub(super) const READERS_MAX: usize = 16;

/// Time between two snapshots.
const PACE: Duration = Duration::from_secs(1);

/// The snapshots that readers wait for.
#[derive(Debug, Default)]
pub(super) struct Feed {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Number of events so far.
    number: u64,
    /// The last one.
    event: Bytes,
    readers: usize,
    /// Gathers, while there are readers.
    task: Option<JoinHandle<()>>,
}

impl Feed {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` while there are readers. Without readers the task ends.
    fn has_readers(&self) -> bool {
        let mut state = self.state();
        if state.readers == 0 {
            state.task = None;
        }
        state.task.is_some()
    }

    fn broadcast(&self, event: Bytes) {
        let mut state = self.state();
        state.number += 1;
        state.event = event;
        drop(state);
        self.news.notify_waiters();
    }

    /// Returns `true` while snapshots are gathered.
    #[cfg(test)]
    pub(super) fn is_at_work(&self) -> bool {
        self.state().task.is_some()
    }
}

/// One reader, counted until it is dropped.
struct Reader {
    feed: Arc<Feed>,
    /// The number of the last event that it has.
    seen: u64,
}

impl Reader {
    /// Adds a reader; `None` at the maximum. The first one starts the task.
    fn new(feed: &Arc<Feed>, monitor: &Arc<Monitor>) -> Option<Self> {
        let mut state = feed.state();
        if state.readers >= READERS_MAX {
            return None;
        }
        state.readers += 1;
        if state.task.as_ref().is_none_or(JoinHandle::is_finished) {
            state.task = Some(tokio::spawn(gather(feed.clone(), monitor.clone())));
        }
        Some(Self { feed: feed.clone(), seen: state.number })
    }

    /// Returns the newest event, as soon as there is one that this reader does not have.
    async fn next(&mut self) -> Bytes {
        let feed = &self.feed;
        loop {
            let mut news = pin!(feed.news.notified());
            // From here on no event is missed.
            news.as_mut().enable();
            let (number, event) = {
                let state = feed.state();
                (state.number, state.event.clone())
            };
            if number > self.seen {
                self.seen = number;
                return event;
            }
            news.await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.feed.state().readers -= 1;
    }
}

async fn gather(feed: Arc<Feed>, monitor: Arc<Monitor>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        if !feed.has_readers() {
            return;
        }
        let snapshot = serde_json::to_string(&monitor.snapshot().await);
        let snapshot = snapshot.expect("names and numbers are JSON");
        // The JSON contains no line ends.
        feed.broadcast(format!("data: {snapshot}\n\n").into());
    }
}

/// The stream for one more reader.
pub(super) fn answer(feed: &Arc<Feed>, monitor: &Arc<Monitor>) -> Answer {
    let Some(reader) = Reader::new(feed, monitor) else {
        let text = format!(
            "this page already has {READERS_MAX} readers, the maximum; close one and retry\n"
        );
        return page(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let events = stream::unfold(reader, |mut reader| async {
        Some((Ok(Frame::data(reader.next().await)), reader))
    });
    fresh(respond(StatusCode::OK, "text/event-stream", StreamBody::new(events).boxed_unsync()))
}

//! The handle of a group: asks for its state, and asks its sinks to settle.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::Guarantee;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Duration, Instant, timeout};

use super::Tasks;
use crate::group::{GroupView, Passed, Question};
use crate::opened::{NotOpen, Opened};
use crate::tap::Point;

/// A group that does not answer within this time is busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A group that runs.
pub struct GroupHandle {
    /// Of its configuration.
    pub digest: u64,
    /// Type of its processor.
    pub processor: String,
    /// The channel that it takes from.
    pub channel: Arc<str>,
    /// Type and promise of each member's sink, in the order of the group.
    pub sinks: Vec<(String, Guarantee)>,
    /// Names of these members.
    pub members: Vec<Arc<str>>,
    /// When it was started.
    pub since: Instant,
    /// Totals of events that have left the channel by it, across its restarts.
    pub(crate) passed: Arc<Passed>,
    /// The tap of batches that its members get.
    pub tap: Point,
    /// The state of that channel: the group starts when it is open.
    pub(super) opened: Opened,
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) flush: Arc<Notify>,
    /// The oldest question that it has not answered in time, and since when.
    pub(super) waits: Mutex<Option<(Instant, oneshot::Receiver<GroupView>)>>,
    pub(super) tasks: Tasks,
}

/// The answer of a group.
pub enum Answer {
    /// Its state.
    View(Box<GroupView>),
    /// No answer in time.
    Busy,
    /// It has not started: its channel is not open.
    NotBegun(NotOpen),
    /// It has ended.
    Ended,
}

impl GroupHandle {
    /// Returns `true` if it was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.tasks.stop.is_cancelled()
    }

    /// Asks its sinks to settle the batches that they hold; returns immediately.
    pub fn flush(&self) {
        self.flush.notify_one();
    }

    /// Queries the state of the group.
    pub async fn ask(&self) -> Answer {
        if let Some(why) = self.opened.reason() {
            return Answer::NotBegun(why);
        }
        let (question, mut answer) = oneshot::channel();
        let asked = async {
            self.questions.send(question).await.ok()?;
            (&mut answer).await.ok()
        };
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Some(view)) => Answer::View(Box::new(view)),
            Ok(None) => Answer::Ended,
            Err(_) => {
                self.unanswered_since();
                self.waits().get_or_insert((Instant::now(), answer));
                Answer::Busy
            }
        }
    }

    fn waits(&self) -> MutexGuard<'_, Option<(Instant, oneshot::Receiver<GroupView>)>> {
        // The value is replaced as a whole.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when a question waits for its answer that was not answered in time.
    pub fn unanswered_since(&self) -> Option<Instant> {
        let mut waits = self.waits();
        let (since, answer) = waits.as_mut()?;
        if matches!(answer.try_recv(), Err(TryRecvError::Empty)) {
            return Some(*since);
        }
        *waits = None;
        None
    }
}

//! Pauses before continuing a call, so that a close avoids a race of its client.
//!
//! To close a file, the client sends the last packet of the block to the DataNode, waits for its
//! acknowledgement, and immediately asks the NameNode to complete the file. The NameNode does so
//! only when the DataNode has reported the block, and that report leaves the DataNode at the same
//! time as the acknowledgement. It usually arrives a millisecond or two later; the client gets the
//! answer "not yet", and asks again after 500 ms, a time that cannot be configured.
//!
//! Each wait of the client's future ends with an answer. If the future is polled again a few
//! milliseconds after its wake-up, and not immediately, the request to complete the file arrives
//! after the report.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

/// Notifies when the work has to be polled again.
struct Wakeup(Notify);

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Runs `work`, but polls it only `pause` after each wake-up.
pub(crate) async fn delayed_close<F: Future>(pause: Duration, work: F) -> F::Output {
    let bell = Arc::new(Wakeup(Notify::new()));
    let waker = Waker::from(bell.clone());
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        bell.0.notified().await;
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(5);

    /// Each step follows an answer after a pause, and no answer is missed.
    #[tokio::test(start_paused = true)]
    async fn each_step_begins_a_pause_after_the_answer_before_it() {
        let start = Instant::now();
        let (first, acknowledged) = oneshot::channel();
        let (second, completed) = oneshot::channel();
        tokio::spawn(async move {
            sleep(Duration::from_millis(100)).await;
            first.send(()).unwrap();
            sleep(Duration::from_millis(1)).await;
            second.send(()).unwrap();
        });
        let steps = delayed_close(PAUSE, async {
            acknowledged.await.unwrap();
            let asked = Instant::now();
            completed.await.unwrap();
            asked
        });
        let asked = steps.await;
        assert_eq!(asked - start, Duration::from_millis(100) + PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_immediate_answer_takes_no_time() {
        let start = Instant::now();
        assert_eq!(delayed_close(PAUSE, async { 7 }).await, 7);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

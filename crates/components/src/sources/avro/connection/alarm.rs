//! One timer for all waits of a connection.
//!
//! Setting and removing a timer for each read would take a lock of the runtime twice per call. This
//! timer is reset only for an earlier deadline, or after it has fired: once per timeout, for any
//! number of calls.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A reusable timer.
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Creates a timer that fires after `first`, or earlier if needed.
    pub(super) fn new(first: Duration) -> Self {
        Self(Box::pin(sleep(first)))
    }

    /// Returns the result of `work`, or `None` if `deadline` comes first, which drops `work`.
    /// Cancel safe if `work` is.
    pub(super) async fn until<T>(
        &mut self,
        deadline: Instant,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let (sleep, mut work) = (&mut self.0, pin!(work));
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            while sleep.as_mut().poll(cx).is_ready() {
                if sleep.deadline() >= deadline {
                    return Poll::Ready(None);
                }
                // It fired for an earlier wait.
                sleep.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_at_its_own_deadline() {
        let (mut alarm, begun) = (Alarm::new(5 * SECOND), Instant::now());
        for (deadline, ends) in [(9, 9), (12, 12), (3, 12), (13, 13), (100, 100), (101, 101)] {
            let deadline = begun + deadline * SECOND;
            assert_eq!(alarm.until(deadline, pending::<()>()).await, None);
            assert_eq!(begun.elapsed().as_secs(), ends);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_alarm_continues_and_completed_work_counts_at_any_time() {
        let mut alarm = Alarm::new(SECOND);
        let deadline = Instant::now() + 10 * SECOND;
        assert_eq!(alarm.until(deadline, async { 1 }).await, Some(1));
        let work = async {
            sleep(5 * SECOND).await;
            2
        };
        assert_eq!(alarm.until(deadline, work).await, Some(2));
        advance(10 * SECOND).await;
        assert_eq!(alarm.until(deadline, async { 3 }).await, Some(3));
        assert_eq!(alarm.until(deadline, pending::<()>()).await, None);
    }
}

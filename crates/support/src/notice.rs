//! Waits for a change by other tasks, without missing it.

use std::pin::pin;

use tokio::sync::Notify;

/// Waits until `look` returns a value; it calls `look` again each time `news` is notified. If
/// several tasks wait, all must be woken.
///
/// A change between a call and the wait after it is not missed, if `news` is notified after the
/// change. Cancel safe: it keeps no state between two calls.
pub async fn until<T>(news: &Notify, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        let mut told = pin!(news.notified());
        told.as_mut().enable();
        if let Some(found) = look() {
            return found;
        }
        told.await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn notice_during_a_check_is_not_missed() {
        let (news, made, looks) = (Notify::new(), AtomicU32::new(0), AtomicU32::new(0));
        let found = until(&news, || {
            let seen = made.load(Ordering::SeqCst);
            // Something is done right after this look, and notified before the wait.
            if looks.fetch_add(1, Ordering::SeqCst) < 2 {
                made.fetch_add(1, Ordering::SeqCst);
                news.notify_waiters();
            }
            (seen == 2).then_some(seen)
        })
        .await;
        assert_eq!((found, looks.into_inner()), (2, 3));
    }
}

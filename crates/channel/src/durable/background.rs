//! Work on files that only closing the channel waits for: once another process owns the directory,
//! this one must not rename, create or remove anything in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipeline::Env;
use support::notice;
use tokio::sync::Notify;

/// Counts the work that is under way.
#[derive(Default)]
pub(crate) struct Background {
    running: AtomicUsize,
    idle: Notify,
}

/// A running task; it also ends when it panics.
struct Piece(Arc<Background>);

impl Drop for Piece {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Background {
    /// Starts `work` where blocking work runs.
    pub(crate) fn run(self: &Arc<Self>, env: &Env, work: impl FnOnce() + Send + 'static) {
        env.blocking.run(self.piece(work));
    }

    /// Starts `work` at low priority, so that it takes no core from new events.
    pub(crate) fn run_behind(self: &Arc<Self>, env: &Env, work: impl FnOnce() + Send + 'static) {
        env.blocking.run_behind(self.piece(work));
    }

    fn piece(
        self: &Arc<Self>,
        work: impl FnOnce() + Send + 'static,
    ) -> Box<dyn FnOnce() + Send + 'static> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let piece = Piece(self.clone());
        Box::new(move || {
            let _piece = piece;
            work();
        })
    }

    /// Waits until no task runs, including tasks started in the meantime.
    pub(crate) async fn rest(&self) {
        notice::until(&self.idle, || (self.running.load(Ordering::SeqCst) == 0).then_some(()))
            .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use pipeline::BuildContext;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn rest_comes_after_the_last_piece_of_work() {
        let env = BuildContext::alone("main", std::path::Path::new("/"), env::real()).env;
        let background = Arc::new(Background::default());
        background.rest().await;
        let (go, wait) = mpsc::channel::<()>();
        background.run(&env, move || wait.recv().expect("the test lets it go on"));
        let early = timeout(Duration::from_millis(50), background.rest()).await;
        assert!(early.is_err(), "there is work under way");
        go.send(()).expect("the work waits");
        background.rest().await;
    }
}

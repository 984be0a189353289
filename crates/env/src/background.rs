//! Low-priority threads for work that new events do not wait for.
//!
//! ```text
//!   the agent's runtime            source → put → acknowledged         sinks between tiers
//!   this one, nice 10              reading a backlog, writing the files of a store
//! ```
//!
//! A collector that drains a backlog uses a core or more for that. If all cores are in use, a fair
//! scheduler makes a new event wait for old ones, 20 to 50 ms at a time. It cannot distinguish them
//! unless they run in different threads with different priorities. On a machine with a spare core
//! it makes no difference.

use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// The priority of a thread, `nice(2)`: of two threads that both need one core, it gets a tenth.
const NICENESS: i32 = 10;

/// A runtime that is created on first use.
#[derive(Default)]
pub(crate) struct BackgroundRuntime(OnceLock<Option<Runtime>>);

impl BackgroundRuntime {
    /// The runtime; `instead` if its threads cannot be started.
    pub(crate) fn handle(&self, instead: Handle) -> Handle {
        let made = self.0.get_or_init(|| start().ok());
        made.as_ref().map_or(instead, |runtime| runtime.handle().clone())
    }
}

fn start() -> io::Result<Runtime> {
    let step_back = || {
        // An ordinary priority is not a reason to fail.
        let _ = rustix::process::nice(NICENESS);
    };
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name("aqueduct-behind").on_thread_start(step_back).build()
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take().flatten() {
            // Its owner may be dropped by a task, which must not wait. All that matters here is
            // waited for by the task that started it.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    /// Returns the niceness of the calling thread, as the kernel reports it.
    fn niceness() -> i32 {
        let stat = fs::read_to_string("/proc/thread-self/stat").expect("a thread has a stat");
        let behind_name = stat.rsplit(')').next().expect("something comes behind the name");
        let field = behind_name.split_whitespace().nth(16).expect("the niceness is the 19th field");
        field.parse().expect("a niceness is a number")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn only_background_work_runs_in_threads_of_low_priority() {
        let (env, own) = (crate::real(), niceness());
        let task = env.blocking.behind().spawn(async { niceness() }).await.expect("it ends");
        let (said, heard) = mpsc::channel();
        env.blocking.run_behind(Box::new(move || said.send(niceness()).expect("it is waited for")));
        let work = env.offload(move || heard.recv().expect("the work is done")).await;
        let stepped_back = (own + super::NICENESS).min(19);
        assert_eq!((task, work), (stepped_back, stepped_back));
        assert_eq!(env.offload(niceness).await, own);
    }

    #[tokio::test(start_paused = true)]
    async fn background_runtime_shares_the_paused_clock() {
        let env = crate::real();
        let start = tokio::time::Instant::now();
        let hour = std::time::Duration::from_secs(3600);
        env.blocking.behind().spawn(tokio::time::sleep(hour)).await.expect("it ends");
        assert_eq!(start.elapsed(), hour);
    }
}

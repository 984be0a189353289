//! The liveness of an agent: for `/livez`, and for the watchdog of a service manager.
//!
//! ```text
//!   a task of a source, sink or group has panicked ──────┐
//!   a group answers no query ────────────────────────────┼─► dead: a restart helps
//!   a source's batch is with its intake, and none moves ─┘
//! ```
//!
//! Parts that wait for a neighbour or for room are alive: a sink that cannot reach its store, a
//! channel that is full or not open. A restart would not help there.

use futures::future::join_all;
use tokio::time::{Duration, Instant};

use agent::health::Health;
use agent::running::{Answer, Parts, Running};

/// How long work may pause if no service manager sets a limit: a slow disk takes seconds.
pub const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Returns the parts that are dead, or have not moved for `patience`, line by line; empty if all
/// are alive.
pub async fn dead(running: &Running, health: &Health, patience: Duration) -> Vec<String> {
    let parts = running.parts();
    let mut lines = health.panicked();
    lines.extend(groups(&parts, patience).await);
    let now = Instant::now();
    for (name, handle) in parts.sources.iter().filter(|(_, handle)| !handle.is_stopped()) {
        let still = handle.stalled_since().map(|since| now.saturating_duration_since(since));
        if let Some(still) = still.filter(|still| *still >= patience) {
            lines.push(format!(
                "source `{name}` is stuck: no batch was stored or refused for {} s; restart the \
                 agent",
                still.as_secs()
            ));
        }
    }
    lines
}

async fn groups(parts: &Parts, patience: Duration) -> Vec<String> {
    let running = parts.groups.iter().filter(|(_, handle)| !handle.is_stopped());
    let asked = running.map(async |(name, handle)| match handle.ask().await {
        Answer::View(_) | Answer::NotBegun(_) => None,
        // It may have been stopped in the meantime.
        Answer::Ended if handle.is_stopped() => None,
        Answer::Ended => Some(format!("group `{name}`: its task has ended; restart the agent")),
        Answer::Busy => {
            let silent = handle.unanswered_since()?.elapsed();
            let seconds = silent.as_secs();
            (silent >= patience).then(|| {
                format!("group `{name}` is stuck: no response for {seconds} s; restart the agent")
            })
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

//! The three agents of the demo as one: start, stop, and the kill of a collector.

use std::time::Duration;

use pipeline::Env;
use support::loopback::find_free_address;
use tokio::time::{Instant, sleep};

use crate::agents::{Agent, Folder};
use crate::{DemoError, Layout};

/// Interval between two looks at the collectors.
const POLL: Duration = Duration::from_millis(20);

/// Limit for the collectors to store everything after the edge has stopped.
const DELIVERY: Duration = Duration::from_secs(90);

/// The three processes.
pub(crate) struct Cast {
    pub(crate) edge: Agent,
    pub(crate) collectors: [Agent; 2],
}

/// The collector that was killed.
pub(crate) struct Victim {
    pub(crate) index: usize,
    since: Instant,
    /// Whether it runs again.
    pub(crate) restarted: bool,
}

impl Cast {
    /// Starts the agents, and waits until they are ready.
    pub(crate) async fn start(
        folder: &Folder,
        layout: &dyn Layout,
        patterns: &[String],
    ) -> Result<Self, DemoError> {
        let address = || find_free_address().map(|it| it.to_string()).map_err(DemoError::Port);
        let listen = [address()?, address()?];
        let mut cast = Self {
            collectors: [
                folder.collector("collector-1", &listen[0], &address()?, layout)?,
                folder.collector("collector-2", &listen[1], &address()?, layout)?,
            ],
            edge: folder.edge(patterns, &listen, &address()?)?,
        };
        for collector in &mut cast.collectors {
            collector.start()?;
        }
        for collector in &mut cast.collectors {
            collector.ready(&folder.env).await?;
        }
        cast.edge.start()?;
        cast.edge.ready(&folder.env).await?;
        Ok(cast)
    }

    /// The agents, the edge first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Agent> {
        [&self.edge].into_iter().chain(&self.collectors)
    }

    /// Checks that no agent has exited.
    pub(crate) fn must_run(&mut self, env: &Env) -> Result<(), DemoError> {
        self.edge.must_run(env)?;
        self.collectors.iter_mut().try_for_each(|collector| collector.must_run(env))
    }

    /// Kills the collector that has received the most lines; also returns how many lines it holds.
    pub(crate) async fn kill_one(&mut self, env: &Env) -> (Victim, u64) {
        let mut received = [0; 2];
        let mut held = [0; 2];
        for (index, collector) in self.collectors.iter().enumerate() {
            if let Some(metrics) = collector.metrics(env).await {
                received[index] = metrics.sum("aqueduct_source_events_total");
                held[index] = metrics.sum("aqueduct_channel_events");
            }
        }
        let index = usize::from(received[1] > received[0]);
        self.collectors[index].kill();
        (Victim { index, since: Instant::now(), restarted: false }, held[index])
    }

    /// Restarts the killed collector once it was down for `down`; returns it if it did.
    pub(crate) fn restart(
        &mut self,
        victim: &mut Victim,
        down: Duration,
    ) -> Result<Option<&Agent>, DemoError> {
        if victim.restarted || victim.since.elapsed() < down {
            return Ok(None);
        }
        let collector = &mut self.collectors[victim.index];
        collector.start()?;
        victim.restarted = true;
        Ok(Some(collector))
    }

    /// Waits until the collectors have stored every line that they hold.
    pub(crate) async fn empty(&mut self, env: &Env) -> Result<(), DemoError> {
        let since = Instant::now();
        for collector in &mut self.collectors {
            loop {
                collector.must_run(env)?;
                let metrics = collector.metrics(env).await;
                let empty = metrics.is_some_and(|it| it.sum("aqueduct_channel_events") == 0);
                if empty || since.elapsed() > DELIVERY {
                    break;
                }
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Stops the edge, then the collectors once they are empty.
    pub(crate) async fn stop(mut self, env: &Env) -> Result<(), DemoError> {
        self.edge.stop(env).await?;
        self.empty(env).await?;
        for collector in &mut self.collectors {
            collector.stop(env).await?;
        }
        Ok(())
    }
}

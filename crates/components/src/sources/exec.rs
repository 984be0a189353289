//! `exec`: runs a command; each line of its output is an event.
//!
//! A line ends with LF or CR LF, and its bytes are passed on unchanged; the last line may lack its
//! end. A line over `line_max` is cut there, gets the header `truncated`, and is counted.
//!
//! With `multiline` the source joins lines; the end of the output, a stop, and a pause of `timeout`
//! end the last event.
//!
//! Delivery is best effort: output that no channel has stored is lost with the agent or the
//! command, and cannot be requested again. While a channel is full or fails, the source does not
//! read the output, which blocks the command at its next write.
//!
//! ```text
//!   open: start ─► run: lines ─► batch ─► Intake
//!    ▲                    └─ its output ends ─┬─ no `restart` ─► the source has finished
//!    │                                        ├─ success ─► pause ─► start again
//!    └─────── pause ◄──── back-off ◄──────────┴─ failure: an error of the source
//! ```
//!
//! The command has its own process group. At a stop the group gets SIGTERM, and SIGKILL if the
//! output has not ended after 2 s. If the agent itself is killed, the command continues until its
//! next write, which fails.

mod config;
mod follow;
#[cfg(test)]
mod tests;

use std::process::ExitStatus;
use std::sync::Arc;

use async_trait::async_trait;
pub use config::Config;
use config::Options;
use follow::{Ending, Follower};
use kit::gathered::Destination;
use kit::listening::DRAIN;
use metrics::Metrics;
use pipeline::env::Started;
use pipeline::{
    BuildContext, BuildError, Component, Env, ErrorClass, Guarantee, ResendMode, Source,
    SourceContext, SourceError,
};
use tokio::time::{Instant, sleep, sleep_until};

impl Component for Config {
    const KIND: &'static str = "exec";
    const ANOMALIES: &[&str] =
        &["command_failed", "event_divided", "framing_lost", "line_cut", "lines_refused"];
    const EXAMPLE: &str = r#"command = ["true"]"#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        Ok(Box::new(Exec {
            name: cx.name.clone(),
            options: self.options()?,
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            not_before: None,
            started: None,
        }))
    }
}

struct Exec {
    name: Arc<str>,
    options: Options,
    env: Env,
    metrics: Metrics,
    /// Time before which a failed command is not started again.
    not_before: Option<Instant>,
    /// Present between opening and running.
    started: Option<Started>,
}

impl Exec {
    fn start(&self) -> Result<Started, SourceError> {
        let (program, arguments) = (&self.options.program, &self.options.arguments);
        let started = self.env.blocking.start(program, arguments);
        started.map_err(|error| {
            self.failed(
                "cannot be started; correct `command`, and give the user of the agent the right to \
                 execute it",
                Some(error.into()),
            )
        })
    }

    fn failed(
        &self,
        what: &str,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> SourceError {
        let message = format!("command `{}` {what}", self.options.shown);
        SourceError { class: ErrorClass::Transient, message, source }
    }

    /// Describes the exit of a command, with the last line of its standard error.
    fn says(status: ExitStatus, last_error: Option<&str>) -> String {
        let said = last_error.map(|line| format!(": {line}")).unwrap_or_default();
        format!("ended with {status}{said}")
    }

    async fn commands(&mut self, cx: &SourceContext, to: &Destination) -> Result<(), SourceError> {
        let mut started = self.started.take();
        loop {
            let command = match started.take() {
                Some(command) => command,
                None => self.start()?,
            };
            let follower = Follower::new(&self.options, &self.env, to, cx);
            let (status, last_error) = match follower.follow(command).await {
                Ok(Ending::Stopped) => return Ok(()),
                Ok(Ending::Ended { status, last_error }) => (status, last_error),
                Err(error) => {
                    return Err(
                        self.failed("cannot be read; starting it again", Some(error.into()))
                    );
                }
            };
            let says = Self::says(status, last_error.as_deref());
            if !status.success() {
                to.count("command_failed", 1);
            }
            if !self.options.restart {
                tracing::info!(source = %self.name, "command `{}` {says}", self.options.shown);
                return Ok(());
            }
            if !status.success() {
                self.not_before = Some(Instant::now() + self.options.restart_throttle);
                return Err(self.failed(&says, None));
            }
            let pause = sleep(self.options.restart_throttle);
            if cx.stop.run_until_cancelled(pause).await.is_none() {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Source for Exec {
    fn guarantee(&self) -> Guarantee {
        // A command cannot repeat its output.
        Guarantee::BestEffort
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
        }
        self.started = Some(self.start()?);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let (name, metrics) = (self.name.clone(), self.metrics.clone());
        let to = Destination::new(name, metrics, cx.intake.clone(), self.options.batch_events);
        let ended = self.commands(&cx, &to).await;
        to.finish(DRAIN).await;
        ended
    }
}

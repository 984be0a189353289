//! One run of a command, from start to end.

use std::io;
use std::process::ExitStatus;

use kit::command_errors::Errors;
use kit::gathered::{Destination, FRAMING_LOST, Gathered};
use kit::multiline::EVENT_DIVIDED;
use kit::multiline::stream::{EventStream, NextEvent};
use kit::waits::until;
use pipeline::env::{Process, Started};
use pipeline::{Classify, Env, ErrorClass, Frame, FramingLost, IntakeError, SourceContext};
use support::backoff::jittered;
use support::failure_log::{FailureLog, seconds};
use tokio::io::AsyncReadExt;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use super::config::Options;

/// Read size.
const READ_BYTES: usize = 64 << 10;
/// Time limit for a command to exit once the source stops.
const END_WITHIN: Duration = Duration::from_secs(2);
/// Time limit for storing the output of a command that did not exit.
const STORE_WITHIN: Duration = Duration::from_secs(1);
/// Pauses between attempts to store a batch.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Result of the run.
pub(super) enum Ending {
    /// The source was stopped.
    Stopped,
    /// The command has exited.
    Ended { status: ExitStatus, last_error: Option<String> },
}

/// Reads one command.
pub(super) struct Follower<'a> {
    options: &'a Options,
    env: &'a Env,
    to: &'a Destination,
    cx: &'a SourceContext,
    lines: EventStream,
    gathered: Gathered,
    /// Time at which the first line of the batch has waited long enough.
    due: Option<Instant>,
    trouble: FailureLog,
}

impl<'a> Follower<'a> {
    pub(super) fn new(
        options: &'a Options,
        env: &'a Env,
        to: &'a Destination,
        cx: &'a SourceContext,
    ) -> Self {
        let lines = EventStream::lines(options.line_max, options.joining.clone());
        let (gathered, trouble) = (Gathered::default(), FailureLog::default());
        Self { options, env, to, cx, lines, gathered, due: None, trouble }
    }

    /// Reads the command until it ends or the source stops, which ends the command.
    ///
    /// # Errors
    /// Fails if its output cannot be read.
    pub(super) async fn follow(mut self, started: Started) -> io::Result<Ending> {
        let Started { mut output, errors, mut process } = started;
        let (source, log) = (self.to.source.clone(), self.options.log_stderr);
        let errors = Errors::read(errors, move |line| {
            if log {
                tracing::warn!(source = %source, line, "the command wrote a line to standard \
                                                        error; it is not stored as an event; if it \
                                                        is an error, correct the command");
            }
        });
        let stop = self.cx.stop.clone();
        loop {
            self.lines.buffer().reserve(READ_BYTES);
            let (due, event_due) = (self.due, self.lines.due());
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                read = output.read_buf(self.lines.buffer()) => read?,
                () = until(due) => {
                    stop.run_until_cancelled(self.store()).await;
                    continue;
                }
                () = until(event_due) => {
                    stop.run_until_cancelled(self.end_event()).await;
                    continue;
                }
            };
            stop.run_until_cancelled(self.take_lines()).await;
            if read == 0 {
                let Some(status) = stop.run_until_cancelled(self.end(&mut *process)).await else {
                    break;
                };
                let last_error = errors.last().await;
                return Ok(Ending::Ended { status: status?, last_error });
            }
        }
        // Read its remaining output.
        process.end(false);
        let last_until = Instant::now() + END_WITHIN;
        let last = async {
            while output.read_buf(self.lines.buffer()).await.is_ok_and(|read| read > 0) {
                self.take_lines().await;
                self.lines.buffer().reserve(READ_BYTES);
            }
            self.end(&mut *process).await
        };
        if timeout_at(last_until, last).await.is_err() {
            tracing::info!(source = %self.to.source, "killing the command, because it did not \
                                                      exit");
            let _ = timeout(STORE_WITHIN, self.finish()).await;
        }
        // Dropping a running process kills it with its group.
        Ok(Ending::Stopped)
    }

    async fn take_lines(&mut self) {
        self.push_all(EventStream::next).await;
    }

    async fn push_all(&mut self, next: NextEvent) {
        loop {
            match next(&mut self.lines, self.to.event_bytes_max()) {
                Ok(Some(event)) => self.push(event).await,
                Ok(None) => break,
                // The cut line was counted; a command cannot resend its output.
                Err(FramingLost { .. }) => self.to.count(FRAMING_LOST, 1),
            }
        }
        self.count_divided();
    }

    /// Ends the open events after a timeout.
    async fn end_event(&mut self) {
        while let Some(event) = self.lines.end() {
            self.push(event).await;
        }
    }

    /// Stores the rest after the end of the output, and waits for the process to exit.
    async fn end(&mut self, process: &mut dyn Process) -> io::Result<ExitStatus> {
        self.finish().await;
        process.ended().await
    }

    /// Stores the rest.
    async fn finish(&mut self) {
        self.push_all(EventStream::rest).await;
        self.store().await;
    }

    fn count_divided(&mut self) {
        let divided = self.lines.take_divided();
        if divided > 0 {
            self.to.count(EVENT_DIVIDED, divided);
        }
    }

    async fn push(&mut self, event: Frame) {
        if self.gathered.is_full(event.message.len(), self.to) {
            self.store().await;
        }
        if event.is_cut {
            self.to.count("line_cut", 1);
        }
        let headers: &[(&str, &str)] = if event.is_cut { &[("truncated", "true")] } else { &[] };
        self.gathered.push(&event.message, headers);
        if self.gathered.is_complete(self.to) {
            self.store().await;
        } else {
            self.due.get_or_insert_with(|| Instant::now() + self.options.batch_timeout);
        }
    }

    /// Stores the batch, and retries until it succeeds or the source stops.
    async fn store(&mut self) {
        self.due = None;
        if self.gathered.is_empty() {
            return;
        }
        let (batch, to) = (self.gathered.take(), self.to);
        loop {
            let error = match to.store(batch.clone()).await {
                Ok(()) => break,
                Err(IntakeError::Stopping) => return,
                Err(error) => error,
            };
            match error.class() {
                ErrorClass::Transient | ErrorClass::Indeterminate => {}
                ErrorClass::Poison | ErrorClass::Blocked | ErrorClass::Fatal => {
                    let events = batch.len() as u64;
                    tracing::warn!(
                        source = %to.source, events, %error,
                        "a channel rejected events, which are lost; fix the cause in `error`",
                    );
                    to.count("lines_refused", events);
                    return;
                }
            }
            let (now, text) = (Instant::now(), error.to_string());
            self.trouble.count(now);
            if let Some((failures, lasts)) = self.trouble.should_log(now, &text) {
                tracing::warn!(
                    source = %to.source, error = %text, failures, lasts_seconds = seconds(lasts),
                    "cannot store a batch of the lines of the command; retrying; no event is lost; \
                     fix the cause in `error`",
                );
            }
            let random = self.env.entropy.next_u64();
            sleep(jittered(RETRY.0, RETRY.1, self.trouble.failures(), random)).await;
        }
        if let Some((failures, lasted)) = self.trouble.over(Instant::now()) {
            tracing::info!(
                source = %to.source, failures, lasted_seconds = seconds(lasted),
                "batches are stored again",
            );
        }
    }
}

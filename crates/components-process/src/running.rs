//! One process of a plug-in: start, handshake, request and answer, stop.

use std::time::Duration;

use kit::command_errors::Errors;
use pipeline::env::{Child, Connecting, Process, Stream};
use support::log_rate::LogRate;
use tokio::time::{Instant, timeout};

use crate::config::Options;
use crate::error::Fault;
use crate::frame;
use crate::v1::{Welcome, from_agent, from_plugin};
use crate::{SOCKET, VERSION};

/// Lines of a plug-in that are logged in a minute.
const LINES_PER_MINUTE: u32 = 60;
/// How long a process may run after its connection was closed.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// How long to wait for the status of a process that has closed its connection.
const STATUS_WITHIN: Duration = Duration::from_millis(500);

/// The role of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Interceptor,
    Selector,
    Sink,
    Encoder,
}

impl Role {
    /// Its name in the contract and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Interceptor => "interceptor",
            Self::Selector => "selector",
            Self::Sink => "sink",
            Self::Encoder => "encoder",
        }
    }
}

/// A process that is ready. Dropped, it is killed with all processes of its group.
pub(crate) struct Running {
    stream: Box<dyn Stream>,
    process: Box<dyn Process>,
    printed: Errors,
    /// Number of the last request.
    number: u64,
    frame_max: usize,
}

impl Running {
    /// Starts a process; `position` is that of a source.
    ///
    /// # Errors
    /// It is not ready in time, or does not fit the configuration.
    pub(crate) async fn start(options: &Options, position: &[u8]) -> Result<Self, Fault> {
        let connecting = Connecting {
            command: &options.command,
            variable: SOCKET,
            memory_max: options.memory_max,
        };
        let started = options.env.blocking.start_connecting(&connecting);
        let Child { printed, mut process, connected } =
            started.map_err(|error| Fault::start(error, &options.command))?;
        let (shown, rate) = (options.shown.clone(), LogRate::new(LINES_PER_MINUTE));
        let printed = Errors::read(printed, move |line| {
            if let Some(left_out) = rate.allow(Instant::now()) {
                tracing::info!(plugin = %shown, line, left_out, "the plug-in wrote a line to \
                                                                 standard error");
            }
        });
        let (hello, frame_max) = (options.hello(position), options.frame_max);
        let greeting = async {
            let mut stream = connected.await.map_err(Fault::Closed)?;
            let hello = from_agent::Message::Hello(hello);
            frame::write(&mut *stream, hello).await.map_err(Fault::Closed)?;
            Ok((frame::read(&mut *stream, frame_max).await?, stream))
        };
        let greeted = tokio::select! {
            biased;
            greeted = timeout(options.start_timeout, greeting) => {
                greeted.unwrap_or(Err(Fault::NotReady(options.start_timeout)))
            }
            ended = process.ended() => {
                let status = ended.map_err(Fault::Closed)?;
                return Err(Fault::Ended { status, last_line: printed.last().await });
            }
        };
        match greeted.and_then(|(answer, stream)| check_welcome(answer, options, stream)) {
            Ok((welcome, stream)) => {
                let kind = welcome.kind;
                tracing::info!(plugin = %options.shown, kind, "the plug-in is ready");
                Ok(Self { stream, process, printed, number: 0, frame_max })
            }
            Err(fault) => Err(explain(fault, process, printed).await),
        }
    }

    /// Returns the number of the next request.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Sends a request and returns its answer. If this is dropped before its end, the process must
    /// not be used again.
    ///
    /// # Errors
    /// The process gives no answer in time, or one beyond the bounds.
    pub(crate) async fn ask(
        &mut self,
        request: from_agent::Message,
        limit: Duration,
    ) -> Result<from_plugin::Message, Fault> {
        let asked = async {
            frame::write(&mut *self.stream, request).await.map_err(Fault::Closed)?;
            frame::read(&mut *self.stream, self.frame_max).await
        };
        match timeout(limit, asked).await.unwrap_or(Err(Fault::Slow(limit)))? {
            from_plugin::Message::Failed(failed) => Err(Fault::Failed(failed.reason)),
            answer => Ok(answer),
        }
    }

    /// Ends the process after this fault, and returns the fault with the end of the process, if
    /// that was the cause.
    pub(crate) async fn end(self, fault: Fault) -> Fault {
        let Self { stream, process, printed, .. } = self;
        drop(stream);
        explain(fault, process, printed).await
    }

    /// Closes the connection, waits until the process has ended, and kills it after a time limit.
    pub(crate) async fn stop(self) {
        let Self { stream, mut process, .. } = self;
        drop(stream);
        if timeout(STOP_WITHIN, process.ended()).await.is_err() {
            tracing::info!(
                "killing a plug-in, because it did not exit after its connection was closed"
            );
        }
    }
}

/// Returns how a process has ended, if it has closed its connection; otherwise kills it.
async fn explain(fault: Fault, mut process: Box<dyn Process>, printed: Errors) -> Fault {
    let Fault::Closed(error) = fault else { return fault };
    match timeout(STATUS_WITHIN, process.ended()).await {
        Ok(Ok(status)) => Fault::Ended { status, last_line: printed.last().await },
        Ok(Err(_)) | Err(_) => Fault::Closed(error),
    }
}

/// Compares the plug-in with the configuration.
fn check_welcome(
    answer: from_plugin::Message,
    options: &Options,
    stream: Box<dyn Stream>,
) -> Result<(Welcome, Box<dyn Stream>), Fault> {
    let welcome = match answer {
        from_plugin::Message::Welcome(welcome) => welcome,
        from_plugin::Message::Failed(failed) => return Err(Fault::Failed(failed.reason)),
        _ => return Err(Fault::Unusable("the answer to Hello must be Welcome".to_owned())),
    };
    if welcome.version != VERSION {
        return Err(Fault::Version(welcome.version));
    }
    if welcome.role != options.role.name() {
        return Err(Fault::Role { found: welcome.role, expected: options.role.name() });
    }
    if welcome.effect && !options.may_have_effect {
        return Err(Fault::Effect);
    }
    Ok((welcome, stream))
}

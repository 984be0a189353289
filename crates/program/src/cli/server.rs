//! The process of a server that is not an agent: log, runtime, signals.

use std::pin::pin;
use std::process::ExitCode;

use futures::StreamExt;
use pipeline::Env;
use tracing::info;

use super::{EXIT_RUNTIME, LogFormat, in_process, print_line};
use crate::RELOAD;
use crate::signals::Signals;

/// Runs a server until a signal stops it. A server that ends by itself returns the problem.
pub fn serve(
    log_format: LogFormat,
    server: impl AsyncFnOnce(&Env) -> Result<(), String>,
) -> ExitCode {
    in_process(log_format, |env| {
        let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let ran = built.map_err(|error| {
            format!(
                "cannot start threads: {error}; raise the limit of processes (`ulimit -u`, \
                 TasksMax= of systemd)"
            )
        });
        let ran = ran.and_then(|runtime| {
            let ended = runtime.block_on(until_signal(server(env)));
            // A write to a dead disk may hang.
            runtime.shutdown_background();
            ended
        });
        match ran {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                print_line(&problem);
                ExitCode::from(EXIT_RUNTIME)
            }
        }
    })
}

async fn until_signal(server: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let signals = Signals::listen();
    let signals = signals
        .map_err(|error| format!("cannot register signal handlers: {error}; check `ulimit -n`"))?;
    let (mut signals, mut server) = (pin!(signals.into_stream()), pin!(server));
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Some(RELOAD) => info!("signal ignored: files are read again without it"),
                signal => {
                    info!(signal, "stopped by a signal");
                    return Ok(());
                }
            },
            ended = &mut server => return ended,
        }
    }
}

//! The accept loop of sources that listen: a bounded number of connections, each served in a task of
//! its own, until the source stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pipeline::env::{Listener, Net, Stream};
use pipeline::{BuildError, ErrorClass, SourceError};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Pause after a connection could not be accepted: most often there are no file handles.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How long connections may take to end once the source stops.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// An address to listen on is `host:port`.
pub(super) fn check_address(setting: &str, address: &str) -> Result<(), BuildError> {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_some() {
        return Ok(());
    }
    let problem = "no host and port; write for example \"0.0.0.0:8080\"";
    Err(BuildError::invalid(setting, problem))
}

/// Listens on `address`.
pub(super) async fn listen(net: &dyn Net, address: &str) -> Result<Box<dyn Listener>, SourceError> {
    net.listen(address).await.map_err(|error| SourceError {
        class: ErrorClass::Transient,
        message: format!("cannot listen on {address}"),
        source: Some(error.into()),
    })
}

/// Serves connections, at most `max` at a time, by `serve`, which is given each connection with its
/// peer's address. Ends after `stop`, when the connections have ended, at most [`DRAIN`] later: what
/// is left then is cut off.
pub(super) async fn serve<F, S>(
    listener: Box<dyn Listener>,
    source: &str,
    max: usize,
    stop: &CancellationToken,
    serve: S,
) where
    S: Fn(Box<dyn Stream>, String) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(max));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let _cut_on_drop = cut.clone().drop_guard();
    let accept = async {
        loop {
            let place = places.clone().acquire_owned().await.expect("places are never closed");
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (served, cut) = (serve(stream, peer), cut.clone());
                    connections.spawn(async move {
                        // A connection that was cut off has no result.
                        let _ = cut.run_until_cancelled(served).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(source, %error, "cannot accept a connection");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = accept => {}
    }
    connections.close();
    let _ = timeout(DRAIN, connections.wait()).await;
}

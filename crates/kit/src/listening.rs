//! The accept loop of sources that listen: serves a bounded number of connections, each in its own
//! task, until the source stops. Every stream passes [`Accepted`], where it can be wrapped.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use metrics::Metrics;
use peers::RefusalBoard;
use pipeline::env::{Listener, Net, Stream};
use pipeline::plain_text;
use pipeline::{BuildContext, BuildError, ErrorClass, SourceError};
use tls::{ClientNames, ServerTls, Visitor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::tenants::Peer;

/// Pause after an error of accepting: most often there are no file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Time limit for connections to end once the source stops.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Checks that an address has the form `host:port`.
pub fn check_address(setting: &str, address: &str) -> Result<(), BuildError> {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_some() {
        return Ok(());
    }
    let problem = "must have a host and a port; write for example \"0.0.0.0:8080\"";
    Err(BuildError::invalid(setting, problem))
}

/// Returns the host of an address `host:port`.
pub fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']'])
}

/// TLS of a source, and its counter of failed handshakes.
#[derive(Clone)]
pub struct Guard {
    server: tls::Server,
    source: Arc<str>,
    metrics: Metrics,
    refusals: RefusalBoard,
}

impl Guard {
    /// Creates TLS from the setting `tls`, for the listeners on these addresses with the names of
    /// their settings. `protocols` are offered by ALPN.
    pub fn new(
        settings: Option<ServerTls>,
        addresses: &[(&str, &str)],
        cx: &BuildContext,
        protocols: &[&str],
    ) -> Result<Option<Self>, BuildError> {
        let Some(settings) = settings else {
            for (setting, address) in addresses {
                cx.plain_text.speaks(setting, address, plain_text::TABLE);
            }
            return Ok(None);
        };
        let server = tls::Server::new(settings, &cx.env, protocols)?;
        Ok(Some(Self {
            server,
            source: cx.name.clone(),
            metrics: cx.metrics.clone(),
            refusals: cx.get(),
        }))
    }

    /// Adds an action on a stream before its handshake.
    pub fn with_prelude(self, prelude: tls::Prelude) -> Self {
        Self { server: self.server.with_prelude(prelude), ..self }
    }

    /// Wraps a stream in TLS. The first read does the handshake, so it happens in the connection's
    /// task and counts against the limit of open connections.
    fn wrap(&self, stream: Box<dyn Stream>, peer: &str) -> (Box<dyn Stream>, ClientNames) {
        let (source, metrics) = (self.source.clone(), self.metrics.clone());
        let visitor = Visitor {
            board: self.refusals.clone(),
            component: format!("source {source}").into(),
            peer: peer.into(),
        };
        self.server.wrap(stream, visitor, move || metrics.count_anomaly(&source, "tls_failed", 1))
    }
}

/// Listens on `address`, after reading the certificates.
pub async fn listen(
    net: &dyn Net,
    address: &str,
    tls: Option<&Guard>,
) -> Result<Box<dyn Listener>, SourceError> {
    if let Some(guard) = tls {
        guard.server.load().await.map_err(|error| SourceError {
            class: ErrorClass::Transient,
            message: format!(
                "cannot listen on {address} with TLS; correct the settings of `tls` of this source"
            ),
            source: Some(error.into()),
        })?;
    }
    net.listen(address).await.map_err(|error| SourceError {
        class: ErrorClass::Transient,
        message: "cannot listen; use a free address of this host, and give the agent the right to \
                  use ports below 1024"
            .into(), // the cause names the address
        source: Some(error.into()),
    })
}

/// An accepted connection.
pub struct Accepted {
    /// Its stream.
    pub stream: Box<dyn Stream>,
    /// The peer. Names that it proves are known after the handshake.
    pub peer: Peer,
    /// Number of open connections of this listener, including this one.
    pub open: usize,
    /// Cancelled when the time for an orderly end is over.
    pub cut: CancellationToken,
    /// Held while the connection counts as open.
    pub place: OwnedSemaphorePermit,
}

impl Accepted {
    /// Every stream of every listener passes through here, and is wrapped here, for example in TLS.
    fn new(
        (stream, peer): (Box<dyn Stream>, String),
        tls: Option<&Guard>,
        open: usize,
        cut: &CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (stream, names) = match tls {
            Some(guard) => guard.wrap(stream, &peer),
            None => (stream, ClientNames::default()),
        };
        let peer = Peer { address: peer.into(), names };
        Self { stream, peer, open, cut: cut.clone(), place }
    }
}

/// Limits of a listener's connections.
#[derive(Clone, Copy)]
pub struct Allowed<'a> {
    /// Maximum number of open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Time limit for them to end once the source stops.
    pub drain: Duration,
    /// TLS, if it is required.
    pub tls: Option<&'a Guard>,
}

/// Accepts connections until `stop`, and spawns the future that `begin` returns for each; the
/// future must end when its connection is cut. Returns when all have ended, at the latest after
/// `allowed.drain`: the others are cut then, as when this future is dropped.
pub async fn accept<F>(
    listener: Box<dyn Listener>,
    source: &str,
    allowed: Allowed<'_>,
    stop: &CancellationToken,
    begin: impl Fn(Accepted) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(allowed.connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let _cut_on_drop = cut.clone().drop_guard();
    let accept = async {
        loop {
            let place = places.clone().acquire_owned().await.expect("places are never closed");
            match listener.accept().await {
                Ok(accepted) => {
                    let open = allowed.connections - places.available_permits();
                    connections.spawn(begin(Accepted::new(
                        accepted,
                        allowed.tls,
                        open,
                        &cut,
                        place,
                    )));
                }
                Err(error) => {
                    warn!(source, %error, "cannot accept a connection of a client; retrying; if \
                                           this lasts, check the limit of open files (`ulimit \
                                           -n`)");
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
    let _ = timeout(allowed.drain, connections.wait()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_once_with_the_cause() {
        let env = env::real();
        let taken = env.net.listen("127.0.0.1:0").await.unwrap();
        let address = taken.local_address();
        let error = listen(&*env.net, &address, None).await.err().unwrap();
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.starts_with("cannot listen; use a free address"), "{text}");
        assert_eq!(text.matches(&address).count(), 1, "{text}");
    }
}

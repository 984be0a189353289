//! Connections through [`pipeline::Env`], in the shape that tonic asks for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use pipeline::env::Stream;
use tls::Dialer;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use super::GrpcError;

/// How often a silent connection is probed, and how long the answer may take.
const PROBE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));

/// Connects to one address. TLS, where there is one, is inside of what tonic sees.
pub(super) struct Connector {
    pub(super) dialer: Dialer,
    pub(super) address: Arc<str>,
}

impl Connector {
    pub(super) async fn open(self, endpoint: &Endpoint) -> Result<Channel, GrpcError> {
        let address = self.address.clone();
        let endpoint = endpoint
            .clone()
            .http2_keep_alive_interval(PROBE.0)
            .keep_alive_timeout(PROBE.1)
            .keep_alive_while_idle(true);
        let opened = endpoint.connect_with_connector(self).await;
        opened.map_err(|cause| GrpcError::Connect { address: address.to_string(), cause })
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let (dialer, address) = (self.dialer.clone(), self.address.clone());
        Box::pin(async move { dialer.connect(&address).await.map(TokioIo::new) })
    }
}

//! Connections through [`pipeline::Env`], in the shape that tonic asks for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use pipeline::env::{Net, Stream};
use tonic::transport::Uri;
use tower::Service;

/// Connects to one address.
pub(super) struct Connector {
    pub(super) net: Arc<dyn Net>,
    pub(super) address: Arc<str>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let (net, address) = (self.net.clone(), self.address.clone());
        Box::pin(async move { net.connect(&address).await.map(TokioIo::new) })
    }
}

//! The source around a protocol.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use pipeline::env::Listener;
use pipeline::{Guarantee, ResendMode, Resource, Source, SourceContext, SourceError};
use support::mutant;

use super::{Connected, Ports, Put, Serve};
use crate::listening::{self, Accepted};
use crate::tenants::Client;

/// A source that serves its clients by this protocol.
pub struct Served<S> {
    serve: Arc<S>,
    ports: Ports,
    /// Present between opening and running.
    listeners: Vec<Box<dyn Listener>>,
}

impl<S: Serve> Served<S> {
    /// Creates the source.
    pub fn new(ports: Ports, serve: S) -> Self {
        Self { serve: Arc::new(serve), ports, listeners: Vec::new() }
    }

    /// Serves the connections of one port until the source stops.
    async fn on(&self, listener: Box<dyn Listener>, put: &Arc<Put>) {
        let local: Arc<str> = listener.local_address().into();
        let (source, allowed) = (put.source.clone(), self.ports.allowed());
        listening::accept(listener, &source, allowed, &put.stop, |accepted| {
            let Accepted { stream, peer, cut, place, .. } = accepted;
            let (serve, put, address) = (self.serve.clone(), put.clone(), peer.address.clone());
            let host = listening::host(&address).into();
            let client = Client::new(put.sharing.clone(), peer);
            let peer = address.clone();
            let connected = Connected { stream, client, peer, host, local: local.clone() };
            async move {
                let served = serve.serve(connected, &put);
                // A connection that was cut has no result.
                let served = match mutant!("serve_cut_ignored") {
                    true => Some(served.await),
                    false => cut.run_until_cancelled(served).await,
                };
                if mutant!("place_of_connection_kept") {
                    place.forget();
                    return;
                }
                drop(place);
                if let Some(Err(end)) = served {
                    put.closed(&address, &end, serve.report(&end));
                }
            }
        })
        .await;
    }
}

#[async_trait]
impl<S: Serve> Source for Served<S> {
    fn guarantee(&self) -> Guarantee {
        self.serve.guarantee()
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    fn resources(&self) -> Vec<Resource> {
        self.ports.resources()
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        // Release the listeners of an earlier opening.
        self.listeners.clear();
        self.listeners = self.ports.open().await?;
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let put = Arc::new(self.ports.put(cx));
        let listeners = std::mem::take(&mut self.listeners);
        // Each port has its own limit of connections, so a flood on one does not block the others.
        join_all(listeners.into_iter().map(|listener| self.on(listener, &put))).await;
        put.finish().await;
        Ok(())
    }
}

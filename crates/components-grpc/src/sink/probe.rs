//! Tests whether the downstream agent accepts this agent: opens a stream and sends nothing on it.
//!
//! With TLS 1.3, a client's handshake succeeds before the server has checked its certificate, and
//! the token is checked even later. The first reply of the server proves both.

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use web::token_of;
use wire::v1::FromSender;

use super::connector::Connector;
use super::{Grpc, GrpcError};

impl Grpc {
    /// Opens a stream and waits for the first reply of the downstream agent.
    ///
    /// # Errors
    /// Fails if the connection fails, or the downstream agent rejects it.
    pub(super) async fn reach(&self) -> Result<String, GrpcError> {
        let limit = self.config.connect_timeout.0;
        let late = |_| Err(GrpcError::NoWelcome { address: self.address(), timeout: limit });
        timeout(limit, self.open_stream()).await.unwrap_or_else(late)?;
        Ok(self.dialer.connected_text(&self.shared.address))
    }

    async fn open_stream(&self) -> Result<(), GrpcError> {
        let token = token_of(&self.env, self.token.as_ref()).await;
        let token = token.map_err(|source| GrpcError::Token { address: self.address(), source })?;
        let address = self.shared.address.clone();
        let connector = Connector::new(self.dialer.clone(), address);
        let (channel, ending) = connector.open(&self.endpoint).await?;
        // Keep it until the reply: the end of the stream would also cause one.
        let (_outbox, nothing) = mpsc::channel::<FromSender>(1);
        let answered = wire::exchange(channel, token, ReceiverStream::new(nothing)).await;
        answered.map(drop).map_err(|status| GrpcError::Broken {
            address: self.address(),
            status: Box::new(ending.status(status)),
        })
    }
}

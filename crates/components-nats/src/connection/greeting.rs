//! Opening of a connection.
//!
//! ```text
//!   server      INFO nonce         TLS, if both sides want it                             PONG
//!   this side               ─────►                            CONNECT login  SUB  PING
//! ```

use std::sync::Arc;

use pipeline::env::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::login::LoginError;
use crate::protocol::{Decoder, Incoming, Info};
use crate::refusal::{NatsError, said};
use crate::server::Target;

/// An open connection.
pub(super) struct Greeted {
    /// The server's `INFO`.
    pub(super) info: Info,
    pub(super) stream: Box<dyn Stream>,
    pub(super) decoder: Decoder,
    /// Advice for a rejected login.
    pub(super) remedy: String,
}

/// A connection that is being opened.
pub(super) struct Greeting<'a> {
    pub(super) address: &'a Arc<str>,
    pub(super) stream: Box<dyn Stream>,
    pub(super) decoder: Decoder,
}

impl Greeting<'_> {
    /// Opens it, and subscribes to the subjects below `inbox`.
    ///
    /// # Errors
    /// Fails if the server rejects the connection.
    pub(super) async fn run(
        mut self,
        target: &Target,
        client_id: &str,
        inbox: &str,
    ) -> Result<Greeted, NatsError> {
        let mut info = match self.read().await? {
            Incoming::Info(info) => info,
            Incoming::Error(words) => return Err(said(self.address, &words, "try again later")),
            _ => return Err(self.ended("the server does not speak NATS; check `server.urls`")),
        };
        match (&target.tls, info.tls_required || info.tls_available) {
            (Some(tls), true) => {
                // Input in plain text must not be mistaken for input over TLS.
                if !self.decoder.is_empty() {
                    return Err(self.ended("the server sent data before TLS was established"));
                }
                let wrapped = tls.wrap(self.stream, self.address).await;
                let connect = |source| NatsError::Connect { address: self.address.clone(), source };
                self.stream = wrapped.map_err(connect)?;
            }
            (Some(_), false) => {
                return Err(self.not_granted(
                    "does not support TLS: enable TLS on the server, or use `nats://`",
                ));
            }
            (None, _) if info.tls_required => {
                return Err(self.not_granted("requires TLS: use `tls://`"));
            }
            (None, _) => {}
        }
        let login = target.login.shown(info.nonce.as_deref(), &target.env).await;
        let login = login.map_err(|error| match error {
            LoginError::File(error) => NatsError::Credentials(error),
            LoginError::NoNonce => self.not_granted(
                "does not accept NKeys or JWTs (it sent no nonce): remove `server.nkey_seed` and \
                 `server.credentials`, or correct `server.urls`",
            ),
        })?;
        let connect = target.connect(client_id, &login);
        self.write(&format!("CONNECT {connect}\r\nSUB {inbox}.* 1\r\nPING\r\n")).await?;
        loop {
            match self.read().await? {
                Incoming::Pong => break,
                Incoming::Error(words) => return Err(said(self.address, &words, &login.remedy)),
                Incoming::Ping => self.write("PONG\r\n").await?,
                Incoming::Info(more) => info = more,
                Incoming::Message(_) => {
                    return Err(self.ended("the server sent an unexpected message"));
                }
            }
        }
        if !info.headers {
            return Err(self.not_granted(
                "does not support message headers: upgrade the server to version 2.2 or later",
            ));
        }
        let Self { stream, decoder, .. } = self;
        Ok(Greeted { info, stream, decoder, remedy: login.remedy })
    }

    fn ended(&self, problem: &str) -> NatsError {
        NatsError::Ended { address: self.address.clone(), problem: problem.to_owned() }
    }

    fn not_granted(&self, problem: &str) -> NatsError {
        NatsError::NotGranted { address: self.address.clone(), problem: problem.to_owned() }
    }

    async fn write(&mut self, operations: &str) -> Result<(), NatsError> {
        let written = async {
            self.stream.write_all(operations.as_bytes()).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| self.ended(&error.to_string()))
    }

    async fn read(&mut self) -> Result<Incoming, NatsError> {
        loop {
            if let Some(incoming) = self.decoder.next().map_err(|problem| self.ended(&problem))? {
                return Ok(incoming);
            }
            match self.stream.read_buf(&mut self.decoder.buffer).await {
                Ok(0) => {
                    return Err(self
                        .ended("the server closed the connection before it accepted this client"));
                }
                Ok(_) => {}
                Err(error) => return Err(self.ended(&error.to_string())),
            }
        }
    }
}

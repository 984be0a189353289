//! TLS of a listener.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crypto::tls::provider;
use futures::future::BoxFuture;
use peers::{RefusalBoard, RefusalReason};
use pipeline::BuildError;
use pipeline::env::{Disk, Env, Stream};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::clients::{Verifier, with_rejected_subject};
use crate::names::ClientNames;
use crate::problem::{Failure, TlsError, handshake};
use crate::settings::{ClientAuth, ServerParts, ServerTls};
use crate::stream::{Failed, Secured};
use crate::validity::OwnCertificate;
use crate::watched::{Made, Time, Watched, as_io};

/// Processes a stream before its handshake, within the handshake's time limit.
pub type Prelude =
    Arc<dyn Fn(Box<dyn Stream>) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send + Sync>;

/// The other end of a connection, for reports about its handshake.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// Records the peers that the listener refuses.
    pub board: RefusalBoard,
    /// The listener, for log lines: `source NAME`.
    pub component: Arc<str>,
    /// The address of the peer.
    pub peer: Arc<str>,
}

/// TLS of a listener. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    pub(crate) config: Arc<Watched<Made<ServerConfig>>>,
    env: Env,
    handshake_timeout: Duration,
    prelude: Option<Prelude>,
}

impl Server {
    /// Creates a listener's TLS with these settings; reads no file yet. `protocols` are offered by
    /// ALPN, best first, such as `h2`; a client without ALPN is served anyway.
    ///
    /// # Errors
    /// An invalid combination of settings.
    pub fn new(settings: ServerTls, env: &Env, protocols: &[&str]) -> Result<Self, BuildError> {
        Self::build(settings, env, protocols, false)
    }

    /// The same for a listener whose own host checks its health: if clients need a certificate, the
    /// listener's own one is accepted too, whichever authority has signed it. Only the owner of its
    /// key can present it ([`ServerTls::own_client`]).
    ///
    /// # Errors
    /// An invalid combination of settings.
    pub fn with_own_client(
        settings: ServerTls,
        env: &Env,
        protocols: &[&str],
    ) -> Result<Self, BuildError> {
        Self::build(settings, env, protocols, true)
    }

    fn build(
        settings: ServerTls,
        env: &Env,
        protocols: &[&str],
        takes_itself: bool,
    ) -> Result<Self, BuildError> {
        let parts = settings.parts()?;
        let mut files = parts.identity.paths();
        files.extend(parts.clients.iter().map(|(trust, _)| trust.path()));
        files.extend(parts.crl.iter().map(|crl| crl.path.clone()));
        let handshake_timeout = parts.handshake_timeout;
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        let time = Time(env.clone());
        let make = Arc::new(move |disk: &dyn Disk, now| {
            let (mut config, own) = config(&parts, disk, now, &time, takes_itself)?;
            config.alpn_protocols.clone_from(&protocols);
            Ok(Made { config: Arc::new(config), own: own.map(Arc::new) })
        });
        let config = Arc::new(Watched::new(env, ("certificates", files), make));
        Ok(Self { config, env: env.clone(), handshake_timeout, prelude: None })
    }

    /// The same with something to do before each handshake.
    pub fn with_prelude(self, prelude: Prelude) -> Self {
        Self { prelude: Some(prelude), ..self }
    }

    /// Reads the files, so that their problems are known before the first client connects.
    ///
    /// # Errors
    /// They cannot be used.
    pub async fn load(&self) -> Result<(), TlsError> {
        self.config.current().await.map(|_| ())
    }

    /// Returns the stream inside TLS, and the names that its client proves by its certificate. The
    /// first read or write makes the handshake, and returns its error. A refused client is reported
    /// to the board of the listener, and `failed` is called, unless the client only closed the
    /// connection, like a port check.
    pub fn wrap(
        &self,
        stream: Box<dyn Stream>,
        visitor: Visitor,
        failed: impl FnOnce() + Send + 'static,
    ) -> (Box<dyn Stream>, ClientNames) {
        let (config, prelude, env) = (self.config.clone(), self.prelude.clone(), self.env.clone());
        let limit = self.handshake_timeout;
        let names = ClientNames::default();
        let proves = names.clone();
        let accepted = async move {
            let shaking = async {
                let stream = match prelude {
                    Some(prelude) => prelude(stream).await?,
                    None => stream,
                };
                let made = config.current().await.map_err(|error| as_io(&error))?;
                let accepted = TlsAcceptor::from(made.config.clone()).accept(stream).await;
                let now = env.clock.now();
                let stream =
                    accepted.map_err(|error| handshake(error, made.own.as_deref(), now))?;
                if let Some([own, ..]) = stream.get_ref().1.peer_certificates() {
                    proves.prove(own);
                }
                Ok(stream)
            };
            timeout(limit, shaking).await.unwrap_or_else(|_| {
                let text = format!("not complete within {limit:?} (`tls.handshake_timeout`)");
                let reason = RefusalReason::HandshakeTimeout;
                Err(Failure::error(io::ErrorKind::TimedOut, reason, text))
            })
        };
        let refused = Arc::new(OnceLock::new());
        let (named, proved) = (refused.clone(), names.clone());
        let of_success = visitor.clone();
        let accepted = async move {
            let (accepted, subject) = with_rejected_subject(accepted).await;
            if let Some(subject) = subject {
                let _ = named.set(subject);
            }
            if accepted.is_ok() {
                let Visitor { board, peer, .. } = of_success;
                board.accepted_by_tls(&peer, proved.first().map(|name| &**name));
            }
            accepted.map(Into::into)
        };
        let failed: Failed = Box::new(move |error| {
            let Visitor { board, component, peer } = visitor;
            let subject = refused.get().map(String::as_str);
            board.refused(&component, (&peer, subject), Failure::refusal_reason(error), error);
            failed();
        });
        (Box::new(Secured::shaking(Box::pin(accepted), failed)), names)
    }
}

fn config(
    parts: &ServerParts,
    disk: &dyn Disk,
    now: std::time::SystemTime,
    time: &Time,
    takes_itself: bool,
) -> Result<(ServerConfig, Option<OwnCertificate>), TlsError> {
    let identity = parts.identity.read(disk, now)?;
    let own = parts.identity.own(&identity);
    let provider = provider();
    let builder = ServerConfig::builder_with_details(provider.clone(), Arc::new(time.clone()))
        .with_protocol_versions(parts.min_version.versions())
        .map_err(TlsError::Refused)?;
    let builder = match &parts.clients {
        None => builder.with_no_client_auth(),
        Some((trust, auth)) => {
            let roots = Arc::new(trust.roots(&trust.read(disk)?)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match &parts.crl {
                Some(crl) => verifier.with_crls(crl.read(disk, now)?),
                None => verifier,
            };
            let verifier = match auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier
                .build()
                .map_err(|error| TlsError::Refused(rustls::Error::General(error.to_string())))?;
            let itself = identity.chain.first().filter(|_| takes_itself).cloned();
            builder.with_client_cert_verifier(Arc::new(Verifier::new(verifier, itself)))
        }
    };
    let built = builder.with_single_cert(identity.chain, identity.key);
    built.map(|config| (config, own)).map_err(TlsError::Refused)
}

//! TLS of a listener.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crypto::tls::provider;
use futures::future::BoxFuture;
use pipeline::BuildError;
use pipeline::env::{Disk, Env, Stream};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::names::ClientNames;
use crate::own::OrItself;
use crate::problem::{TlsError, handshake};
use crate::settings::{ClientAuth, ServerParts, ServerTls};
use crate::stream::{Failed, Secured};
use crate::watched::{Time, Watched, as_io};

/// What is done to a stream before its handshake, within the time limit of it.
pub type Prelude =
    Arc<dyn Fn(Box<dyn Stream>) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send + Sync>;

/// TLS of a listener. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    pub(crate) config: Arc<Watched<ServerConfig>>,
    handshake_timeout: Duration,
    prelude: Option<Prelude>,
}

impl Server {
    /// By these settings; no file is read yet. `protocols` are what ALPN offers, best first, such
    /// as `h2`; a client without ALPN is served all the same.
    ///
    /// # Errors
    /// Settings that do not go together.
    pub fn new(settings: ServerTls, env: &Env, protocols: &[&str]) -> Result<Self, BuildError> {
        Self::of(settings, env, protocols, false)
    }

    /// The same for a listener that its own host asks whether it works: where clients have to show
    /// a certificate, that of the listener counts too, whichever authority has signed it. Only what
    /// has its key can show it ([`ServerTls::own_client`]).
    ///
    /// # Errors
    /// Settings that do not go together.
    pub fn taking_itself(
        settings: ServerTls,
        env: &Env,
        protocols: &[&str],
    ) -> Result<Self, BuildError> {
        Self::of(settings, env, protocols, true)
    }

    fn of(
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
            let mut made = config(&parts, disk, now, &time, takes_itself)?;
            made.alpn_protocols.clone_from(&protocols);
            Ok(made)
        });
        let config = Arc::new(Watched::new(env, ("certificates", files), make));
        Ok(Self { config, handshake_timeout, prelude: None })
    }

    /// The same with something to do before each handshake.
    pub fn with_prelude(self, prelude: Prelude) -> Self {
        Self { prelude: Some(prelude), ..self }
    }

    /// Reads the files, so that what is wrong with them is known before the first client comes.
    ///
    /// # Errors
    /// They cannot be used.
    pub async fn load(&self) -> Result<(), TlsError> {
        self.config.current().await.map(|_| ())
    }

    /// The stream inside TLS, and the names that its client proves by its certificate. The first
    /// read or write makes the handshake, and has its error; `failed` is called with it once,
    /// unless the client only closed the connection, as what checks a port does.
    pub fn wrap(
        &self,
        stream: Box<dyn Stream>,
        failed: impl FnOnce(&io::Error) + Send + 'static,
    ) -> (Box<dyn Stream>, ClientNames) {
        let (config, prelude) = (self.config.clone(), self.prelude.clone());
        let limit = self.handshake_timeout;
        let names = ClientNames::default();
        let proves = names.clone();
        let accepted = async move {
            let shaking = async {
                let stream = match prelude {
                    Some(prelude) => prelude(stream).await?,
                    None => stream,
                };
                let config = config.current().await.map_err(|error| as_io(&error))?;
                let stream = TlsAcceptor::from(config).accept(stream).await.map_err(handshake)?;
                if let Some([own, ..]) = stream.get_ref().1.peer_certificates() {
                    proves.prove(own);
                }
                Ok(stream)
            };
            timeout(limit, shaking).await.unwrap_or_else(|_| {
                let text = format!("no TLS handshake within {limit:?} (`tls.handshake_timeout`)");
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            })
        };
        let failed: Failed = Box::new(failed);
        let accepted = async move { accepted.await.map(Into::into) };
        (Box::new(Secured::shaking(Box::pin(accepted), failed)), names)
    }
}

fn config(
    parts: &ServerParts,
    disk: &dyn Disk,
    now: std::time::SystemTime,
    time: &Time,
    takes_itself: bool,
) -> Result<ServerConfig, TlsError> {
    let identity = parts.identity.read(disk, now)?;
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
            builder.with_client_cert_verifier(match takes_itself {
                false => verifier,
                true => OrItself::over(verifier, &identity.chain),
            })
        }
    };
    builder.with_single_cert(identity.chain, identity.key).map_err(TlsError::Refused)
}

//! TLS of a client.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crypto::tls::provider;
use pipeline::BuildError;
use pipeline::env::{Disk, Env, Net, Stream};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::material::authorities;
use crate::plain::Plain;
use crate::problem::{TlsError, handshake};
use crate::settings::{ClientParts, ClientTls};
use crate::stream::{Explain, Secured};
use crate::validity::OwnCertificate;
use crate::verify::{Trust, Verifier, signed};
use crate::watched::{Made, Time, Watched, as_io};

/// TLS of a client. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) config: Arc<Watched<Made<ClientConfig>>>,
    env: Env,
    /// Instead of the host of the address.
    server_name: Option<ServerName<'static>>,
}

impl Client {
    /// Creates a client with these settings; reads no file yet. `protocols` are offered by ALPN.
    ///
    /// # Errors
    /// An invalid combination of settings.
    pub fn new(settings: ClientTls, env: &Env, protocols: &[&str]) -> Result<Self, BuildError> {
        let parts = settings.parts()?;
        let mut files: Vec<PathBuf> = parts.trust.iter().map(|trust| trust.path()).collect();
        files.extend(parts.crl.iter().map(|crl| crl.path.clone()));
        files.extend(parts.identity.iter().flat_map(|identity| identity.paths()));
        let server_name = parts.server_name.clone().map(|name| {
            ServerName::try_from(name).expect("the settings hold a name that can be read")
        });
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        let of_host = env.blocking.variable("SSL_CERT_FILE").map(PathBuf::from);
        let time = Time(env.clone());
        let make = Arc::new(move |disk: &dyn Disk, now| {
            let (mut config, own) = config(&parts, disk, now, &time, of_host.as_ref())?;
            config.alpn_protocols.clone_from(&protocols);
            Ok(Made { config: Arc::new(config), own: own.map(Arc::new) })
        });
        let config = Arc::new(Watched::new(env, ("certificates", files), make));
        Ok(Self { config, env: env.clone(), server_name })
    }

    /// Returns the stream inside TLS, after the handshake. `address` is the destination:
    /// `host:port`.
    ///
    /// # Errors
    /// The files cannot be used, or the handshake fails; both errors name the remedy.
    pub async fn wrap(
        &self,
        stream: Box<dyn Stream>,
        address: &str,
    ) -> io::Result<Box<dyn Stream>> {
        let made = self.config.current().await.map_err(|error| as_io(&error))?;
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let host = host.trim_matches(['[', ']']).to_owned();
                ServerName::try_from(host).map_err(io::Error::other)?
            }
        };
        let connected = TlsConnector::from(made.config.clone()).connect(name, stream).await;
        let (own, now) = (made.own.clone(), self.env.clock.now());
        let stream = connected.map_err(|error| handshake(error, own.as_deref(), now))?;
        Ok(Box::new(Secured::open(stream.into(), Explain { own, env: self.env.clone() })))
    }
}

/// Connects, with TLS or without.
#[derive(Clone)]
pub struct Dialer {
    net: Arc<dyn Net>,
    tls: Option<Client>,
}

impl Dialer {
    /// Creates a dialer on this network; with TLS if there are settings for it.
    ///
    /// # Errors
    /// An invalid combination of settings.
    pub fn new(env: &Env, tls: Option<ClientTls>, protocols: &[&str]) -> Result<Self, BuildError> {
        let tls = tls.map(|settings| Client::new(settings, env, protocols)).transpose()?;
        Ok(Self { net: env.net.clone(), tls })
    }

    /// Connects to `host:port`, including the handshake.
    ///
    /// # Errors
    /// Connecting or the handshake failed.
    pub async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        self.connect_around(address, |stream| stream).await
    }

    /// Returns the log text for an address after a successful connection.
    pub fn connected_text(&self, address: &str) -> String {
        match self.tls {
            Some(_) => format!("{address} is reachable over TLS"),
            None => format!("{address} is reachable"),
        }
    }

    /// The same with something between the network and TLS.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn connect_around(
        &self,
        address: &str,
        between: impl FnOnce(Box<dyn Stream>) -> Box<dyn Stream>,
    ) -> io::Result<Box<dyn Stream>> {
        let stream = between(self.net.connect(address).await?);
        match &self.tls {
            Some(tls) => tls.wrap(stream, address).await,
            None => Ok(Box::new(Plain::new(stream))),
        }
    }
}

fn config(
    parts: &ClientParts,
    disk: &dyn Disk,
    now: SystemTime,
    time: &Time,
    of_host: Option<&PathBuf>,
) -> Result<(ClientConfig, Option<OwnCertificate>), TlsError> {
    let provider = provider();
    let trust = match parts.trust_all {
        true => Trust::All,
        false => {
            let files = match &parts.trust {
                Some(files) => files.clone(),
                None => authorities(disk, of_host.map(|path| &**path))?,
            };
            let exact = files.read(disk)?;
            let crls = parts.crl.as_ref().map(|crl| crl.read(disk, now)).transpose()?;
            let signed = signed(files.roots(&exact)?, crls, &provider)?;
            Trust::Of { signed, exact }
        }
    };
    let verifier = Verifier {
        trust,
        checks_name: parts.check_name,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_details(provider, Arc::new(time.clone()))
        .with_protocol_versions(parts.min_version.versions())
        .map_err(TlsError::Refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match &parts.identity {
        None => Ok((builder.with_no_client_auth(), None)),
        Some(files) => {
            let identity = files.read(disk, now)?;
            let own = files.own(&identity);
            let built = builder.with_client_auth_cert(identity.chain, identity.key);
            built.map(|config| (config, own)).map_err(TlsError::Refused)
        }
    }
}

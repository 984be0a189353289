//! The table `tls` of a listener and of a client.

use std::path::PathBuf;
use std::time::Duration;

use crypto::Outside;
use pipeline::env::Env;
use pipeline::units::Period;
use pipeline::{BuildError, Secret};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::material::{CrlFile, IdentityFiles, TrustFiles};
use crate::names::names;
use crate::problem::TlsError;

/// TLS of a listener.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// PEM file with the certificate, followed by the intermediate certificates.
    #[serde(default)]
    certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`, without a password.
    #[serde(default)]
    key: Option<PathBuf>,
    /// Java keystore with certificate and key, instead of `certificate` and `key`: PKCS#12 or JKS,
    /// detected from its first bytes.
    #[serde(default)]
    keystore: Option<PathBuf>,
    /// Password of `keystore` and of the key in it. Use a reference, such as
    /// `"${file:/run/secrets/tls}"`.
    #[serde(default)]
    keystore_password: Option<Secret>,
    /// PEM file of authorities: clients must send a certificate that one of them signed.
    #[serde(default)]
    client_ca: Option<PathBuf>,
    /// Java keystore with these authorities, instead of `client_ca`.
    #[serde(default)]
    truststore: Option<PathBuf>,
    /// Password of `truststore`.
    #[serde(default)]
    truststore_password: Option<Secret>,
    /// File of revocation lists of these authorities, PEM or DER. A certificate that is on a list,
    /// or whose authority has no list in the file, is rejected.
    #[serde(default)]
    client_crl: Option<PathBuf>,
    /// Whether clients need a certificate, if `client_ca` or `truststore` is set: `required`, or
    /// `optional`, which verifies certificates that clients send.
    #[serde(default)]
    client_auth: ClientAuth,
    /// Minimum version of TLS: `1.2` or `1.3`.
    #[serde(default)]
    min_version: MinVersion,
    /// Timeout of a handshake.
    #[serde(default = "pipeline::units::seconds::<10>")]
    handshake_timeout: Period,
}

/// TLS of a client.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    /// PEM file of certificate authorities, or of single certificates, that are trusted. Default:
    /// the certificate authorities of the host.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// Java keystore with these certificates, instead of `ca`: PKCS#12 or JKS.
    #[serde(default)]
    truststore: Option<PathBuf>,
    /// Password of `truststore`.
    #[serde(default)]
    truststore_password: Option<Secret>,
    /// File of revocation lists of these authorities, PEM or DER. A certificate that is on a list,
    /// or whose authority has no list in the file, is rejected.
    #[serde(default)]
    crl: Option<PathBuf>,
    /// PEM file with a client certificate, if servers require one.
    #[serde(default)]
    certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`, without a password.
    #[serde(default)]
    key: Option<PathBuf>,
    /// Java keystore with certificate and key, instead of `certificate` and `key`.
    #[serde(default)]
    keystore: Option<PathBuf>,
    /// Password of `keystore` and of the key in it.
    #[serde(default)]
    keystore_password: Option<Secret>,
    /// Name that the server's certificate must contain. Default: the host of the address.
    #[serde(default)]
    server_name: Option<String>,
    /// Whether the name in the certificate is verified. Flume never does.
    #[serde(default = "pipeline::units::yes")]
    check_name: bool,
    /// Accepts every certificate: encryption without authentication of the server. For tests.
    #[serde(default)]
    trust_all: bool,
    /// Minimum version of TLS: `1.2` or `1.3`.
    #[serde(default)]
    min_version: MinVersion,
}

/// Whether a client needs a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Every client needs a certificate.
    #[default]
    Required,
    /// Certificates that clients send are verified.
    Optional,
}

/// Oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MinVersion {
    /// 1.2 and 1.3.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// Only 1.3.
    #[serde(rename = "1.3")]
    V13,
}

impl MinVersion {
    pub(crate) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        static NEW: &[&SupportedProtocolVersion] = &[&TLS13];
        match self {
            Self::V12 => BOTH,
            Self::V13 => NEW,
        }
    }
}

impl ServerTls {
    /// Checks the combination of settings; reads no file.
    ///
    /// # Errors
    /// It is invalid.
    pub fn check(&self) -> Result<(), BuildError> {
        self.clone().parts().map(|_| ())
    }

    /// Returns `true` if clients are asked for a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.client_ca.is_some() || self.truststore.is_some()
    }

    /// Returns the settings of a client on the same host that sends no secret to the listener: it
    /// accepts every certificate, and presents the listener's own one on request.
    pub fn own_client(self) -> ClientTls {
        ClientTls {
            certificate: self.certificate,
            key: self.key,
            keystore: self.keystore,
            keystore_password: self.keystore_password,
            check_name: false,
            trust_all: true,
            min_version: self.min_version,
            ..ClientTls::default()
        }
    }

    /// Returns `true` if only clients with a certificate are served.
    pub fn needs_certificates(&self) -> bool {
        self.asks_for_certificates() && self.client_auth == ClientAuth::Required
    }
}

impl ClientTls {
    /// Returns a function that reads the name that a client with these settings presents to
    /// servers: the first one in its certificate. The function returns `None` without a
    /// certificate, and blocks.
    ///
    /// # Errors
    /// An invalid combination of settings.
    pub fn own_name(
        &self,
    ) -> Result<impl Fn(&Env) -> Result<Option<String>, TlsError> + use<>, BuildError> {
        let identity = self.clone().parts()?.identity;
        Ok(move |env: &Env| {
            let Some(files) = &identity else { return Ok(None) };
            let read = files.read(&*env.disk, env.clock.now())?;
            Ok(names(&read.chain[0]).first().map(|name| name.to_string()))
        })
    }

    /// The same for servers of this host, unless `server_name` is set.
    #[must_use]
    pub fn for_host(mut self, host: &str) -> Self {
        self.server_name.get_or_insert_with(|| host.to_owned());
        self
    }
}

impl Default for ClientTls {
    /// The authorities of the host, and the name of the address.
    fn default() -> Self {
        Self {
            ca: None,
            truststore: None,
            truststore_password: None,
            crl: None,
            certificate: None,
            key: None,
            keystore: None,
            keystore_password: None,
            server_name: None,
            check_name: true,
            trust_all: false,
            min_version: MinVersion::default(),
        }
    }
}

/// Checked settings of a listener.
#[derive(Debug)]
pub(crate) struct ServerParts {
    pub(crate) identity: IdentityFiles,
    pub(crate) clients: Option<(TrustFiles, ClientAuth)>,
    pub(crate) crl: Option<CrlFile>,
    pub(crate) min_version: MinVersion,
    pub(crate) handshake_timeout: Duration,
}

/// Checked settings of a client.
#[derive(Debug)]
pub(crate) struct ClientParts {
    /// `None`: the authorities of the host.
    pub(crate) trust: Option<TrustFiles>,
    pub(crate) crl: Option<CrlFile>,
    pub(crate) identity: Option<IdentityFiles>,
    pub(crate) server_name: Option<String>,
    pub(crate) check_name: bool,
    pub(crate) trust_all: bool,
    pub(crate) min_version: MinVersion,
}

impl ServerTls {
    pub(crate) fn parts(self) -> Result<ServerParts, BuildError> {
        let own = (self.certificate, self.key, self.keystore, self.keystore_password);
        let identity = identity(own)?.ok_or_else(|| {
            let problem =
                "a listener needs a certificate: set `certificate` and `key`, or `keystore`";
            BuildError::invalid("tls.certificate", problem)
        })?;
        let trust = trust("client_ca", self.client_ca, self.truststore, self.truststore_password)?;
        if trust.is_none() && self.client_auth == ClientAuth::Optional {
            let problem = "has an effect only with `client_ca` or `truststore`; set one of them, \
                           or remove this";
            return Err(BuildError::invalid("tls.client_auth", problem));
        }
        if trust.is_none() && self.client_crl.is_some() {
            let problem = "has an effect only with `client_ca` or `truststore`; set one of them, \
                           or remove this";
            return Err(BuildError::invalid("tls.client_crl", problem));
        }
        if self.handshake_timeout.0.is_zero() {
            return Err(BuildError::invalid("tls.handshake_timeout", "must be greater than 0s"));
        }
        Ok(ServerParts {
            identity,
            clients: trust.map(|trust| (trust, self.client_auth)),
            crl: self.client_crl.map(|path| CrlFile { setting: "client_crl", path }),
            min_version: self.min_version,
            handshake_timeout: self.handshake_timeout.0,
        })
    }
}

impl ClientTls {
    pub(crate) fn parts(self) -> Result<ClientParts, BuildError> {
        let own = (self.certificate, self.key, self.keystore, self.keystore_password);
        let trust = trust("ca", self.ca, self.truststore, self.truststore_password)?;
        if self.trust_all && trust.is_some() {
            let problem = "must not be set with `ca` or `truststore`, because it accepts every \
                           certificate; remove this, or both of them";
            return Err(BuildError::invalid("tls.trust_all", problem));
        }
        if self.trust_all && self.crl.is_some() {
            let problem = "must not be set with `crl`, because it accepts every certificate; \
                           remove one of them";
            return Err(BuildError::invalid("tls.trust_all", problem));
        }
        if let Some(name) = &self.server_name
            && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
        {
            let problem = format!("`{name}` is neither a host name nor an address");
            return Err(BuildError::invalid("tls.server_name", problem));
        }
        Ok(ClientParts {
            trust,
            crl: self.crl.map(|path| CrlFile { setting: "crl", path }),
            identity: identity(own)?,
            server_name: self.server_name,
            check_name: self.check_name,
            trust_all: self.trust_all,
            min_version: self.min_version,
        })
    }
}

/// Keystores use separate ciphers, which a FIPS build does not have.
fn allow_keystore(setting: &str) -> Result<(), BuildError> {
    let allowed = crypto::allow(Outside::Keystore);
    allowed.map_err(|refused| BuildError::invalid(setting, refused.to_string()))
}

type Own = (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>, Option<Secret>);

fn identity(own: Own) -> Result<Option<IdentityFiles>, BuildError> {
    let (certificate, key, keystore, password) = own;
    let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
    match (certificate, key, keystore) {
        (None, None, None) if password.is_some() => invalid(
            "tls.keystore_password",
            "has an effect only with `keystore`; set `keystore`, or remove this",
        ),
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), None) if password.is_none() => {
            Ok(Some(IdentityFiles::Pem { certificate, key }))
        }
        (None, None, Some(path)) => {
            let Some(password) = password else {
                return invalid(
                    "tls.keystore_password",
                    "must be set, because a keystore needs a password",
                );
            };
            allow_keystore("tls.keystore")?;
            Ok(Some(IdentityFiles::Keystore { path, password }))
        }
        (Some(_), None, None) => invalid("tls.key", "must be set, because `certificate` is set"),
        (None, Some(_), None) => invalid("tls.certificate", "must be set, because `key` is set"),
        _ => invalid("tls.keystore", "set either `certificate` and `key`, or `keystore`"),
    }
}

fn trust(
    setting: &'static str,
    pem: Option<PathBuf>,
    store: Option<PathBuf>,
    password: Option<Secret>,
) -> Result<Option<TrustFiles>, BuildError> {
    match (pem, store) {
        (None, None) if password.is_some() => {
            let problem = "has an effect only with `truststore`; set `truststore`, or remove this";
            Err(BuildError::invalid("tls.truststore_password", problem))
        }
        (None, None) => Ok(None),
        (Some(path), None) if password.is_none() => Ok(Some(TrustFiles::Pem { setting, path })),
        (None, Some(path)) => {
            allow_keystore("tls.truststore")?;
            Ok(Some(TrustFiles::Keystore { path, password }))
        }
        _ => {
            let problem = format!("set either `{setting}` or `truststore`");
            Err(BuildError::invalid("tls.truststore", problem))
        }
    }
}

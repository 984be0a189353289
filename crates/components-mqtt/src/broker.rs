//! Settings of a connection to a broker.

use std::sync::Arc;
use std::time::Duration;

use pipeline::env::{Entropy, Stream};
use pipeline::secret::{self, Login};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::{ClientTls, Dialer};

use crate::endpoint::{Carrier, Endpoint};
use crate::packets::{self, Version};
use crate::web_socket::{self, OpenError};

/// The broker and its connection settings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broker {
    /// Address of the broker: `host:port`, usually port 1883, or 8883 with TLS. For WebSockets
    /// `ws://host:port/path`, or `wss://` with TLS.
    pub(crate) address: String,
    /// Version of MQTT: `5` or `3.1.1`.
    #[serde(default)]
    pub(crate) version: Version,
    /// Client id at the broker; unique for each client of a broker. Default: `aqueduct-HOST-NAME`,
    /// with the names of this host and of the component.
    #[serde(default)]
    pub(crate) client_id: Option<String>,
    /// User, if the broker requires one.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Password of `user`. Use a reference, such as `"${file:/run/secrets/mqtt}"`.
    #[serde(default)]
    pub(crate) password: Option<Secret>,
    /// Timeout for a connection until the broker has accepted it.
    #[serde(default = "pipeline::units::seconds::<10>")]
    pub(crate) connect_timeout: Period,
    /// TLS of the connection. `wss://` uses TLS without this table too, and then trusts the
    /// certificate authorities of the host.
    #[serde(default)]
    pub(crate) tls: Option<ClientTls>,
}

/// Validated connection settings. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: Arc<str>,
    pub(crate) version: Version,
    pub(crate) client_id: Arc<str>,
    pub(crate) timeout: Duration,
    dialer: Dialer,
    endpoint: Arc<Endpoint>,
    entropy: Arc<dyn Entropy>,
    login: Option<Login>,
}

impl Broker {
    /// Validates the settings.
    ///
    /// # Errors
    /// Fails if one of them is invalid.
    pub(crate) fn target(self, cx: &BuildContext) -> Result<Target, BuildError> {
        let invalid = |setting: &str, problem: String| {
            Err(BuildError::invalid(format!("broker.{setting}"), problem))
        };
        let endpoint = Endpoint::parse(&self.address)
            .map_err(|problem| BuildError::invalid("broker.address", problem))?;
        if self.connect_timeout.0.is_zero() {
            return invalid("connect_timeout", "must be greater than 0s".into());
        }
        let client_id =
            self.client_id.unwrap_or_else(|| format!("aqueduct-{}-{}", cx.env.host, cx.name));
        if client_id.is_empty() || client_id.len() > usize::from(u16::MAX) {
            return invalid("client_id", "must have 1 to 65535 bytes".into());
        }
        let login = secret::login(self.user, self.password);
        let login = login.map_err(|error| error.below("broker"))?;
        let dialer = dialer(cx, &self.address, &endpoint.carrier, self.tls)?;
        Ok(Target {
            address: self.address.into(),
            version: self.version,
            client_id: client_id.into(),
            timeout: self.connect_timeout.0,
            dialer,
            endpoint: Arc::new(endpoint),
            entropy: cx.env.entropy.clone(),
            login,
        })
    }
}

/// Creates the dialer of a broker, with or without TLS.
fn dialer(
    cx: &BuildContext,
    address: &str,
    carrier: &Carrier,
    tls: Option<ClientTls>,
) -> Result<Dialer, BuildError> {
    let (tls, protocols, remedy) = match carrier {
        Carrier::Stream => (tls, &[][..], "set the table `broker.tls`"),
        Carrier::WebSocket { is_secure: true, .. } => {
            (Some(tls.unwrap_or_default()), &["http/1.1"][..], "")
        }
        Carrier::WebSocket { is_secure: false, .. } if tls.is_some() => {
            let problem = "has an effect only with `wss://`; write `wss://` in `broker.address`, \
                           or remove this";
            return Err(BuildError::invalid("broker.tls", problem));
        }
        Carrier::WebSocket { is_secure: false, .. } => {
            (None, &[][..], "use `wss://` instead of `ws://`")
        }
    };
    if tls.is_none() {
        cx.plain_text.speaks("broker.address", address, remedy);
    }
    Dialer::new(&cx.env, tls, protocols).map_err(|error| error.below("broker"))
}

impl Target {
    /// Opens a stream for packets: a connection, or a WebSocket on it.
    ///
    /// # Errors
    /// Fails if it cannot be opened.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, OpenError> {
        let address = &self.endpoint.address;
        let stream = self.dialer.connect(address).await.map_err(OpenError::Broken)?;
        match &self.endpoint.carrier {
            Carrier::Stream => Ok(stream),
            Carrier::WebSocket { path, .. } => {
                web_socket::open(stream, address, path, self.entropy.bytes16()).await
            }
        }
    }

    /// Returns the user and password for CONNECT.
    pub(crate) fn login(&self) -> Option<packets::Login> {
        let login = self.login.as_ref();
        login.map(|(user, password)| {
            let password = password.as_ref().map(Secret::expose).unwrap_or_default();
            packets::Login::new(user.clone(), password)
        })
    }
}

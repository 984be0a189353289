//! The settings of a connection to a broker.

use std::sync::Arc;
use std::time::Duration;

use pipeline::secret::{self, Login};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Secret, address};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::{ClientTls, Dialer};

use crate::packets::{self, Version};

/// The broker, and how it is reached.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broker {
    /// Address of the broker: `host:port`, usually with port 1883, and 8883 with TLS.
    address: String,
    /// Version of MQTT: `5` or `3.1.1`.
    #[serde(default)]
    version: Version,
    /// Name of the client at the broker. `aqueduct-HOST-NAME` with the names of this host and of
    /// the component unless set. No two clients of a broker may have the same one.
    #[serde(default)]
    client_id: Option<String>,
    /// User, where the broker asks for one.
    #[serde(default)]
    user: Option<String>,
    /// Password of `user`. Best a reference, `"${file:/run/secrets/mqtt}"`.
    #[serde(default)]
    password: Option<Secret>,
    /// How long a connection may take until the broker has greeted.
    #[serde(default = "connect_timeout")]
    connect_timeout: Period,
    /// TLS: with this table the connection is made with it.
    #[serde(default)]
    tls: Option<ClientTls>,
}

fn connect_timeout() -> Period {
    Period(Duration::from_secs(10))
}

/// A broker as it is connected to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: Arc<str>,
    pub(crate) version: Version,
    pub(crate) client_id: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) dialer: Dialer,
    login: Option<Login>,
}

impl Broker {
    /// Checks the settings.
    ///
    /// # Errors
    /// One of them is wrong.
    pub(crate) fn target(self, cx: &BuildContext) -> Result<Target, BuildError> {
        let invalid = |setting: &str, problem: String| {
            Err(BuildError::invalid(format!("broker.{setting}"), problem))
        };
        if let Err(problem) = address::check(&self.address, "broker-1:1883", false) {
            return invalid("address", problem);
        }
        if self.connect_timeout.0.is_zero() {
            return invalid("connect_timeout", "must not be 0".into());
        }
        let client_id =
            self.client_id.unwrap_or_else(|| format!("aqueduct-{}-{}", cx.env.host, cx.name));
        if client_id.is_empty() || client_id.len() > usize::from(u16::MAX) {
            return invalid("client_id", "must have 1 to 65535 bytes".into());
        }
        let login = secret::login(self.user, self.password);
        let login = login.map_err(|error| error.below("broker"))?;
        if self.tls.is_none() {
            let remedy = "set the table `broker.tls`";
            cx.plain_text.speaks("broker.address", &self.address, remedy);
        }
        let dialer = Dialer::new(&cx.env, self.tls, &[]).map_err(|error| error.below("broker"))?;
        Ok(Target {
            address: self.address.into(),
            version: self.version,
            client_id: client_id.into(),
            timeout: self.connect_timeout.0,
            dialer,
            login,
        })
    }
}

impl Target {
    /// What CONNECT says of the user.
    pub(crate) fn login(&self) -> Option<packets::Login> {
        let login = self.login.as_ref();
        login.map(|(user, password)| {
            let password = password.as_ref().map(Secret::expose).unwrap_or_default();
            packets::Login::new(user.clone(), password)
        })
    }
}

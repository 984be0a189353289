//! Settings of a connection to a broker.

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::types::primitives::{Array, Symbol};
use pipeline::secret::{self, Login};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::{Brokers, ClientTls, Dialer};

/// The broker and its connection settings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broker {
    /// Address of the broker, and of its standby brokers, tried in this order: `amqp://HOST:PORT`,
    /// usually port 5672, or with TLS `amqps://HOST:PORT`, usually port 5671.
    urls: Vec<String>,
    /// Client name at the broker, the container id of AMQP. A durable subscription belongs to it.
    /// Default: `aqueduct-HOST-NAME`, with the names of this host and of the component.
    #[serde(default)]
    client_id: Option<String>,
    /// User, sent with SASL PLAIN. Without a user the connection uses SASL ANONYMOUS.
    #[serde(default)]
    user: Option<String>,
    /// Password of `user`. Use a reference, such as `"${file:/run/secrets/amqp}"`.
    #[serde(default)]
    password: Option<Secret>,
    /// Timeout for opening a connection.
    #[serde(default = "pipeline::units::seconds::<10>")]
    connect_timeout: Period,
    /// Idle timeout: longest time without any frame from the broker.
    #[serde(default = "pipeline::units::seconds::<60>")]
    idle_timeout: Period,
    /// TLS of `amqps://`: certificate authorities, certificate. Default: the certificate
    /// authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
}

/// What an address of the broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DestinationType {
    /// A queue: each message goes to one consumer.
    Queue,
    /// A topic: each message goes to every subscription.
    Topic,
}

impl DestinationType {
    /// Returns the capability for the broker. Without it some brokers create a topic for an unknown
    /// address, and messages that are sent before there is a subscription are lost.
    pub(crate) fn capability(self) -> Array<Symbol> {
        let name = match self {
            Self::Queue => "queue",
            Self::Topic => "topic",
        };
        Array(vec![Symbol::from(name)])
    }
}

/// Validated connection settings. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    /// `host:port`, in the order of attempts.
    pub(crate) addresses: Arc<[Arc<str>]>,
    pub(crate) client_id: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) dialer: Dialer,
    login: Option<Login>,
}

/// Returns the problem of a URL for brokers with several protocols.
fn refused(url: &str) -> Option<String> {
    let scheme = url.split(':').next()?;
    ["tcp", "ssl", "failover", "vm"].contains(&scheme).then(|| {
        format!(
            "`{scheme}:` is OpenWire, the protocol of ActiveMQ's own clients; write the address \
             of its AMQP connector, for example \"amqp://broker-1:5672\""
        )
    })
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
        for (setting, period) in
            [("connect_timeout", self.connect_timeout), ("idle_timeout", self.idle_timeout)]
        {
            if !(1..=86_400_000).contains(&period.0.as_millis()) {
                return invalid(setting, "must be from 1ms to 24h".into());
            }
        }
        let client_id =
            self.client_id.unwrap_or_else(|| format!("aqueduct-{}-{}", cx.env.host, cx.name));
        if client_id.is_empty() {
            return invalid("client_id", "must not be empty: remove it, or set a value".into());
        }
        let login = secret::login(self.user, self.password);
        let login = login.map_err(|error| error.below("broker"))?;
        let Brokers { addresses, dialer } =
            Brokers::from_settings(&self.urls, self.tls, refused, cx)?;
        Ok(Target {
            addresses,
            client_id: client_id.into(),
            timeout: self.connect_timeout.0,
            idle_timeout: self.idle_timeout.0,
            dialer,
            login,
        })
    }
}

impl Target {
    /// Returns the SASL credentials.
    pub(crate) fn login(&self) -> SaslProfile {
        match &self.login {
            None => SaslProfile::Anonymous,
            Some((user, password)) => SaslProfile::Plain {
                username: user.clone(),
                password: password.as_ref().map(Secret::expose).unwrap_or_default().to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_openwire_is_refused_with_the_remedy() {
        assert_eq!(refused("amqp://a:5672"), None);
        for url in ["tcp://a:61616", "failover:(tcp://a:61616)"] {
            assert!(refused(url).unwrap().contains("AMQP connector"), "{url}");
        }
    }
}

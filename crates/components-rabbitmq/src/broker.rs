//! Settings of a connection to a broker.

use std::sync::Arc;
use std::time::Duration;

use pipeline::secret::{self, Login};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::{Brokers, ClientTls, Dialer};

/// Maximum length of a name, from the protocol.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// The broker and its connection settings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broker {
    /// Address of the broker, and of other nodes of its cluster, tried in this order:
    /// `amqp://HOST:PORT`, usually port 5672, or with TLS `amqps://HOST:PORT`, usually port 5671.
    urls: Vec<String>,
    /// Virtual host of the queues and exchanges.
    #[serde(default = "virtual_host")]
    virtual_host: String,
    /// Connection name on the broker. Default: `aqueduct-HOST-NAME`, with the names of this host
    /// and of the component.
    #[serde(default)]
    client_id: Option<String>,
    /// User, sent with SASL PLAIN. Default: `guest` with the password `guest`, which RabbitMQ
    /// accepts only from its own host.
    #[serde(default)]
    user: Option<String>,
    /// Password of `user`. Use a reference, such as `"${file:/run/secrets/rabbitmq}"`.
    #[serde(default)]
    password: Option<Secret>,
    /// Timeout for opening a connection.
    #[serde(default = "pipeline::units::seconds::<10>")]
    connect_timeout: Period,
    /// Heartbeat interval, in whole seconds; the broker may ask for a shorter one. A connection
    /// without any frame for twice this time is closed.
    #[serde(default = "pipeline::units::seconds::<60>")]
    heartbeat: Period,
    /// TLS of `amqps://`: certificate authorities, certificate. Default: the certificate
    /// authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
}

fn virtual_host() -> String {
    "/".to_owned()
}

/// Validated connection settings. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    /// `host:port`, in the order of attempts.
    pub(crate) addresses: Arc<[Arc<str>]>,
    pub(crate) virtual_host: Arc<str>,
    pub(crate) client_id: Arc<str>,
    pub(crate) timeout: Duration,
    /// In seconds, as in the protocol.
    pub(crate) heartbeat_s: u16,
    pub(crate) dialer: Dialer,
    login: Option<Login>,
}

/// Returns the problem of a URL for RabbitMQ's other clients.
fn refused(url: &str) -> Option<String> {
    let (broker, _) = url.split_once("://")?.1.split_once('/')?;
    Some(format!(
        "remove the virtual host from the URL: write `amqp://{broker}` and set `virtual_host`"
    ))
}

/// Checks the name of a queue, an exchange or a virtual host.
///
/// # Errors
/// Returns a description of the problem.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err("must not be empty".into()),
        1..=NAME_BYTES_MAX => Ok(()),
        many => Err(format!("has {many} bytes; AMQP allows at most {NAME_BYTES_MAX}")),
    }
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
        if !(1..=86_400_000).contains(&self.connect_timeout.0.as_millis()) {
            return invalid("connect_timeout", "must be from 1ms to 24h".into());
        }
        let heartbeat_s = match u16::try_from(self.heartbeat.0.as_secs()) {
            Ok(seconds @ 1..=3600) if self.heartbeat.0.subsec_nanos() == 0 => seconds,
            _ => return invalid("heartbeat", "must be whole seconds, from 1s to 1h".into()),
        };
        if let Err(problem) = check_name(&self.virtual_host) {
            return invalid("virtual_host", problem);
        }
        let client_id =
            self.client_id.unwrap_or_else(|| format!("aqueduct-{}-{}", cx.env.host, cx.name));
        let login = secret::login(self.user, self.password);
        let login = login.map_err(|error| error.below("broker"))?;
        let Brokers { addresses, dialer } =
            Brokers::from_settings(&self.urls, self.tls, refused, cx)?;
        Ok(Target {
            addresses,
            virtual_host: self.virtual_host.into(),
            client_id: client_id.into(),
            timeout: self.connect_timeout.0,
            heartbeat_s,
            dialer,
            login,
        })
    }
}

impl Target {
    /// Returns the response of SASL PLAIN.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let (user, password) = match &self.login {
            None => ("guest", "guest"),
            Some((user, password)) => {
                (&**user, password.as_ref().map(Secret::expose).unwrap_or_default())
            }
        };
        format!("\0{user}\0{password}").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_host_in_a_url_is_refused_with_the_remedy() {
        assert_eq!(refused("amqp://a:5672"), None);
        assert!(refused("amqp://a:5672/%2f").unwrap().contains("`virtual_host`"));
    }
}

//! The settings of a connection to a broker.

use std::sync::Arc;
use std::time::Duration;

use pipeline::secret::{self, Login};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Secret, address};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::{ClientTls, Dialer};

/// Bytes of a name at most, as the protocol has it.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// The broker, and how it is reached.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broker {
    /// Address of the broker, and those of the other nodes of its cluster, which are tried in this
    /// order: `amqp://HOST:PORT`, usually with port 5672. `amqps://HOST:PORT` is TLS, usually with
    /// port 5671.
    urls: Vec<String>,
    /// Virtual host of the queues and exchanges.
    #[serde(default = "virtual_host")]
    virtual_host: String,
    /// Name of the connection in the broker's lists. `aqueduct-HOST-NAME` with the names of this
    /// host and of the component unless set.
    #[serde(default)]
    client_id: Option<String>,
    /// User, sent by SASL PLAIN. Without one it is `guest` with the password `guest`, which
    /// RabbitMQ takes from its own host alone.
    #[serde(default)]
    user: Option<String>,
    /// Password of `user`. Best a reference, `"${file:/run/secrets/rabbitmq}"`.
    #[serde(default)]
    password: Option<Secret>,
    /// How long a connection may take until the broker has opened it.
    #[serde(default = "connect_timeout")]
    connect_timeout: Period,
    /// How long either side may send nothing, not even a frame that says that it is there. A
    /// connection on which nothing comes for twice that long has ended. Whole seconds; the broker
    /// may ask for less.
    #[serde(default = "heartbeat")]
    heartbeat: Period,
    /// TLS of `amqps://`: authorities, certificate. Those of the host unless set.
    #[serde(default)]
    tls: Option<ClientTls>,
}

fn virtual_host() -> String {
    "/".to_owned()
}

fn connect_timeout() -> Period {
    Period(Duration::from_secs(10))
}

fn heartbeat() -> Period {
    Period(Duration::from_secs(60))
}

/// A broker as it is connected to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    /// `host:port`, in the order in which they are tried.
    pub(crate) addresses: Arc<[Arc<str>]>,
    pub(crate) virtual_host: Arc<str>,
    pub(crate) client_id: Arc<str>,
    pub(crate) timeout: Duration,
    /// In seconds, as the protocol has it.
    pub(crate) heartbeat_s: u16,
    pub(crate) dialer: Dialer,
    login: Option<Login>,
}

/// The address in a URL, and whether it is of TLS.
fn parse(url: &str) -> Result<(Arc<str>, bool), String> {
    let example = "amqp://broker-1:5672";
    let (address, is_tls) = match url.split_once("://") {
        Some(("amqp", address)) => (address, false),
        Some(("amqps", address)) => (address, true),
        _ => return Err(format!("`{url}` is no URL of AMQP; write for example \"{example}\"")),
    };
    if address.contains('@') {
        return Err("a user in a URL is shown with it: set `user` and `password` instead".into());
    }
    if let Some((address, _)) = address.split_once('/') {
        return Err(format!(
            "`{url}`: the virtual host is a setting of its own: write `amqp://{address}` and set \
             `virtual_host`"
        ));
    }
    address::check(address, "broker-1:5672", false)?;
    Ok((address.into(), is_tls))
}

/// What is wrong with a name of a queue, an exchange or a virtual host, if anything.
///
/// # Errors
/// The cause.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err("must not be empty".into()),
        1..=NAME_BYTES_MAX => Ok(()),
        many => Err(format!("has {many} bytes; AMQP takes {NAME_BYTES_MAX} at most")),
    }
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
        let parsed: Result<Vec<_>, String> = self.urls.iter().map(|url| parse(url)).collect();
        let parsed = match parsed {
            Ok(parsed) if parsed.is_empty() => {
                return invalid("urls", "at least one; \"amqp://broker-1:5672\"".into());
            }
            Ok(parsed) => parsed,
            Err(problem) => return invalid("urls", problem),
        };
        let is_tls = parsed[0].1;
        if parsed.iter().any(|(_, it)| *it != is_tls) {
            return invalid(
                "urls",
                "all of them begin with `amqp://`, or all with `amqps://`".into(),
            );
        }
        for (address, _) in parsed.iter().filter(|_| !is_tls) {
            cx.plain_text.speaks("broker.urls", address, "write `amqps://`");
        }
        let tls = match (is_tls, self.tls) {
            (false, Some(_)) => {
                return invalid("tls", "it counts with `amqps://` alone; write the URLs so".into());
            }
            (true, None) => Some(ClientTls::default()),
            (_, tls) => tls,
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
        let dialer = Dialer::new(&cx.env, tls, &[]).map_err(|error| error.below("broker"))?;
        Ok(Target {
            addresses: parsed.into_iter().map(|(address, _)| address).collect(),
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
    /// The answer of SASL PLAIN.
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
    fn a_url_that_is_none_of_amqp_is_refused_with_the_remedy() {
        assert_eq!(parse("amqp://a:5672").unwrap(), ("a:5672".into(), false));
        assert_eq!(parse("amqps://[::1]:5671").unwrap(), ("[::1]:5671".into(), true));
        for (url, cause) in [
            ("http://a:15672", "no URL of AMQP"),
            ("a:5672", "no URL of AMQP"),
            ("amqp://a", "has no port"),
            ("amqp://u:p@a:5672", "`user` and `password`"),
            ("amqp://a:5672/%2f", "`virtual_host`"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(cause), "{url}: {error}");
        }
    }
}

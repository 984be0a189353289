//! Settings of a connection to a server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pipeline::env::Env;
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Secret, address};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tls::{Client, ClientTls};

use crate::login::{self, Credentials, Login};

const EXAMPLE: &str = "nats://nats-1:4222";

/// The server and its connection settings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// Address of the server, and of other servers of its cluster, tried in this order:
    /// `nats://HOST:PORT`, usually port 4222. `tls://HOST:PORT` uses TLS on the same port.
    urls: Vec<String>,
    /// JetStream domain, if the streams are in a domain other than that of the server.
    #[serde(default)]
    domain: Option<String>,
    /// Connection name on the server. Default: `aqueduct-HOST-NAME`, with the names of this host
    /// and of the component.
    #[serde(default)]
    client_id: Option<String>,
    /// User, if the server requires one.
    #[serde(default)]
    user: Option<String>,
    /// Password of `user`. Use a reference, such as `"${file:/run/secrets/nats}"`.
    #[serde(default)]
    password: Option<Secret>,
    /// Token, if the server requires one instead of a user.
    #[serde(default)]
    token: Option<Secret>,
    /// NKey seed of a user, `SU…`, if the server knows its public key. Use a reference, such as
    /// `"${file:/run/secrets/nats.nk}"`.
    #[serde(default)]
    nkey_seed: Option<Secret>,
    /// File with the JWT and the seed of a user (`.creds`), written by `nsc`, for servers in
    /// operator mode. It is read for each connection.
    #[serde(default)]
    credentials: Option<PathBuf>,
    /// Timeout for a connection, and for a JetStream response.
    #[serde(default = "pipeline::units::seconds::<10>")]
    connect_timeout: Period,
    /// Interval of pings. A connection without any data for twice this time is closed.
    #[serde(default = "pipeline::units::seconds::<30>")]
    heartbeat: Period,
    /// TLS of `tls://`: certificate authorities, certificate. Default: the certificate authorities
    /// of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
}

/// Validated connection settings. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    /// `host:port`, in the order of attempts.
    pub(crate) addresses: Arc<[Arc<str>]>,
    /// Subject prefix of JetStream requests.
    pub(crate) api: Arc<str>,
    pub(crate) client_id: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) tls: Option<Client>,
    pub(crate) env: Env,
    pub(crate) login: Login,
}

impl Server {
    /// Validates the settings.
    ///
    /// # Errors
    /// Fails if one of them is invalid.
    pub(crate) fn target(self, cx: &BuildContext) -> Result<Target, BuildError> {
        let invalid = |setting: &str, problem: &str| {
            Err(BuildError::invalid(format!("server.{setting}"), problem))
        };
        if !(1..=86_400_000).contains(&self.connect_timeout.0.as_millis()) {
            return invalid("connect_timeout", "must be from 1ms to 24h");
        }
        if !(100..=3_600_000).contains(&self.heartbeat.0.as_millis()) {
            return invalid("heartbeat", "must be from 100ms to 1h");
        }
        let is_token = |it: &String| !it.is_empty() && it.chars().all(is_of_token);
        let api = match self.domain {
            None => "$JS.API".to_owned(),
            Some(domain) if is_token(&domain) => format!("$JS.{domain}.API"),
            Some(_) => {
                return invalid("domain", "must be one word without dots, spaces and wildcards");
            }
        };
        let login = Login::from_settings(login::Settings {
            user: self.user,
            password: self.password,
            token: self.token,
            nkey_seed: self.nkey_seed,
            credentials: self.credentials,
        });
        let login = login.map_err(|error| error.below("server"))?;
        let (addresses, is_tls) = addresses(&self.urls, cx)?;
        let settings = match (is_tls, self.tls) {
            (false, Some(_)) => {
                return invalid(
                    "tls",
                    "has an effect only with `tls://`; write `tls://` in `server.urls`, or remove \
                     this",
                );
            }
            (true, None) => Some(ClientTls::default()),
            (_, tls) => tls,
        };
        let tls = settings.map(|settings| Client::new(settings, &cx.env, &[])).transpose();
        let client_id =
            self.client_id.unwrap_or_else(|| format!("aqueduct-{}-{}", cx.env.host, cx.name));
        Ok(Target {
            addresses,
            api: api.into(),
            client_id: client_id.into(),
            timeout: self.connect_timeout.0,
            heartbeat: self.heartbeat.0,
            tls: tls.map_err(|error| error.below("server"))?,
            env: cx.env.clone(),
            login,
        })
    }
}

/// Returns true if a character is valid in a token of a subject without wildcards.
pub(crate) fn is_of_token(character: char) -> bool {
    !character.is_whitespace() && !character.is_control() && !".*>".contains(character)
}

/// Addresses, and whether they use TLS: all or none.
type Reached = (Arc<[Arc<str>]>, bool);

/// Returns the addresses of the URLs.
fn addresses(urls: &[String], cx: &BuildContext) -> Result<Reached, BuildError> {
    let invalid = |problem: String| BuildError::invalid("server.urls", problem);
    let parsed = urls.iter().map(|url| parse(url)).collect::<Result<Vec<_>, _>>();
    let parsed = parsed.map_err(invalid)?;
    let Some(&(_, is_tls)) = parsed.first() else {
        return Err(invalid(format!("must have at least one URL, for example \"{EXAMPLE}\"")));
    };
    if parsed.iter().any(|(_, it)| *it != is_tls) {
        return Err(invalid("must all start with `nats://`, or all with `tls://`".into()));
    }
    for (address, _) in parsed.iter().filter(|(_, is_tls)| !is_tls) {
        cx.plain_text.speaks("server.urls", address, "write `tls://`");
    }
    Ok((parsed.into_iter().map(|(address, _)| address).collect(), is_tls))
}

/// Returns the address in a URL, and whether it uses TLS.
fn parse(url: &str) -> Result<(Arc<str>, bool), String> {
    // Check this first: the other errors show the URL.
    if url.contains('@') {
        return Err("must not contain a user, because URLs are shown in logs; set `user` and \
                    `password`, or `token`, instead"
            .into());
    }
    let (address, is_tls) = match url.split_once("://") {
        Some(("nats", address)) => (address, false),
        Some(("tls", address)) => (address, true),
        _ => {
            return Err(format!(
                "`{url}` must start with `nats://` or `tls://`; write for example \"{EXAMPLE}\""
            ));
        }
    };
    address::check(address, "nats-1:4222", false)?;
    Ok((address.into(), is_tls))
}

impl Target {
    /// Returns the content of `CONNECT`, with the fields of the login.
    pub(crate) fn connect(&self, client_id: &str, login: &Credentials) -> Value {
        let mut said = json!({
            "verbose": false,
            "pedantic": false,
            "tls_required": self.tls.is_some(),
            "name": client_id,
            "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"),
            "protocol": 1,
            "echo": false,
            "headers": true,
            "no_responders": true,
        });
        for (name, value) in &login.fields {
            said[*name] = json!(value);
        }
        said
    }

    /// Describes an address that was reached.
    pub(crate) fn reached(&self, address: &str) -> String {
        match self.tls {
            Some(_) => format!("{address} is reachable over TLS"),
            None => format!("{address} is reachable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_of_nats_is_refused_with_the_remedy() {
        assert_eq!(parse("nats://a:4222").unwrap(), ("a:4222".into(), false));
        assert_eq!(parse("tls://[::1]:4222").unwrap(), ("[::1]:4222".into(), true));
        for (url, cause) in [
            ("http://a:8222", "must start with `nats://`"),
            ("a:4222", "must start with `nats://`"),
            ("nats://a", "has no port"),
            ("nats://u:p@a:4222", "`user` and `password`"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(cause), "{url}: {error}");
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}

//! The shared settings of all sinks for search engines: logins, id prefixes, limits of requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use pipeline::deliver::{Destinations, Options};
use pipeline::secret::login;
use pipeline::units::{ByteSize, Period, mib, seconds};
use pipeline::{BuildContext, BuildError, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;
use web::settings::{HTTP, add_headers, tls_without_https, url_of};
use web::{Connector, basic};

use crate::client::Client;
use crate::events::Routes;
use crate::index::{IndexName, Kind};

/// Maximum length of an id prefix: an id may have 512 bytes.
const NAME_BYTES_MAX: usize = 128;

/// A kind of search engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Engine {
    /// Noun for its nodes in messages.
    pub(crate) name: &'static str,
    /// The kind of the names that select the place of a document.
    pub(crate) kind: Kind,
    /// URL of a node, for messages.
    pub(crate) example: &'static str,
    /// Media type of its requests.
    pub(crate) content_type: &'static str,
}

/// Settings that all sinks for search engines share. They read them as a part of their own
/// ([`PART`](pipeline::settings::PART)).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shared {
    /// Header with the time of the event, in milliseconds since 1970.
    #[serde(default = "time_header")]
    time_header: String,
    /// Prefix of document ids. Give the same name to sinks that may receive the same batches for
    /// the same destination, and different names to the sinks of two channels between which a
    /// selector splits a batch. Default: the name of the sink.
    #[serde(default)]
    name: Option<String>,
    /// User of the login. Default: none.
    #[serde(default)]
    user: Option<String>,
    /// Password of the user.
    #[serde(default)]
    password: Option<Secret>,
    /// Further headers of each request, whose values are never shown, such as `authorization` with
    /// an API key, `"ApiKey …"`, or a token, `"Bearer …"`.
    #[serde(default)]
    secret_headers: BTreeMap<String, Secret>,
    /// TLS of URLs that begin with `https://`. Default: the certificate authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
    /// Size limit of a request. A larger batch needs several requests.
    #[serde(default = "mib::<8>")]
    request_bytes_max: ByteSize,
    /// Limit of batches in flight.
    #[serde(default = "pipeline::units::number::<2>")]
    in_flight_max: usize,
    /// Timeout of a batch, including the connection.
    #[serde(default = "seconds::<60>")]
    timeout: Period,
    /// Time that events wait for a destination, selected by a header or their time, that does not
    /// exist or does not accept them. Then they become dead letters. Events wait without a limit
    /// for a destination that does not depend on them.
    #[serde(default = "pipeline::deliver::destination_wait")]
    destination_wait: Period,
}

fn time_header() -> String {
    "timestamp".into()
}

/// The parts of a sink that the shared settings describe.
pub(crate) struct Parts {
    pub(crate) client: Client,
    /// The scope in which ids are unique.
    pub(crate) scope: String,
    pub(crate) routes: Routes,
    pub(crate) request_bytes_max: usize,
    pub(crate) destinations: Destinations,
    pub(crate) options: Options,
}

impl Shared {
    /// Creates the parts of a sink for these nodes, whose documents go to places with this name.
    ///
    /// # Errors
    /// A setting is invalid.
    pub(crate) fn parts(
        self,
        engine: Engine,
        urls: &[String],
        place: &str,
        cx: &BuildContext,
    ) -> Result<Parts, BuildError> {
        if self.in_flight_max == 0 {
            return Err(BuildError::invalid("in_flight_max", "must be at least 1"));
        }
        let setting = engine.kind.what();
        let index =
            IndexName::new(engine.kind, place).map_err(|it| BuildError::invalid(setting, it))?;
        if index.has_time() && self.time_header.is_empty() {
            let problem = format!(
                "must name the header with the time, because the name of the {setting} contains a \
                 time"
            );
            return Err(BuildError::invalid("time_header", problem));
        }
        let urls = nodes(urls, self.tls.as_ref(), engine.example, cx)?;
        let name = name(self.name, cx)?;
        let connector = Connector::new(self.tls, &cx.env)?;
        let (user, password, secret) = (self.user, self.password, &self.secret_headers);
        let headers = headers(engine.content_type, user, password, secret)?;
        Ok(Parts {
            // For all that is known here, another node may belong to another cluster.
            scope: format!("{name} in {place} of {}", urls.join(", ")),
            client: Client::new(engine.name, &connector, urls, headers),
            routes: Routes { name, index, time_header: self.time_header },
            request_bytes_max: usize::try_from(self.request_bytes_max.0).unwrap_or(usize::MAX),
            destinations: Destinations::new(self.destination_wait),
            options: Options {
                in_flight_max: self.in_flight_max,
                in_order: false,
                timeout: self.timeout.0,
            },
        })
    }
}

/// Validates the URLs of the nodes, and removes trailing slashes; `example` is for messages.
///
/// # Errors
/// There is no URL, one is invalid, or TLS is configured without an `https` URL.
fn nodes(
    urls: &[String],
    tls: Option<&ClientTls>,
    example: &str,
    cx: &BuildContext,
) -> Result<Vec<Arc<str>>, BuildError> {
    let urls = urls.iter().map(|url| node(url, example)).collect::<Result<Vec<_>, _>>()?;
    for url in urls.iter().filter(|url| url.starts_with("http://")) {
        cx.plain_text.speaks("urls", url, "write `https://`");
    }
    if urls.is_empty() {
        let problem = format!("must have at least one URL, for example [\"{example}\"]");
        return Err(BuildError::invalid("urls", problem));
    }
    if tls.is_some() && !urls.iter().any(|url| url.starts_with("https://")) {
        return Err(tls_without_https("urls"));
    }
    Ok(urls)
}

/// Returns the id prefix: the setting, or the sink's name.
///
/// # Errors
/// It is too long or empty.
fn name(set: Option<String>, cx: &BuildContext) -> Result<String, BuildError> {
    let name = set.unwrap_or_else(|| cx.name.to_string());
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let problem = format!(
            "must have 1 to {NAME_BYTES_MAX} bytes, because it is the prefix of each document id"
        );
        return Err(BuildError::invalid("name", problem));
    }
    Ok(name)
}

/// Parses the URL of a node, and removes a trailing slash.
fn node(url: &str, example: &str) -> Result<Arc<str>, BuildError> {
    let invalid = |problem: String| BuildError::invalid("urls", format!("`{url}`: {problem}"));
    let plain = url.trim_end_matches('/');
    let (with, login) = ((HTTP.0, &*format!("`{example}`")), "`user` and `password`");
    let uri = url_of("urls", &format!("{plain}/"), with, login);
    if uri.map_err(|error| invalid(error.problem))?.query().is_some() {
        let problem = "must not have a query (`?…`), because the sink appends paths to the URL";
        return Err(invalid(problem.into()));
    }
    Ok(plain.into())
}

/// Returns the headers of all requests, whose body has this type.
///
/// # Errors
/// A header or a login is invalid, or there are two logins.
fn headers(
    content_type: &'static str,
    user: Option<String>,
    password: Option<Secret>,
    secret: &BTreeMap<String, Secret>,
) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let agent = concat!("aqueduct/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    add_headers(&mut headers, "", &BTreeMap::new(), secret)?;
    if let Some((user, password)) = login(user, password)? {
        if headers.contains_key(AUTHORIZATION) {
            let problem = "cannot be combined with `user` and `password`: remove one of the two";
            return Err(BuildError::invalid("secret_headers.authorization", problem));
        }
        let password = password.as_ref().map_or("", |it| it.expose());
        headers.insert(AUTHORIZATION, basic(&user, password));
    }
    Ok(headers)
}

//! Shared settings of all sinks for search engines: nodes, logins, id prefixes.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Uri};
use kit::http::add_headers;
use pipeline::secret::login;
use pipeline::{BuildContext, BuildError, Secret};
use tls::ClientTls;

/// Maximum length of an id prefix: an id may have 512 bytes.
const NAME_BYTES_MAX: usize = 128;

/// Default values.
pub(crate) mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(crate) fn time_header() -> String {
        "timestamp".into()
    }

    pub(crate) fn request_bytes_max() -> ByteSize {
        ByteSize(8 << 20)
    }

    pub(crate) fn in_flight_max() -> usize {
        2
    }

    pub(crate) fn timeout() -> Period {
        Period(Duration::from_secs(60))
    }
}

/// Validates the URLs of the nodes, and removes trailing slashes; `example` is for messages.
///
/// # Errors
/// There is no URL, one is invalid, or TLS is configured without an `https` URL.
pub(crate) fn nodes(
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
        let problem = "has an effect only with `https://`; write `https://` in `urls`, or remove \
                       this";
        return Err(BuildError::invalid("tls", problem));
    }
    Ok(urls)
}

/// Returns the id prefix: the setting, or the sink's name.
///
/// # Errors
/// It is too long or empty.
pub(crate) fn name(set: Option<String>, cx: &BuildContext) -> Result<String, BuildError> {
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
    let invalid = |problem: String| Err(BuildError::invalid("urls", format!("`{url}`: {problem}")));
    let plain = url.trim_end_matches('/');
    let uri: Uri = match format!("{plain}/").parse() {
        Ok(uri) => uri,
        Err(error) => return invalid(format!("{error}; write for example `{example}`")),
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return invalid("must start with `http://` or `https://`".into());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return invalid(
            "must not contain a user, because URLs are shown in logs; set `user` and `password` \
             instead"
                .into(),
        );
    }
    if uri.host().is_none_or(str::is_empty) {
        return invalid("must have a host".into());
    }
    if uri.query().is_some() {
        return invalid(
            "must not have a query (`?…`), because the sink appends paths to the URL".into(),
        );
    }
    Ok(plain.into())
}

/// Returns the headers of all requests, whose body has this type.
///
/// # Errors
/// A header or a login is invalid, or there are two logins.
pub(crate) fn headers(
    content_type: &'static str,
    user: Option<String>,
    password: Option<Secret>,
    secret: &BTreeMap<String, Secret>,
) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let agent = concat!("aqueduct/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    add_headers(&mut headers, &BTreeMap::new(), secret)?;
    if let Some((user, password)) = login(user, password)? {
        if headers.contains_key(AUTHORIZATION) {
            let problem = "cannot be combined with `user` and `password`: remove one of the two";
            return Err(BuildError::invalid("secret_headers.authorization", problem));
        }
        let password = password.as_ref().map_or("", |it| it.expose().trim_end_matches('\n'));
        let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut value =
            HeaderValue::from_str(&text).map_err(|error| BuildError::invalid("user", error))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

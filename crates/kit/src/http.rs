//! Requests of sinks that send HTTP, and the bodies of requests that sources receive.

pub mod body;

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{HeaderMap, Uri};
use pipeline::{BuildError, Secret};

/// Characters of an answer that an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// Headers that are secrets by their meaning.
const SECRET: [HeaderName; 3] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE];

/// Returns the target of a request, the address to connect to, and whether to use TLS.
///
/// # Errors
/// It is no URL of a server.
pub fn target(url: &str) -> Result<(Uri, Arc<str>, bool), BuildError> {
    let invalid = |problem: String| BuildError::invalid("url", problem);
    let uri: Uri = url.parse().map_err(|error| {
        invalid(format!("{error}; write for example \"http://host:8428/insert/jsonline\""))
    })?;
    let (is_tls, port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(invalid("must start with `http://` or `https://`".into())),
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let problem = "must not contain a user, because URLs are shown in logs; set \
                       `authorization` in `secret_headers` instead";
        return Err(invalid(problem.into()));
    }
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| invalid("must have a host".into()))?;
    let address = format!("{host}:{}", uri.port_u16().unwrap_or(port));
    Ok((uri, address.into(), is_tls))
}

/// Adds the headers of the settings `headers` and `secret_headers`.
///
/// # Errors
/// A name or value can be none, or a secret is where it would be shown.
pub fn add_headers(
    headers: &mut HeaderMap,
    plain: &BTreeMap<String, String>,
    secret: &BTreeMap<String, Secret>,
) -> Result<(), BuildError> {
    let value = |setting: String, text: &str| {
        HeaderValue::from_str(text).map_err(|error| BuildError::invalid(setting, error))
    };
    let header = |setting: &str, name: &String| {
        HeaderName::try_from(name).map_err(|error| BuildError::invalid(setting, error))
    };
    for (name, text) in plain {
        let setting = format!("headers.{name}");
        let name = header(&setting, name)?;
        if SECRET.contains(&name) {
            let problem = "is a secret: move it to `secret_headers`, whose values are never shown";
            return Err(BuildError::invalid(setting, problem));
        }
        headers.insert(name, value(setting, text)?);
    }
    for (name, secret) in secret {
        let setting = format!("secret_headers.{name}");
        let name = header(&setting, name)?;
        let mut value = value(setting, secret.expose())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

/// The beginning of an answer as one line without control characters.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    let escaped = shown.chars().map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = escaped.collect();
    if shown.is_empty() { "no reason given".to_owned() } else { shown }
}

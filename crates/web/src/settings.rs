//! Settings of requests: URLs, headers, and secrets in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{HeaderMap, Uri};
use pipeline::{BuildContext, BuildError, Secret};
use tls::ClientTls;

/// Schemes of HTTP servers, and an example for messages.
pub const HTTP: (&[&str], &str) = (&["http", "https"], "`http://host:80/path`");

/// Headers that are always secrets.
const SECRET: [HeaderName; 3] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE];

/// Returns a URL without its parameters, which can contain secrets.
pub fn shown_url(uri: &Uri) -> Arc<str> {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |it| it.as_str());
    format!("{scheme}://{authority}{}", uri.path()).into()
}

/// Returns the `host:port` of a URL, with the default port of its scheme, and whether to use TLS.
pub fn address(uri: &Uri) -> Option<(String, bool)> {
    let is_secure = matches!(uri.scheme_str(), Some("https" | "wss"));
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    Some((format!("{}:{port}", uri.host()?), is_secure))
}

/// Parses the URL of a server, with one of these schemes. `login` names the settings for a user and
/// a password, which a URL must not contain.
///
/// # Errors
/// It is not such a URL.
pub fn url_of(
    setting: &str,
    text: &str,
    (schemes, example): (&[&str], &str),
    login: &str,
) -> Result<Uri, BuildError> {
    let invalid = |problem: String| BuildError::invalid(setting, problem);
    let uri: Uri =
        text.parse().map_err(|error| invalid(format!("{error}; write for example {example}")))?;
    if !uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) {
        let begins: Vec<_> = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect();
        return Err(invalid(format!("must start with {}", begins.join(" or "))));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let problem = "must not contain a user name, because URLs are shown in logs";
        return Err(invalid(format!("{problem}; set {login} instead")));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(invalid("must have a host".into()));
    }
    Ok(uri)
}

/// Parses the setting `url` of a sink with `secret_headers` and `tls`, and reports plain text.
///
/// # Errors
/// It is not the URL of an HTTP server, or `tls` has no effect.
pub fn target(text: &str, tls: Option<&ClientTls>, cx: &BuildContext) -> Result<Uri, BuildError> {
    let uri = url_of("url", text, HTTP, "`authorization` in `secret_headers`")?;
    if tls.is_some() && uri.scheme_str() != Some("https") {
        return Err(tls_without_https("url"));
    }
    name_plain_text("url", &uri, cx);
    Ok(uri)
}

/// Returns the error for a setting `tls` that has no effect on the URLs in `setting`.
pub fn tls_without_https(setting: &str) -> BuildError {
    let problem = "has an effect only with `https://`; write `https://` in";
    BuildError::invalid("tls", format!("{problem} `{setting}`, or remove this"))
}

/// Reports that requests to this server are not encrypted, if its URL has no TLS.
pub fn name_plain_text(setting: &str, uri: &Uri, cx: &BuildContext) {
    let remedy = match uri.scheme_str() {
        Some("http") => "write `https://`",
        Some("ws") => "write `wss://`",
        _ => return,
    };
    if let Some(server) = uri.authority() {
        cx.plain_text.speaks(setting, server.as_str(), remedy);
    }
}

/// Adds the headers of the settings `headers` and `secret_headers`, whose names in messages start
/// with `prefix`.
///
/// # Errors
/// A name or a value is invalid, or a header in `headers` is a secret.
pub fn add_headers(
    headers: &mut HeaderMap,
    prefix: &str,
    plain: &BTreeMap<String, String>,
    secret: &BTreeMap<String, Secret>,
) -> Result<(), BuildError> {
    let header = |setting: &str, name: &String| {
        HeaderName::try_from(name).map_err(|error| BuildError::invalid(setting, error))
    };
    for (name, text) in plain {
        let setting = format!("{prefix}headers.{name}");
        let name = header(&setting, name)?;
        if SECRET.contains(&name) {
            let problem = "is a secret: move it to `secret_headers`, whose values are never shown";
            return Err(BuildError::invalid(setting, problem));
        }
        let value = HeaderValue::from_str(text);
        headers.insert(name, value.map_err(|error| BuildError::invalid(setting, error))?);
    }
    for (name, secret) in secret {
        let setting = format!("{prefix}secret_headers.{name}");
        headers.insert(header(&setting, name)?, hidden(&setting, secret.expose())?);
    }
    Ok(())
}

/// Returns the value of a header that is never shown.
///
/// # Errors
/// It contains bytes that are invalid in a header.
pub fn hidden(setting: &str, text: &str) -> Result<HeaderValue, BuildError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|error| BuildError::invalid(setting, error))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_urls_are_rejected_without_showing_the_password() {
        for url in ["h:80", "ws://h/", "/p", "http:///p", "http://u:hunter2@h/"] {
            let error = url_of("url", url, HTTP, "`user`").unwrap_err();
            assert!(error.setting == "url" && !error.problem.contains("hunter2"), "{error}");
        }
        assert_eq!(&*shown_url(&"https://h/p?token=1".parse().unwrap()), "https://h/p");
    }

    #[test]
    fn headers_that_are_secrets_are_rejected_where_they_would_be_shown() {
        let mut headers = HeaderMap::new();
        let one = |name: &str| BTreeMap::from([(name.to_owned(), "v".to_owned())]);
        let error = add_headers(&mut headers, "access.", &one("cookie"), &BTreeMap::new());
        assert_eq!(error.unwrap_err().setting, "access.headers.cookie");
        let secret = BTreeMap::from([("cookie".to_owned(), Secret::from("v".to_owned()))]);
        add_headers(&mut headers, "", &one("x-team"), &secret).unwrap();
        assert!(headers["cookie"].is_sensitive() && !headers["x-team"].is_sensitive());
    }
}

//! URLs of servers in settings: `http://host:port/path`, or `https://` for TLS.

use pipeline::BuildError;

/// A URL, in parts.
pub(crate) struct HttpUrl<'a> {
    /// True for `https://`.
    pub(crate) is_tls: bool,
    /// The host, and the port if it has one.
    pub(crate) host: &'a str,
    /// The rest: empty, or from `/`, `?` or `#` on.
    pub(crate) path: &'a str,
}

impl<'a> HttpUrl<'a> {
    /// Returns the parts; `None` if the URL has another scheme.
    pub(crate) fn new(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        Some(Self { is_tls, host, path })
    }

    /// `host:port`, with the port of the scheme if the URL has none.
    pub(crate) fn address(&self) -> String {
        let Self { is_tls, host, .. } = self;
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let port = if *is_tls { 443 } else { 80 };
        if has_port { (*host).to_owned() } else { format!("{host}:{port}") }
    }
}

/// Rejects settings of TLS for a URL without TLS.
pub(crate) fn check_tls(has_settings: bool, is_tls: bool) -> Result<(), BuildError> {
    if has_settings && !is_tls {
        let problem =
            "has an effect only with `https://`; write `https://` in `url`, or remove this";
        return Err(BuildError::invalid("tls", problem));
    }
    Ok(())
}

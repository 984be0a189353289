//! Decides which requests are answered: those for this host, and, if a token is set, with the
//! token.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use metrics::{AdminReason, Metrics};
use pipeline::Secret;
use subtle::ConstantTimeEq;
use tls::bearer;

use agent::actor::Actor;

/// The origin of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client<'a> {
    /// Its address.
    pub(super) address: &'a str,
    /// The name that its certificate proves, where the listener asks for one.
    pub(super) certificate: Option<&'a Arc<str>>,
}

/// The requirements of a listener for requests.
pub(super) struct Guard {
    /// The host of the setting.
    host: String,
    loopback: bool,
    token: Option<Secret>,
}

impl Guard {
    /// Of a listener that was asked for at `address` and has `local`.
    pub(super) fn new(address: &str, local: &str, token: Option<Secret>) -> Self {
        let loopback = local.parse().is_ok_and(|it: SocketAddr| it.ip().is_loopback());
        Self { host: host(address).to_owned(), loopback, token }
    }

    /// Returns `true` if only this host reaches the listener.
    pub(super) fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Returns `true` if requests must have a token.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Returns `true` if the request is addressed to this listener. A site whose name suddenly
    /// resolves to a loopback address (DNS rebinding) has its own name in `Host`. Without this
    /// check it could read the agent's answers in the operator's browser. A request without `Host`
    /// does not come from a browser.
    pub(super) fn is_meant(&self, headers: &HeaderMap) -> bool {
        let is_own = |value: &str| {
            let name = host(value);
            name.eq_ignore_ascii_case("localhost")
                || name.eq_ignore_ascii_case(&self.host)
                || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        };
        !self.loopback || headers.get_all(HOST).iter().all(|it| it.to_str().is_ok_and(is_own))
    }

    /// Returns the identity of a request for the audit log.
    pub(super) fn actor(&self, headers: &HeaderMap, client: Client<'_>) -> Actor {
        let by = match (self.has_token(), headers.contains_key(AUTHORIZATION)) {
            (true, _) if self.is_allowed(headers) => "admin token",
            (true, true) => "a wrong token",
            (false, _) if self.loopback => "loopback",
            (true, false) | (false, _) => "no token",
        };
        let certificate = client.certificate.map(|name| name.to_string());
        Actor { certificate, ..Actor::new(by, Some(client.address.to_owned())) }
    }

    /// Returns `true` if no token is set, or the request has the right one. Takes the same time for
    /// any wrong token.
    pub(super) fn is_allowed(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        shown.is_some_and(|shown| token.expose().as_bytes().ct_eq(shown).into())
    }
}

/// Counts a request or a connection that is refused.
pub(super) fn count(metrics: &Metrics, reason: &'static str) {
    metrics.admin_refusals.get_or_create(&AdminReason { reason }).inc();
}

/// Returns the host of `host:port` or of a plain host, without the brackets of IPv6.
fn host(address: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match address.rsplit_once(':') {
        Some((host, port)) if is_port(port) && (!host.contains(':') || host.ends_with(']')) => host,
        _ => address,
    };
    host.trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn with(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn on_loopback_only_names_of_this_host_are_answered() {
        let guard = Guard::new("admin.local:9464", "127.0.0.1:9464", None);
        for (host, meant) in [
            ("localhost", true),
            ("LOCALHOST:9464", true),
            ("127.0.0.1:9464", true),
            ("127.1.2.3", true),
            ("[::1]:1", true),
            ("::1", true),
            ("Admin.Local:80", true),
            ("evil.example:9464", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example:9464@localhost", false),
            ("10.0.0.1:9464", false),
            ("", false),
        ] {
            assert_eq!(guard.is_meant(&with(HOST, host)), meant, "{host}");
        }
        assert!(guard.is_meant(&HeaderMap::new()));
        let mut two = with(HOST, "localhost");
        two.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(!guard.is_meant(&two));
        let everywhere = Guard::new("0.0.0.0:9464", "0.0.0.0:9464", None);
        assert!(everywhere.is_meant(&with(HOST, "agent-1.example:9464")));
    }

    #[test]
    fn the_token_is_compared_whole() {
        let token = Some(Secret::from("0123456789abcdef".to_owned()));
        let guard = Guard::new("0.0.0.0:1", "0.0.0.0:1", token);
        for (value, allowed) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(guard.is_allowed(&with(AUTHORIZATION, value)), allowed, "{value}");
        }
        assert!(!guard.is_allowed(&HeaderMap::new()));
        assert!(Guard::new("h:1", "1.1.1.1:1", None).is_allowed(&HeaderMap::new()));
    }
}

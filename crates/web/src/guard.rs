//! Checks of requests to a listener for operators: the host that they name, and their token.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use pipeline::Secret;
use subtle::ConstantTimeEq;
use tls::bearer;

/// The requirements of a listener for requests.
#[derive(Debug)]
pub struct Guard {
    /// The host of the setting.
    host: String,
    is_loopback: bool,
    token: Option<Secret>,
}

impl Guard {
    /// Creates the requirements of a listener that was requested at `address` and has `local`.
    pub fn new(address: &str, local: &str, token: Option<Secret>) -> Self {
        Self { host: host(address).to_owned(), is_loopback: is_loopback(local), token }
    }

    /// Returns `true` if only this host reaches the listener.
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// Returns `true` if requests must have a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Returns `true` if the request is addressed to this listener. A request without `Host` does
    /// not come from a browser.
    pub fn is_meant(&self, headers: &HeaderMap) -> bool {
        let is_own = |value: &str| is_own_host(value, &self.host);
        !self.is_loopback || headers.get_all(HOST).iter().all(|it| it.to_str().is_ok_and(is_own))
    }

    /// Returns `true` if no token is set, or the request has it as `Bearer`.
    pub fn is_allowed(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        self.is_right(shown.and_then(bearer))
    }

    /// The same for the token as the password of `Basic`, as browsers send it.
    pub fn is_allowed_by_password(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        self.is_right(shown.and_then(password).as_deref())
    }

    /// Takes the same time for any wrong token.
    fn is_right(&self, shown: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else { return true };
        shown.is_some_and(|shown| token.expose().as_bytes().ct_eq(shown).into())
    }
}

/// Returns the password in a header of Basic authentication.
fn password(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = authorization.split_at_checked(6)?;
    let decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    scheme.eq_ignore_ascii_case(b"Basic ").then(|| decoded[colon + 1..].to_vec())
}

/// Returns `true` for `IP:PORT` that only this machine reaches.
fn is_loopback(address: &str) -> bool {
    address.parse().is_ok_and(|it: SocketAddr| it.ip().is_loopback())
}

/// Returns `true` if the `Host` of a request names this machine or `own`. A site whose name
/// suddenly resolves to a loopback address (DNS rebinding) has its own name there. Without this
/// check it could read answers in the operator's browser.
fn is_own_host(value: &str, own: &str) -> bool {
    let name = host(value);
    name.eq_ignore_ascii_case("localhost")
        || name.eq_ignore_ascii_case(own)
        || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
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

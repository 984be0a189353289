//! Identities of agents and operators.
//!
//! | client | proof | without one |
//! |---|---|---|
//! | agent | a token of the tokens file, or a certificate of the client authority | only on loopback, or with consent to an open server |
//! | operator | the admin token, as `Bearer`, or as the password of `Basic` for browsers | only on loopback |
//!
//! A change needs a POST with a header that no page of another site can send. On loopback, `Host`
//! must be this host, so that a site whose name resolves to it reads nothing.

use hyper::header::{AUTHORIZATION, HeaderMap};
use pipeline::Secret;
use tls::{ClientNames, Tokens, bearer};
use web::Guard;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It has no valid token: the reason.
    Unauthorized(&'static str),
    /// It is not possible at this address: the reason.
    Forbidden(&'static str),
}

/// The requirements of the listener.
#[derive(Debug)]
pub struct Access {
    /// The host, and the token of operators.
    guard: Guard,
    /// Tokens of agents.
    tokens: Option<Tokens>,
    /// True if agents need no proof.
    is_open: bool,
}

impl Access {
    /// Creates the requirements of a listener that was requested at `address` and has `local`. With
    /// `is_open`, agents need no proof.
    pub fn new(
        (address, local): (&str, &str),
        tokens: Option<Tokens>,
        admin: Option<Secret>,
        is_open: bool,
    ) -> Self {
        Self { guard: Guard::new(address, local, admin), tokens, is_open }
    }

    /// Returns `true` if only this host reaches the listener.
    pub fn is_loopback(&self) -> bool {
        self.guard.is_loopback()
    }

    /// Returns `true` if the request is addressed to this listener.
    pub(crate) fn is_meant(&self, headers: &HeaderMap) -> bool {
        self.guard.is_meant(headers)
    }

    /// Returns the name that an agent proves, if it has to prove one.
    pub(crate) async fn agent(
        &self,
        headers: &HeaderMap,
        names: &ClientNames,
    ) -> Result<Option<String>, Denied> {
        if let Some(name) = names.first() {
            return Ok(Some(name.to_string()));
        }
        if let Some(tokens) = &self.tokens {
            let shown = headers.get(AUTHORIZATION).and_then(|it| bearer(it.as_bytes()));
            let named = match shown {
                Some(shown) => tokens.name(shown).await.unwrap_or_else(|error| {
                    tracing::error!(%error, "cannot read the tokens of agents; rejecting them");
                    None
                }),
                None => None,
            };
            let name = named.ok_or(Denied::Unauthorized("wrong or missing token of an agent"))?;
            return Ok(Some(name.to_string()));
        }
        match self.is_loopback() || self.is_open {
            true => Ok(None),
            false => Err(Denied::Unauthorized("a client certificate is required")),
        }
    }

    /// Returns the operator, for the audit log.
    pub(crate) fn operator(&self, headers: &HeaderMap) -> Result<&'static str, Denied> {
        let guard = &self.guard;
        if !guard.has_token() {
            return match guard.is_loopback() {
                true => Ok("loopback"),
                false => Err(Denied::Forbidden("set --admin-token-file to use this page")),
            };
        }
        match guard.is_allowed(headers) || guard.is_allowed_by_password(headers) {
            true => Ok("admin token"),
            false => Err(Denied::Unauthorized("wrong or missing admin token")),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hyper::header::HeaderValue;

    use super::*;

    fn with(value: &str) -> HeaderMap {
        [(AUTHORIZATION, HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    fn access(local: &str, admin: Option<&str>, is_open: bool) -> Access {
        let admin = admin.map(|it| Secret::from(it.to_owned()));
        Access::new((local, local), None, admin, is_open)
    }

    #[test]
    fn operators_need_the_token_except_on_loopback() {
        let loopback = access("127.0.0.1:9470", None, false);
        assert_eq!(loopback.operator(&HeaderMap::new()), Ok("loopback"));
        let network = access("10.0.0.1:9470", None, false);
        assert!(matches!(network.operator(&HeaderMap::new()), Err(Denied::Forbidden(_))));
        let protected = access("127.0.0.1:9470", Some("0123456789abcdef"), false);
        // `:0123456789abcdef`, and a wrong one.
        let basic = format!("Basic {}", STANDARD.encode(":0123456789abcdef"));
        let wrong = format!("Basic {}", STANDARD.encode("0123456789abcdef"));
        for (value, allowed) in [
            ("Bearer 0123456789abcdef", true),
            (&basic, true),
            (&wrong, false),
            ("Basic %%%", false),
            ("Bearer 0123456789abcdeF", false),
            ("", false),
        ] {
            assert_eq!(protected.operator(&with(value)).is_ok(), allowed, "{value}");
        }
    }

    #[tokio::test]
    async fn agents_need_a_proof_except_on_loopback() {
        let (none, headers) = (ClientNames::default(), HeaderMap::new());
        let network = access("10.0.0.1:9470", None, false);
        assert!(network.agent(&headers, &none).await.is_err());
        assert_eq!(access("10.0.0.1:9470", None, true).agent(&headers, &none).await, Ok(None));
        assert_eq!(access("127.0.0.1:1", None, false).agent(&headers, &none).await, Ok(None));
        let named = ClientNames::from_token("edge-1".into());
        assert_eq!(network.agent(&headers, &named).await, Ok(Some("edge-1".to_owned())));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        #[allow(clippy::disallowed_methods, reason = "the test is the operator")]
        std::fs::write(&path, "edge-2 0123456789abcdef0123\n").unwrap();
        let tokens = Some(Tokens::new(&path, &env::real()));
        let access = Access::new(("127.0.0.1:1", "127.0.0.1:1"), tokens, None, false);
        let right = access.agent(&with("Bearer 0123456789abcdef0123"), &none).await;
        assert_eq!(right, Ok(Some("edge-2".to_owned())));
        for wrong in [with("Bearer 0123456789abcdef0124"), headers] {
            assert!(access.agent(&wrong, &none).await.is_err());
        }
    }
}

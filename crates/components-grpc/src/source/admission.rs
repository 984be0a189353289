//! Admits streams: only from clients that prove a name, if the settings require that.
//!
//! ```text
//!   request ─► authorization: Bearer … ─► a token of `tokens_file`? ── no ─► UNAUTHENTICATED
//!                                                  │ its name
//!              certificate of the connection ──────┴─► names the same? ── no ─► UNAUTHENTICATED
//!                                                  │
//!                                                  └─► peer: tenant, origins, relays, log
//! ```
//!
//! After admission, a proven name counts the same for both methods. Each stream is checked once: if
//! a token is removed, streams that are open with it continue, as with a revoked certificate.

use std::sync::Arc;

use hyper::header::HeaderValue;
use kit::tenants::Peer;
use metrics::Metrics;
use peers::{RefusalBoard, RefusalReason};
use thiserror::Error;
use tls::{ClientNames, Tokens, bearer};
use tonic::Status;

/// Why a stream is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    /// No credential proves a name.
    #[error(
        "the client sent no token, but this agent requires one (`tokens_file`): set `token_file` \
         of the sink"
    )]
    Missing,
    /// The token is unknown.
    #[error(
        "the token is not in `tokens_file` of this agent: it was removed there, or never added; \
         create another one with `aqueduct pki token NAME`"
    )]
    Unknown,
    /// Token and certificate prove different names.
    #[error(
        "the token belongs to {token}, and the certificate to {certificate}: both must \
         name the same agent"
    )]
    TwoNames {
        /// Name of the token.
        token: Arc<str>,
        /// Names in the certificate.
        certificate: String,
    },
}

impl Refusal {
    fn reason(&self) -> RefusalReason {
        match self {
            Self::Missing => RefusalReason::NoToken,
            Self::Unknown => RefusalReason::WrongToken,
            Self::TwoNames { .. } => RefusalReason::NamesDiffer,
        }
    }
}

/// Combines the `certified` names of a certificate with a token: `None` without a token,
/// `Some(None)` for an unknown one. `or_certificate`: a certificate makes the token optional.
/// Returns the token's name if there is no certificate.
fn proved(
    certified: &[Arc<str>],
    token: Option<Option<Arc<str>>>,
    or_certificate: bool,
) -> Result<Option<Arc<str>>, Refusal> {
    match (token, certified) {
        (None, [_, ..]) if or_certificate => Ok(None),
        (None, _) => Err(Refusal::Missing),
        (Some(None), _) => Err(Refusal::Unknown),
        (Some(Some(name)), []) => Ok(Some(name)),
        (Some(Some(name)), names) if names.contains(&name) => Ok(None),
        (Some(Some(token)), names) => {
            Err(Refusal::TwoNames { token, certificate: names.join(", ") })
        }
    }
}

/// Decides which streams are admitted.
#[derive(Debug)]
pub(super) struct Admission {
    source: Arc<str>,
    metrics: Metrics,
    /// `None` admits all.
    tokens: Option<Tokens>,
    /// True if a certificate is sufficient.
    or_certificate: bool,
    refusals: RefusalBoard,
}

impl Admission {
    /// Creates it with these tokens of `source`.
    pub(super) fn new(
        source: &Arc<str>,
        metrics: &Metrics,
        tokens: Option<Tokens>,
        or_certificate: bool,
        refusals: RefusalBoard,
    ) -> Self {
        let (source, metrics) = (source.clone(), metrics.clone());
        Self { source, metrics, tokens, or_certificate, refusals }
    }

    /// Returns true if clients must prove a name.
    pub(super) fn asks(&self) -> bool {
        self.tokens.is_some()
    }

    /// Returns the peer with its proven name.
    ///
    /// # Errors
    /// Fails if the peer is rejected, which is counted, logged at a limited rate, and shown in the
    /// status.
    pub(super) async fn admit(
        &self,
        peer: Arc<Peer>,
        authorization: Option<HeaderValue>,
    ) -> Result<Arc<Peer>, Status> {
        let Some(tokens) = &self.tokens else { return Ok(peer) };
        let token = match &authorization {
            None => None,
            Some(value) => match bearer(value.as_bytes()) {
                None => Some(None),
                // The file was read when the source was opened.
                Some(token) => Some(tokens.name(token).await.ok().flatten()),
            },
        };
        let certified = peer.names.first().map(|name| &**name);
        let proved = proved(peer.names.all(), token, self.or_certificate);
        if proved.is_ok() {
            self.refusals.accepted_by_token(&peer.address, certified);
        }
        match proved {
            Ok(None) => Ok(peer),
            Ok(Some(name)) => {
                let (address, names) = (peer.address.clone(), ClientNames::from_token(name));
                Ok(Arc::new(Peer { address, names }))
            }
            Err(refusal) => {
                self.metrics.count_anomaly(&self.source, "unauthenticated", 1);
                let (component, reason) = (format!("source {}", self.source), refusal.reason());
                self.refusals.refused(&component, (&peer.address, certified), reason, &refusal);
                Err(Status::unauthenticated(refusal.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_needed_and_names_what_the_certificate_names() {
        let name = |name: &str| -> Arc<str> { name.into() };
        let web = || Some(Some(name("web-1")));
        let certified = [name("web-1.example"), name("web-1")];
        let other = [name("web-2")];
        for or_certificate in [false, true] {
            let decide = |names: &[Arc<str>], token| proved(names, token, or_certificate);
            assert_eq!(decide(&[], web()), Ok(Some(name("web-1"))));
            assert_eq!(decide(&certified, web()), Ok(None));
            let two = Refusal::TwoNames { token: name("web-1"), certificate: "web-2".into() };
            assert_eq!(decide(&other, web()), Err(two));
            for names in [&[][..], &certified] {
                assert_eq!(decide(names, Some(None)), Err(Refusal::Unknown));
            }
            assert_eq!(decide(&[], None), Err(Refusal::Missing));
            let alone = if or_certificate { Ok(None) } else { Err(Refusal::Missing) };
            assert_eq!(decide(&certified, None), alone);
        }
    }
}

//! Which streams are let in: those of clients that prove a name, where the settings ask for one.
//!
//! ```text
//!   request ─► authorization: Bearer … ─► a token of `tokens_file`? ── no ─► UNAUTHENTICATED
//!                                                  │ its name
//!              certificate of the connection ──────┴─► names the same? ── no ─► UNAUTHENTICATED
//!                                                  │
//!                                                  └─► peer: tenant, origins, relays, log
//! ```
//!
//! From here on a name is a name, however it was proved. It is looked at once for each stream: a
//! token that is taken out counts for streams that are open as long as they last, as a revoked
//! certificate does.

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
    /// Nothing proves a name.
    #[error(
        "no token is shown, and this agent asks for one (`tokens_file`): set `token_file` of the \
         sink"
    )]
    Missing,
    /// The token proves nothing.
    #[error(
        "the token is not in `tokens_file` of this agent: it was taken out there, or was never \
         put in; `aqueduct pki token NAME` makes another one"
    )]
    Unknown,
    /// Token and certificate say otherwise.
    #[error(
        "the token is that of {token}, and the certificate that of {certificate}: both have to \
         name the same agent"
    )]
    TwoNames {
        /// The name of the token.
        token: Arc<str>,
        /// The names in the certificate.
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

/// What a client is called, by the `certified` names in its certificate and by its token: `None`
/// without one, `Some(None)` for one that proves nothing. `or_certificate`: it needs no token where
/// it has a certificate. Answers the name of the token where that is all there is.
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

/// Decides which streams are let in.
#[derive(Debug)]
pub(super) struct Admission {
    source: Arc<str>,
    metrics: Metrics,
    /// Without it all are.
    tokens: Option<Tokens>,
    /// A certificate is as good.
    or_certificate: bool,
    refusals: RefusalBoard,
}

impl Admission {
    /// By these tokens of `source`.
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

    /// Whether anything is asked for.
    pub(super) fn asks(&self) -> bool {
        self.tokens.is_some()
    }

    /// The peer as it is known from now on.
    ///
    /// # Errors
    /// It is not let in. This is counted, logged at a bounded rate, and shown in the status.
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
                // It was read when the source was opened.
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
                let (address, names) = (peer.address.clone(), ClientNames::of_token(name));
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

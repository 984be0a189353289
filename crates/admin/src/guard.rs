//! The client of a request, for the audit log and for metrics.

use std::sync::Arc;

use agent::actor::Actor;
use hyper::header::{AUTHORIZATION, HeaderMap};
use metrics::{AdminReason, Metrics};
use web::Guard;

/// The origin of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client<'a> {
    /// Its address.
    pub(super) address: &'a str,
    /// The name that its certificate proves, where the listener asks for one.
    pub(super) certificate: Option<&'a Arc<str>>,
}

/// Returns the identity of a request for the audit log.
pub(super) fn actor(guard: &Guard, headers: &HeaderMap, client: Client<'_>) -> Actor {
    let by = match (guard.has_token(), headers.contains_key(AUTHORIZATION)) {
        (true, _) if guard.is_allowed(headers) => "admin token",
        (true, true) => "a wrong token",
        (false, _) if guard.is_loopback() => "loopback",
        (true, false) | (false, _) => "no token",
    };
    let certificate = client.certificate.map(|name| name.to_string());
    Actor { certificate, ..Actor::new(by, Some(client.address.to_owned())) }
}

/// Counts a request or a connection that is refused.
pub(super) fn count(metrics: &Metrics, reason: &'static str) {
    metrics.admin_refusals.get_or_create(&AdminReason { reason }).inc();
}

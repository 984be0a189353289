//! `POST /reload`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};

use super::{JSON, Pages, fresh, page, typed};
use crate::status::ReloadResult;

/// What a request for a reload has to say, so that no page of another site can make one.
const RELOAD_HEADER: &str = "x-aqueduct";

impl Pages {
    /// Reads the configuration again. Only by a request that no page of another site can make: with
    /// a header that such a page may not set; and only from this machine, since the listener asks
    /// for no password.
    pub(super) async fn reload(
        &self,
        request: &Request<Incoming>,
        is_local: bool,
    ) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return page(StatusCode::METHOD_NOT_ALLOWED, "only POST\n".into());
        }
        let asked = request.headers().get(RELOAD_HEADER).map(header::HeaderValue::as_bytes);
        if asked != Some(b"reload") {
            let problem = format!("the request needs the header `{RELOAD_HEADER}: reload`\n");
            return page(StatusCode::FORBIDDEN, problem);
        }
        if !is_local {
            let problem = "a reload is only for clients of this machine: bind `agent.admin` to a \
                           loopback address, or send SIGHUP\n";
            return page(StatusCode::FORBIDDEN, problem.into());
        }
        let Some(status) = self.reloads.wait("POST /reload").await else {
            let problem = "no reload now: others wait, or the agent stops\n";
            return page(StatusCode::SERVICE_UNAVAILABLE, problem.into());
        };
        let code = match status.result {
            ReloadResult::Applied | ReloadResult::Unchanged => StatusCode::OK,
            ReloadResult::Refused | ReloadResult::RolledBack => StatusCode::CONFLICT,
        };
        let text = serde_json::to_string(&status).expect("names and numbers are JSON");
        fresh(typed(code, JSON, text + "\n"))
    }
}

//! `POST /reload`.

use hyper::header::HeaderMap;
use hyper::{StatusCode, header};

use super::answer::{Answer, json, page};
use super::pages::Pages;
use crate::status::ReloadResult;

/// What a request for a reload has to say: a page of another site may not set such a header, and so
/// cannot make one in the operator's browser.
const HEADER: &str = "x-aqueduct";

impl Pages {
    /// Reads the configuration again, and says what became of each part.
    pub(super) async fn reload(&self, headers: &HeaderMap) -> Answer {
        let asked = headers.get(HEADER).map(header::HeaderValue::as_bytes);
        if asked != Some(b"reload") {
            let problem = format!("the request needs the header `{HEADER}: reload`\n");
            return page(StatusCode::FORBIDDEN, problem);
        }
        let Some(status) = self.reloads.wait("POST /reload").await else {
            let problem = "no reload now: others wait, the agent stops, or it was started without \
                           a file\n";
            return page(StatusCode::SERVICE_UNAVAILABLE, problem.into());
        };
        let mut answer = json(&status);
        *answer.status_mut() = match status.result {
            ReloadResult::Applied | ReloadResult::Unchanged => StatusCode::OK,
            ReloadResult::Refused | ReloadResult::RolledBack => StatusCode::CONFLICT,
        };
        answer
    }
}

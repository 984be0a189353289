//! Messages to the fleet server, each in a request.

use std::time::Duration;

use bytes::Bytes;
use config::FleetSettings;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use pipeline::Env;
use prost::Message as _;
use thiserror::Error;
use tls::{Dialer, TokenFile};
use tokio::time::timeout;
use web::{Reply, once, token_of};
use wire::opamp::{AgentToServer, MEDIA_TYPE, ServerToAgent};

use super::{cut, files};

/// Time limit for a report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum size of an answer: a text, and its envelope.
pub(super) const ANSWER_MAX: usize = files::TEXT_MAX + (64 << 10);

/// The page of the server for agents.
const PAGE: &str = "/v1/opamp";

/// Why a report has no answer.
#[derive(Debug, Error)]
pub(super) enum ReportError {
    #[error("cannot read the token: {0}; check `agent.fleet.token_file`")]
    Token(String),
    #[error(transparent)]
    Http(#[from] web::Lost),
    #[cfg(feature = "web-socket")]
    #[error("lost the connection: {0}; see the log of the server")]
    Lost(String),
    #[error("the server returned {0}: {1}; see its log")]
    Status(StatusCode, String),
    #[error("the answer is not a message of OpAMP, or too large; check `agent.fleet.url`")]
    Answer,
    #[error("no answer within {} s; check the server and the network", REPORT_TIMEOUT.as_secs())]
    Late,
    /// The server is reachable, but does not open a WebSocket.
    #[error("{0}")]
    Refused(String),
}

/// Applies the time limit of a report.
pub(super) async fn in_time<T>(
    reported: impl Future<Output = Result<T, ReportError>>,
) -> Result<T, ReportError> {
    timeout(REPORT_TIMEOUT, reported).await.unwrap_or(Err(ReportError::Late))
}

/// Connects to the server.
pub(super) struct Client {
    pub(super) address: String,
    pub(super) dialer: Dialer,
    token: Option<TokenFile>,
    pub(super) env: Env,
}

impl Client {
    pub(super) fn new(
        settings: &FleetSettings,
        address: String,
        dialer: Dialer,
        env: &Env,
    ) -> Self {
        let token = settings.token_file.as_deref().map(TokenFile::new);
        Self { address, dialer, token, env: env.clone() }
    }

    /// A request with the login of this agent.
    pub(super) async fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, ReportError> {
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = hyper::Uri::from_static(PAGE);
        let token = token_of(&self.env, self.token.as_ref()).await;
        if let Some(value) = token.map_err(|error| ReportError::Token(error.to_string()))? {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Sends a report on a connection of its own.
    pub(super) async fn post(&self, report: AgentToServer) -> Result<ServerToAgent, ReportError> {
        let mut request = self.request(report.encode_to_vec().into()).await?;
        *request.method_mut() = hyper::Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        let answer = once(&self.dialer, &self.address, request).await?;
        let reply = Reply::read(answer, ANSWER_MAX).await?;
        if reply.head.status != StatusCode::OK {
            return Err(ReportError::Status(reply.head.status, reply.text()));
        }
        if reply.is_cut {
            return Err(ReportError::Answer);
        }
        parsed(&reply.body)
    }
}

/// Parses an answer.
pub(super) fn parsed(bytes: &[u8]) -> Result<ServerToAgent, ReportError> {
    let answer = ServerToAgent::decode(bytes).map_err(|_| ReportError::Answer)?;
    match answer.error_response {
        None => Ok(answer),
        Some(refused) => {
            let text = cut(&refused.error_message, 200);
            Err(ReportError::Status(StatusCode::SERVICE_UNAVAILABLE, text))
        }
    }
}

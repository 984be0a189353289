//! Responses to clients, over gRPC and over HTTP.
//!
//! | status | gRPC | meaning for the client |
//! |---|---|---|
//! | 200 | `OK` | stored; the response counts rejected records |
//! | 400, 413 | `INVALID_ARGUMENT` | the request can never be accepted |
//! | 404, 405, 415 | `UNIMPLEMENTED` | the method or the format is not supported |
//! | 503 | `UNAVAILABLE` | not stored, or unknown; retry |
//! | 429 | `RESOURCE_EXHAUSTED` | no space: not stored, and will not be; retry later |

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use kit::http::Refusal;
use prost::Message;
use tonic::Code;

use super::exchange::Rejected;
use crate::events::Form;
use crate::proto::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse, ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse, ExportTracePartialSuccess, ExportTraceServiceResponse, rpc,
};
use crate::signal::Signal;

/// The body of a response.
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// A call of gRPC.
    Grpc,
    /// A request of HTTP.
    Http(Form),
}

impl Protocol {
    /// Returns the encoding of its messages.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Grpc => Form::Protobuf,
            Self::Http(form) => form,
        }
    }
}

/// Returns the response to a request whose records are stored, except rejected ones.
pub(super) fn success(protocol: Protocol, signal: Signal, rejected: Rejected) -> Response<Body> {
    let message = response(signal, rejected, protocol.form());
    match protocol {
        Protocol::Http(form) => whole(StatusCode::OK, form, message),
        Protocol::Grpc => {
            let mut framed = BytesMut::with_capacity(message.len() + 5);
            framed.put_u8(0);
            framed.put_u32(u32::try_from(message.len()).expect("a short message"));
            framed.put_slice(&message);
            let mut trailers = HeaderMap::new();
            trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
            let trailers = std::future::ready(Some(Ok(trailers)));
            let body = Full::new(framed.freeze()).with_trailers(trailers);
            let mut response = Response::new(body.boxed_unsync());
            response.headers_mut().insert(CONTENT_TYPE, GRPC);
            response
        }
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Encodes the message of a response.
fn response(signal: Signal, Rejected { records, problem }: Rejected, form: Form) -> Vec<u8> {
    // If the field is present, something was rejected.
    let rejected = i64::try_from(records).unwrap_or(i64::MAX);
    let is_partial = records > 0;
    match signal {
        Signal::Logs => form.write(&ExportLogsServiceResponse {
            partial_success: is_partial.then_some(ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message: problem,
            }),
        }),
        Signal::Traces => form.write(&ExportTraceServiceResponse {
            partial_success: is_partial.then_some(ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message: problem,
            }),
        }),
        Signal::Metrics => form.write(&ExportMetricsServiceResponse {
            partial_success: is_partial.then_some(ExportMetricsPartialSuccess {
                rejected_data_points: rejected,
                error_message: problem,
            }),
        }),
    }
}

/// Returns the response to a rejected request.
pub(super) fn refusal(
    protocol: Protocol,
    refusal: &Refusal,
    retry_after: Duration,
) -> Response<Body> {
    let code = code_of(refusal.status);
    let is_full = refusal.status == StatusCode::TOO_MANY_REQUESTS;
    let mut status =
        rpc::Status { code: code as i32, message: refusal.text.clone(), details: Vec::new() };
    if is_full {
        let delay = prost_types::Duration {
            seconds: i64::try_from(retry_after.as_secs()).unwrap_or(i64::MAX),
            nanos: retry_after.subsec_nanos() as i32,
        };
        status.details.push(prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: rpc::RetryInfo { retry_delay: Some(delay) }.encode_to_vec(),
        });
    }
    let form = match protocol {
        Protocol::Http(form) => form,
        Protocol::Grpc => {
            let details = status.encode_to_vec().into();
            let status = tonic::Status::with_details(code, refusal.text.as_str(), details);
            let response = status.into_http::<Full<Bytes>>();
            return response.map(BodyExt::boxed_unsync);
        }
    };
    // OTLP clients do not retry after 408.
    let answered = match refusal.status {
        StatusCode::REQUEST_TIMEOUT => StatusCode::SERVICE_UNAVAILABLE,
        status => status,
    };
    let mut response = whole(answered, form, form.write(&status));
    let headers = response.headers_mut();
    if is_full || answered == StatusCode::SERVICE_UNAVAILABLE {
        // Round up to whole seconds.
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if answered == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(hyper::header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn whole(status: StatusCode, form: Form, message: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(message)).boxed_unsync());
    *response.status_mut() = status;
    let content_type = match form {
        Form::Json => HeaderValue::from_static("application/json"),
        Form::Protobuf => HeaderValue::from_static("application/x-protobuf"),
    };
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Maps an HTTP error status to a gRPC code.
fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::Unimplemented,
        _ => Code::InvalidArgument,
    }
}

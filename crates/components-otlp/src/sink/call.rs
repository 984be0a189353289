//! A request and its response, over gRPC and over HTTP.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, TE, USER_AGENT};
use hyper::{HeaderMap, Request as HttpRequest, Uri};
use pipeline::{BuildContext, Env};
use prost::Message;
use tonic::{Code, Status};
use web::{Client, Connector, Lost, Reply, exchange, shown};

use super::error::OtlpError;
use crate::events::Form;
use crate::proto::{
    ExportLogsServiceResponse, ExportMetricsServiceResponse, ExportTraceServiceResponse, rpc,
};
use crate::requests::Request;
use crate::signal::Signal;

/// Maximum size of a response, before and after decompression.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Length of the prefix of a gRPC message: the compression flag and the length.
const FRAME_BYTES: usize = 5;

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("aqueduct/", env!("CARGO_PKG_VERSION")));

/// The protocol of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// gRPC calls.
    Grpc,
    /// Requests of HTTP.
    Http(Form),
}

/// A partial success of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Partial {
    /// Number of rejected records or data points.
    pub(super) rejected: i64,
    /// Why they are rejected.
    pub(super) problem: String,
}

/// Sends requests to one receiver.
pub(super) struct Caller {
    env: Env,
    connector: Connector,
    client: Client,
    uri: Uri,
    protocol: Protocol,
    is_gzip: bool,
    headers: HeaderMap,
}

impl Caller {
    /// Creates a caller that adds these headers to each request.
    pub(super) fn new(
        cx: &BuildContext,
        connector: Connector,
        uri: Uri,
        (protocol, is_gzip): (Protocol, bool),
        mut headers: HeaderMap,
    ) -> Self {
        let content_type = match protocol {
            Protocol::Grpc => "application/grpc",
            Protocol::Http(Form::Protobuf) => "application/x-protobuf",
            Protocol::Http(Form::Json) => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.entry(USER_AGENT).or_insert(AGENT);
        if protocol == Protocol::Grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if is_gzip {
            let name = match protocol {
                Protocol::Grpc => HeaderName::from_static("grpc-encoding"),
                Protocol::Http(_) => CONTENT_ENCODING,
            };
            headers.insert(name, HeaderValue::from_static("gzip"));
        }
        let client = connector.client();
        Self { env: cx.env.clone(), connector, client, uri, protocol, is_gzip, headers }
    }

    /// Waits for the response to a request that changes nothing.
    ///
    /// # Errors
    /// There is no response, or the server rejects this client.
    pub(super) async fn probe(&self) -> Result<String, OtlpError> {
        let url = self.uri.to_string();
        let probed = self.connector.probe(&self.uri, &self.headers).await;
        probed.map_err(|error| OtlpError::Connect { url, source: error.into() })
    }

    /// Sends a request. Returns the rejected part, if any.
    ///
    /// # Errors
    /// The request is rejected, or its result is unknown.
    pub(super) async fn call(&self, request: Request) -> Result<Option<Partial>, OtlpError> {
        let signal = request.signal();
        let uri = self.uri_of(signal);
        let url = uri.to_string();
        let mut http = HttpRequest::new(Full::new(self.body(request).await));
        *http.method_mut() = hyper::Method::POST;
        *http.uri_mut() = uri;
        *http.headers_mut() = self.headers.clone();
        let replied = exchange(&self.client, http, ANSWER_BYTES_MAX).await;
        let reply = replied.map_err(|lost| match lost {
            Lost::Connect(source) => OtlpError::Connect { url: url.clone(), source },
            Lost::Broken(source) => OtlpError::Broken { url: url.clone(), source },
        })?;
        if reply.is_cut {
            let problem = format!("the response is over {ANSWER_BYTES_MAX} bytes");
            return Err(OtlpError::Unreadable { url, problem });
        }
        let answer = match self.protocol {
            Protocol::Grpc => of_grpc(&url, &reply).map(|message| (Form::Protobuf, message)),
            Protocol::Http(form) => {
                of_http(&url, form, &reply).map(|(form, message)| (form, Cow::Borrowed(message)))
            }
        };
        let (form, message) = answer?;
        partial(signal, form, &message).map_err(|problem| OtlpError::Unreadable { url, problem })
    }

    fn uri_of(&self, signal: Signal) -> Uri {
        let path = match self.protocol {
            Protocol::Grpc => signal.grpc_path().to_owned(),
            Protocol::Http(_) => {
                format!("{}{}", self.uri.path().trim_end_matches('/'), signal.http_path())
            }
        };
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(path.parse().expect("the path of a URI with one of ours"));
        Uri::from_parts(parts).expect("the URI of a server with another path")
    }

    /// Encodes a request.
    async fn body(&self, request: Request) -> Bytes {
        let (protocol, is_gzip) = (self.protocol, self.is_gzip);
        self.env.offload(move || framed(protocol, is_gzip, &request)).await
    }
}

/// Encodes a request with frame and compression.
fn framed(protocol: Protocol, is_gzip: bool, request: &Request) -> Bytes {
    let form = match protocol {
        Protocol::Grpc => Form::Protobuf,
        Protocol::Http(form) => form,
    };
    let mut message = request.write(form);
    if is_gzip {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&message).expect("memory takes it");
        message = encoder.finish().expect("memory takes it");
    }
    if protocol != Protocol::Grpc {
        return message.into();
    }
    let mut framed = Vec::with_capacity(FRAME_BYTES + message.len());
    framed.put_u8(is_gzip.into());
    framed.put_u32(u32::try_from(message.len()).expect("a request is below 1 GiB"));
    framed.extend_from_slice(&message);
    framed.into()
}

/// Returns the message of a successful gRPC response.
fn of_grpc<'a>(url: &str, reply: &'a Reply) -> Result<Cow<'a, [u8]>, OtlpError> {
    let (status, headers) = (reply.head.status, &reply.head.headers);
    // A response without a message has the status in its headers.
    let said = reply.trailers.as_ref().and_then(Status::from_header_map);
    let Some(said) = said.or_else(|| Status::from_header_map(headers)) else {
        // The response comes from a proxy, or from something other than gRPC.
        let (url, text) = (url.to_owned(), reply.text());
        if status.is_success() {
            let problem = format!("no `grpc-status`: {text}");
            return Err(OtlpError::Unreadable { url, problem });
        }
        return Err(OtlpError::Http { url, status, text, retry_after: reply.retry_after() });
    };
    if said.code() != Code::Ok {
        let (url, text) = (url.to_owned(), shown(said.message().as_bytes()));
        let retry_after = retry_info(said.details());
        return Err(OtlpError::Grpc { url, code: said.code(), text, retry_after });
    }
    message_of(headers, &reply.body)
        .map_err(|problem| OtlpError::Unreadable { url: url.to_owned(), problem })
}

/// Returns the message in a response body. Some servers, such as the OpenTelemetry Collector,
/// compress the response like the request, without being asked to.
fn message_of<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    let message = body.get(FRAME_BYTES..).ok_or("the response has no message")?;
    if body[0] == 0 {
        return Ok(Cow::Borrowed(message));
    }
    let coding = headers.get("grpc-encoding").map_or(&b""[..], HeaderValue::as_bytes);
    if body[0] != 1 || coding != b"gzip" {
        return Err(format!(
            "the `grpc-encoding` of the response is `{}`; known: gzip",
            coding.escape_ascii()
        ));
    }
    let mut plain = Vec::new();
    let mut limited = MultiGzDecoder::new(message).take(ANSWER_BYTES_MAX as u64 + 1);
    limited
        .read_to_end(&mut plain)
        .map_err(|error| format!("the response is not gzip: {error}"))?;
    match plain.len() > ANSWER_BYTES_MAX {
        true => Err(format!("the response is over {ANSWER_BYTES_MAX} bytes")),
        false => Ok(Cow::Owned(plain)),
    }
}

/// Returns the message of a successful HTTP response.
fn of_http<'a>(url: &str, form: Form, reply: &'a Reply) -> Result<(Form, &'a [u8]), OtlpError> {
    let (status, headers, body) = (reply.head.status, &reply.head.headers, &*reply.body);
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let form = match content_type {
        it if it.starts_with(b"application/json") => Form::Json,
        it if it.starts_with(b"application/x-protobuf") => Form::Protobuf,
        _ => form,
    };
    if status.is_success() {
        return Ok((form, body));
    }
    let said: Option<rpc::Status> = form.read(body).ok();
    let text = said.map(|said| said.message).filter(|text| !text.is_empty());
    let text = text.map_or_else(|| reply.text(), |text| shown(text.as_bytes()));
    let retry_after = reply.retry_after();
    Err(OtlpError::Http { url: url.to_owned(), status, text, retry_after })
}

/// Returns the retry delay from the details of a status.
fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = rpc::Status::decode(details).ok()?;
    let is_it = |detail: &&prost_types::Any| detail.type_url.ends_with("/google.rpc.RetryInfo");
    let detail = status.details.iter().find(is_it)?;
    let info = rpc::RetryInfo::decode(&*detail.value).ok()?;
    info.retry_delay.unwrap_or_default().try_into().ok()
}

/// Returns the rejected part in a response. An empty message means full success.
fn partial(signal: Signal, form: Form, message: &[u8]) -> Result<Option<Partial>, String> {
    if message.is_empty() {
        return Ok(None);
    }
    let said = match signal {
        Signal::Logs => {
            let partial = form.read::<ExportLogsServiceResponse>(message)?.partial_success;
            partial.map(|it| (it.rejected_log_records, it.error_message))
        }
        Signal::Traces => {
            let partial = form.read::<ExportTraceServiceResponse>(message)?.partial_success;
            partial.map(|it| (it.rejected_spans, it.error_message))
        }
        Signal::Metrics => {
            let partial = form.read::<ExportMetricsServiceResponse>(message)?.partial_success;
            partial.map(|it| (it.rejected_data_points, it.error_message))
        }
    };
    // If nothing is rejected, the text is a warning.
    let (rejected, problem) = match said {
        Some((rejected, problem)) if rejected > 0 => (rejected, problem),
        Some((_, warning)) if !warning.is_empty() => {
            tracing::debug!(warning, "a receiver took everything, and warns");
            return Ok(None);
        }
        _ => return Ok(None),
    };
    Ok(Some(Partial { rejected, problem: shown(problem.as_bytes()) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ExportLogsPartialSuccess;

    /// Returns a response body with this message in gzip.
    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![1, 0, 0, 0, 0], Compression::fast());
        encoder.write_all(message).unwrap();
        let mut body = encoder.finish().unwrap();
        let length = u32::try_from(body.len() - FRAME_BYTES).unwrap();
        body[1..FRAME_BYTES].copy_from_slice(&length.to_be_bytes());
        body
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let one = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(one).collect()
    }

    #[test]
    fn an_answer_is_read_plain_and_in_gzip_and_what_it_says_besides_is_named() {
        let error_message = "no sevens".to_owned();
        let said = ExportLogsPartialSuccess { rejected_log_records: 7, error_message };
        let message = ExportLogsServiceResponse { partial_success: Some(said) }.encode_to_vec();
        let read = |coding: &[(&'static str, &'static str)], body: &[u8]| {
            let mut head = hyper::Response::new(()).into_parts().0;
            head.headers = headers(coding);
            let trailers = Some(headers(&[("grpc-status", "0")]));
            let body = Bytes::copy_from_slice(body);
            let reply = Reply { head, body, is_cut: false, trailers };
            of_grpc("http://h", &reply).map(Cow::into_owned).map_err(|error| error.to_string())
        };
        let plain = [&[0, 0, 0, 0, 13], &message[..]].concat();
        assert_eq!(read(&[], &plain).unwrap(), message);
        let coding = [("grpc-encoding", "gzip")];
        let taken = read(&coding, &gzip(&message)).unwrap();
        let partial = partial(Signal::Logs, Form::Protobuf, &taken).unwrap().unwrap();
        assert_eq!(partial, Partial { rejected: 7, problem: "no sevens".to_owned() });
        // It may also be uncompressed.
        assert_eq!(read(&coding, &plain).unwrap(), message);
        let large = gzip(&vec![0; ANSWER_BYTES_MAX + 1]);
        for (coding, body, problem) in [
            (&coding[..], &gzip(b"x")[..15], "the response is not gzip"),
            (&coding[..], &large[..], "the response is over 1048576 bytes"),
            (&[("grpc-encoding", "zstd")], &gzip(&message)[..], "`zstd`; known: gzip"),
            (&[], &gzip(&message)[..], "``; known: gzip"),
            (&[], &[0, 0][..], "no message"),
        ] {
            let error = read(coding, body).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}

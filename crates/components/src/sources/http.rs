//! `http`: each POST or PUT is a batch; the response follows once it is in the channels.
//!
//! ```text
//!   request ─► sizes ─► budget ─► body ─► gunzip ─► decoder ─► reserve room ─► commit ─► 200
//!            413, 429    503       408      400       400          503
//! ```
//!
//! | status | meaning for the client |
//! |---|---|
//! | 200 | every event of the body is in every required channel |
//! | 400, 413, 415 | the body is invalid, too large, or in an unknown format: nothing is stored |
//! | 429 | the tenant has too many connections, or exceeds its rate: nothing is stored; retry after `Retry-After` |
//! | 408 | the body did not arrive in time: nothing is stored |
//! | 500 | a channel failed while it stored: the events may be stored or not |
//! | 503 | no room within `wait_max`: nothing is stored, now or later; retry after `Retry-After` |
//!
//! A request over the `message_max` of the downstream agents becomes several batches.
//!
//! A client without a response resends the request, so an event may be stored more than once. The
//! source reserves room before it stores anything, so a 503 never means "stored later".

mod exchange;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kit::serve::{Connected, Listening, Preset, Put, Serve, Served};
use pipeline::units::{ByteSize, Period, mib, seconds};
use pipeline::{BuildContext, BuildError, Choice, Component, Decoder, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use exchange::Exchange;

/// Time limit for the head of a request; also the idle timeout of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum size of the head of a request. The library keeps an incomplete head and parses it again
/// from the start with each piece, so this bounds the cost of a client that sends byte by byte.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Settings of the `http` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    listening: Listening<Shared>,
    /// Decoder of request bodies: `json`, as Flume's JSON handler, `lines`, or `blob` for a body
    /// that is one event; a table with `type` if it has settings.
    #[serde(default = "json")]
    decoder: Choice<dyn Decoder>,
    /// Whether query parameters become headers of each event.
    #[serde(default)]
    query_headers: bool,
    /// Size limit of a body, before and after decompression.
    #[serde(default = "mib::<8>")]
    body_max: ByteSize,
    /// Time that a request waits for room before it is answered 503.
    #[serde(default = "seconds::<1>")]
    wait_max: Period,
    /// Timeout for receiving a body.
    #[serde(default = "seconds::<30>")]
    body_timeout: Period,
}

/// Descriptions of the shared settings.
#[derive(Debug)]
enum Shared {}

impl Preset for Shared {
    const TEXTS: &[(&str, &str)] = &[
        ("in_flight_max", "Memory limit of the bodies of all requests."),
        (
            "tenants",
            "Limits for each client: shares, connections, rates, sizes. A request above a limit is \
             answered 429, a body above its size 413.",
        ),
    ];
}

fn json() -> Choice<dyn Decoder> {
    Choice::from_kind("json")
}

impl Component for Config {
    const KIND: &'static str = "http";
    const ANOMALIES: &[&str] =
        &["tenant_connections", "tenant_message", "tenant_rate", "tls_failed"];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let message_max = ("body_max", self.body_max);
        let port = self.listening.port(message_max, self.wait_max.0, &["http/1.1"], cx)?;
        let exchange = Exchange {
            body_max: self.body_max.0 as usize,
            body_timeout: self.body_timeout.0,
            query_headers: self.query_headers,
            decoder: self.decoder.build("decoder", cx)?.into(),
        };
        Ok(Box::new(Served::new(port, Http(exchange))))
    }
}

struct Http(Exchange);

impl Serve for Http {
    type End = hyper::Error;

    async fn serve(&self, connected: Connected, put: &Arc<Put>) -> Result<(), hyper::Error> {
        let Connected { stream, client, .. } = connected;
        let (exchange, client) = (&self.0, &client);
        let service = service_fn(move |request| async move {
            Ok::<_, Infallible>(exchange.answer(request, client.member(), put).await)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut served = std::pin::pin!(served);
        tokio::select! {
            biased;
            () = put.stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
            ended = &mut served => ended,
        }
    }
}

#[cfg(test)]
mod tests;

//! The admin listener: `/metrics` (Prometheus text), `/livez`, `/readyz`. Read only.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use pipeline::env::{Listener, Stream};
use pipeline::metrics::{AgentLabel, ChannelLabel};
use pipeline::{Account, Channel, Env, Metrics};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::dead_letters::DeadLetters;

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

type NamedChannels = Vec<(Arc<str>, Arc<dyn Channel>)>;

/// The admin listener; it ends when this is dropped.
pub(crate) struct Admin {
    listener: Option<Box<dyn Listener>>,
    task: Option<JoinHandle<()>>,
}

impl Admin {
    /// Takes the address; nothing is answered before [`Admin::serve`].
    pub(crate) async fn listen(address: &str, env: &Env) -> io::Result<Self> {
        let listener = env.net.listen(address).await?;
        let local = listener.local_address();
        let loopback = local.parse().is_ok_and(|a: std::net::SocketAddr| a.ip().is_loopback());
        if !loopback {
            warn!(address = local, "the admin listener is plain text and unauthenticated");
        }
        Ok(Self { listener: Some(listener), task: None })
    }

    /// Begins to answer. Ready means: running, not stopping, and no channel has stopped its intake.
    pub(crate) fn serve(
        &mut self,
        channels: NamedChannels,
        dead_letters: Arc<DeadLetters>,
        metrics: Metrics,
        stopping: CancellationToken,
    ) {
        if let Some(listener) = self.listener.take() {
            let pages = Arc::new(Pages { channels, dead_letters, metrics, stopping });
            self.task = Some(tokio::spawn(accept(listener, pages)));
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn accept(listener: Box<dyn Listener>, pages: Arc<Pages>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _peer)) => {
                let pages = pages.clone();
                tokio::spawn(async move {
                    serve_connection(stream, pages).await;
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: Box<dyn Stream>, pages: Arc<Pages>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = pages.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "an admin connection ended early");
    }
}

struct Pages {
    channels: NamedChannels,
    dead_letters: Arc<DeadLetters>,
    metrics: Metrics,
    stopping: CancellationToken,
}

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return page(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
        }
        match path {
            "/metrics" => page(StatusCode::OK, self.metrics()),
            "/account" => page(StatusCode::OK, self.account()),
            "/livez" => page(StatusCode::OK, "alive\n".into()),
            "/readyz" => match self.unready() {
                None => page(StatusCode::OK, "ready\n".into()),
                Some(reason) => page(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
            },
            _ => page(
                StatusCode::NOT_FOUND,
                "/metrics, /account, /livez and /readyz are here\n".into(),
            ),
        }
    }

    fn unready(&self) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("stopping".into());
        }
        let stopped = self.channels.iter().find(|(_, channel)| channel.status().intake_stopped);
        stopped.map(|(name, _)| format!("channel `{name}` takes nothing in"))
    }

    /// What the durable channels answer for, one line of JSON for each.
    fn account(&self) -> String {
        let accounts = self.channels.iter().filter_map(|(_, channel)| channel.account());
        let accounts: Vec<Account> = accounts.collect();
        // After the channels: what becomes a letter meanwhile is in both, and not in neither.
        let letters = self.dead_letters.identities();
        let lines = accounts
            .into_iter()
            .map(|account| Account { letters: letters.clone(), ..account }.to_json() + "\n");
        lines.collect()
    }

    /// The metrics, with what the channels hold brought up to date.
    fn metrics(&self) -> String {
        let metrics = &self.metrics;
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let letters = self.dead_letters.opened().map(|channel| ("dead-letters", channel));
        let channels = self.channels.iter().map(|(name, channel)| (&**name, channel));
        for (name, channel) in channels.chain(letters) {
            let (status, label) = (channel.status(), ChannelLabel { channel: name.to_owned() });
            metrics.channel_events.get_or_create(&label).set(gauge(status.events));
            metrics.channel_bytes.get_or_create(&label).set(gauge(status.bytes));
            metrics.channel_capacity.get_or_create(&label).set(gauge(status.capacity_bytes));
            metrics.channel_reserve.get_or_create(&label).set(gauge(status.reserve_bytes));
            let stopped = i64::from(status.intake_stopped);
            metrics.channel_intake_stopped.get_or_create(&label).set(stopped);
            let until_full = status.until_full.map_or(f64::INFINITY, |left| left.as_secs_f64());
            metrics.channel_until_full.get_or_create(&label).set(until_full);
            metrics.channel_unsettled.get_or_create(&label).set(gauge(status.unsettled_events));
            let oldest = status.oldest_uncommitted.unwrap_or_default();
            metrics.channel_oldest.get_or_create(&label).set(oldest.as_secs_f64());
        }
        let batches = gauge(self.dead_letters.batches());
        metrics.dead_letter_batches.get_or_create(&AgentLabel {}).set(batches);
        metrics.text()
    }
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    response.body(Full::new(text.into())).expect("status and header are valid")
}

//! Common parts of both sources: a listener, its limits, and the path to the channels.

use std::sync::Arc;

use kit::listening::{self, DRAIN, Guard};
use kit::put::Storing;
use kit::tenants::{self, Peer, Sharing, Tenants};
use metrics::Metrics;
use peers::TenantBoard;
use peers::limits::Cut;
use pipeline::env::Listener;
use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError, Env, Resource, SourceContext, SourceError};
use support::log_rate::LogRate;
use tls::ServerTls;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::client::{Client, End, Limits, ROUND};
use crate::record::Mapping;

/// Maximum number of log lines per minute about connections that were closed because of their
/// input.
const LOG_LINES: u32 = 5;

/// The settings of a listener.
pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) connections_max: u32,
    pub(crate) message_max: ByteSize,
    pub(crate) in_flight_max: ByteSize,
    pub(crate) message_timeout: std::time::Duration,
    pub(crate) idle_timeout: std::time::Duration,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) tenants: Tenants,
}

/// A source without its protocol.
pub(crate) struct Server {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    listen: String,
    connections_max: usize,
    guard: Option<Guard>,
    limits: Limits,
    mapping: Arc<Mapping>,
    tenants: Tenants,
    board: TenantBoard,
    in_flight_max: u64,
    /// Present between opening and running.
    listener: Option<Box<dyn Listener>>,
}

impl Server {
    /// Creates it from its settings.
    ///
    /// # Errors
    /// Fails if a setting is invalid.
    pub(crate) fn new(
        settings: Settings,
        mapping: Mapping,
        cx: &BuildContext,
    ) -> Result<Self, BuildError> {
        listening::check_address("listen", &settings.listen)?;
        let largest = ("message_max", settings.message_max);
        listening::check_limits(settings.connections_max, largest, settings.in_flight_max)?;
        settings.tenants.check(largest)?;
        Ok(Self {
            guard: Guard::new(settings.tls, &[("listen", &settings.listen)], cx, &[])?,
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            listen: settings.listen,
            connections_max: settings.connections_max as usize,
            limits: Limits {
                message_max: settings.message_max.0 as usize,
                message_timeout: settings.message_timeout,
                idle_timeout: settings.idle_timeout,
            },
            mapping: Arc::new(mapping),
            tenants: settings.tenants,
            board: cx.get(),
            in_flight_max: settings.in_flight_max.0,
            listener: None,
        })
    }

    /// Returns the resources of the host that it needs.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        vec![Resource::Listen { setting: "listen", address: self.listen.clone() }]
    }

    /// Opens the listener.
    pub(crate) async fn open(&mut self) -> Result<(), SourceError> {
        let listener = listening::listen(&*self.env.net, &self.listen, self.guard.as_ref()).await?;
        info!(source = %self.name, address = %listener.local_address(), "listening");
        self.listener = Some(listener);
        Ok(())
    }

    /// Serves each client with `serve` until the source stops.
    pub(crate) async fn run<F>(
        &mut self,
        cx: SourceContext,
        serve: impl Fn(Client, Arc<str>, Arc<Service>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = self.listener.take().expect("a source is opened before it runs");
        let (work, stop) = (TaskTracker::new(), cx.stop);
        let service = Arc::new(Service {
            env: self.env.clone(),
            mapping: self.mapping.clone(),
            storing: Arc::new(Storing {
                source: self.name.clone(),
                intake: cx.intake,
                stop: stop.clone(),
                wait_max: ROUND,
                work: work.clone(),
            }),
            metrics: self.metrics.clone(),
            log: LogRate::new(LOG_LINES),
        });
        let of = (&self.name, &self.metrics);
        let sharing = Sharing::new(of, &self.tenants, self.in_flight_max, &self.board);
        let (allowed, limits) = ((self.connections_max, self.guard.as_ref()), self.limits);
        listening::serve(listener, &self.name, allowed, &stop, |stream, peer: Peer| {
            let address = peer.address.clone();
            let tenant = tenants::Client::new(sharing.clone(), peer);
            serve(Client::new(stream, limits, tenant), address, service.clone())
        })
        .await;
        // Batches with reserved room are stored, even if their client has disconnected.
        work.close();
        let _ = timeout(DRAIN, work.wait()).await;
    }
}

/// State that all connections of one run share.
pub(crate) struct Service {
    pub(crate) env: Env,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) storing: Arc<Storing>,
    metrics: Metrics,
    /// Rate limit of log lines about connections that were closed because of their input.
    log: LogRate,
}

impl Service {
    /// Counts an anomaly.
    pub(crate) fn count(&self, reason: &'static str, times: usize) {
        self.metrics.count_anomaly(&self.storing.source, reason, times as u64);
    }

    /// Counts repeated events of `host`, which are not stored again.
    pub(crate) fn repeated(&self, host: &str, events: usize) {
        self.count("repeated_events", events);
        let source = &self.storing.source;
        debug!(%source, host, events, "events that were sent again are not stored twice");
    }

    /// Returns the size of a body that the downstream agents always accept.
    pub(crate) fn body_max(&self) -> usize {
        let agreed = self.storing.intake.batch_bytes_max();
        let bytes = agreed.map(|bytes| Cut::within(bytes).body_bytes);
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }

    /// Logs and counts the end of a connection.
    pub(crate) fn ended(&self, peer: &str, error: &End) {
        let source = &self.storing.source;
        match error {
            End::Broken(_) | End::Idle(_) | End::NotStored(_) | End::Tenant(_) => {
                debug!(%source, peer, %error, "connection closed");
            }
            End::Slow(_) | End::Large { .. } | End::Malformed(_) | End::Refused(_) => {
                self.count("message_refused", 1);
                if let Some(left_out) = self.log.allow(Instant::now()) {
                    warn!(%source, peer, %error, left_out, "connection closed");
                }
            }
        }
    }
}

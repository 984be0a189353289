//! `grpc`: sends batches to a downstream agent, and learns when they are committed.
//!
//! ```text
//!   write ─► window ─► one stream ─► next agent's disk ─► … ─► store
//!              ▲   ◄──── Stored ────────┘                        │
//!   settled ◄──┴──────── Committed ◄─────────────────────────────┘
//! ```
//!
//! The sink has a task that maintains the connection. It reconnects automatically, even while
//! nothing is written, because a commit message may arrive at any time. [`delivery::sender`]
//! decides which batches to send, resend or return.

mod binding;
mod config;
mod connection;
mod connector;
mod discovered;
mod error;
mod fault;
mod held;
mod ledgers;
mod outage;
mod probe;
mod progress;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use delivery::sender::{Options, Retain, Room, Window};
use metrics::Metrics;
use peers::{Dispute, FloorBoard, LedgerBoard, LimitBoard, NextHop, ProgressBoard, RoutingBoard};
use pipeline::{
    BuildContext, BuildError, Component, DedupeScope, Env, Extensions, Guarantee, Settlement, Sink,
    SinkBoard, SinkError, Taken, plain_text,
};
use tls::{Dialer, TokenFile};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Endpoint;
use wire::Packing;

pub use config::{Compression, Config, Keep};
pub use error::GrpcError;

use connection::Connection;
use shared::Shared;

/// Protocol requested by ALPN.
const HTTP2: &str = "h2";

/// How long to try to reconnect to an agent before its unanswered batches go to another one.
const COURTESY: Duration = Duration::from_secs(2);

impl Component for Config {
    const KIND: &'static str = "grpc";
    const LETTERS: &[&str] =
        &["too_large", "malformed", "epoch_closed", "other_content", "refused"];
    const EXAMPLE: &str = r#"address = "127.0.0.1:4141""#;
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        if self.window_batches == 0 {
            return Err(BuildError::invalid("window_batches", "at least 1"));
        }
        if self.retain == Keep::Stored {
            cx.get::<FloorBoard>().disable_declarations();
        }
        match &self.address {
            Some(address) => cx.get::<LimitBoard>().expect(address),
            None => cx.get::<LimitBoard>().expect_unknown(),
        }
        let token = self.token_file.as_deref().map(TokenFile::new);
        binding::know_name(self.tls.as_ref(), token.as_ref(), cx)?;
        if self.tls.is_none() {
            let address = self.address.as_deref().map(|it| ("address", it));
            let queried = self.discover.as_deref().map(|it| ("discover", it));
            for (setting, address) in address.into_iter().chain(queried) {
                let address = address.strip_prefix("dns:").unwrap_or(address);
                cx.plain_text.speaks(setting, address, plain_text::TABLE);
            }
        }
        match (&self.address, &self.discover) {
            (Some(address), None) => {
                pipeline::address::check(address, "collector-1:4141", false)
                    .map_err(|problem| BuildError::invalid("address", problem))?;
                let dialer = Dialer::new(&cx.env, self.tls.clone(), &[HTTP2])?;
                let sink = Grpc::new(&self, address, dialer, cx, NextHop::default());
                sink.map(|sink| Box::new(sink) as Box<dyn Sink>).ok_or_else(|| {
                    let problem = format!("`{address}` cannot be part of a URL");
                    BuildError::invalid("address", problem)
                })
            }
            (None, Some(_)) => discovered::build(self, cx),
            (Some(_), Some(_)) => {
                let problem = "cannot be combined with `address`: remove one of the two";
                Err(BuildError::invalid("discover", problem))
            }
            (None, None) => {
                let problem = "must be set; or set `discover` to look up the next agents";
                Err(BuildError::invalid("address", problem))
            }
        }
    }
}

struct Grpc {
    name: Arc<str>,
    env: Env,
    config: Config,
    floors: FloorBoard,
    limits: LimitBoard,
    ledgers: LedgerBoard,
    routing: RoutingBoard,
    progress: ProgressBoard,
    metrics: Metrics,
    endpoint: Endpoint,
    dialer: Dialer,
    token: Option<TokenFile>,
    shared: Arc<Shared>,
    board: SinkBoard,
    task: Option<Task>,
}

/// A background task; ends when dropped.
struct Task {
    stop: Option<DropGuard>,
    handle: JoinHandle<()>,
}

impl Task {
    fn new(stop: CancellationToken, handle: JoinHandle<()>) -> Self {
        Self { stop: Some(stop.drop_guard()), handle }
    }

    /// Stops the task and waits for its end. Cancel safe; do not call it again after it returned.
    async fn end(&mut self) {
        self.stop = None;
        // A task that panicked has ended too.
        let _ = (&mut self.handle).await;
    }
}

impl Grpc {
    /// Creates a sink to this address; `None` if the address is invalid.
    fn new(
        config: &Config,
        address: &str,
        dialer: Dialer,
        cx: &BuildContext,
        hop: NextHop,
    ) -> Option<Self> {
        address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok())?;
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
        let options = Options {
            window: Window { batches: config.window_batches, bytes: config.window_bytes.0 },
            retain: match config.retain {
                Keep::Committed => Retain::Committed,
                Keep::Stored => Retain::Stored,
            },
            welcome_timeout: config.connect_timeout.0,
            answer_timeout: config.answer_timeout.0,
            courtesy: COURTESY,
            resend_after: config.resend_after.0,
        };
        let board = SinkBoard::default();
        board.set_peer(Some(address.to_owned()));
        Some(Self {
            board,
            name: cx.name.clone(),
            env: cx.env.clone(),
            shared: Arc::new(Shared::new(address.into(), options, hop)),
            floors: cx.get(),
            limits: cx.get(),
            ledgers: cx.get(),
            routing: cx.get(),
            progress: cx.get(),
            metrics: cx.metrics.clone(),
            config: config.clone(),
            endpoint,
            dialer,
            token: config.token_file.as_deref().map(TokenFile::new),
            task: None,
        })
    }

    fn start(&self) -> Task {
        if self.config.retain == Keep::Stored {
            tracing::warn!(
                sink = %self.name,
                "with `retain = \"stored\"`, events that the next agent has stored but not \
                 delivered are lost if its disk fails; set `retain = \"committed\"` to keep a copy \
                 here, or ignore this if you accept it",
            );
        }
        let stop = CancellationToken::new();
        let connection = Connection {
            name: self.name.clone(),
            env: self.env.clone(),
            endpoint: self.endpoint.clone(),
            dialer: self.dialer.clone(),
            token: self.token.clone(),
            connect_timeout: self.config.connect_timeout.0,
            shared: self.shared.clone(),
            floors: self.floors.clone(),
            limits: self.limits.clone(),
            ledgers: self.ledgers.clone(),
            routing: self.routing.clone(),
            progress: self.progress.clone(),
            metrics: self.metrics.clone(),
            resend_after: self.config.resend_after.0,
        };
        let handle = tokio::spawn(connection.run(stop.clone()));
        Task::new(stop, handle)
    }

    fn address(&self) -> String {
        self.shared.address.to_string()
    }

    /// Returns the connection error that blocks a batch, if `room` is one.
    fn obstacle(&self, room: Room) -> Option<GrpcError> {
        let address = self.address();
        match room {
            Room::Free | Room::Wait | Room::TooLarge(_) => None,
            Room::Busy(retry_after) => Some(GrpcError::Full { address, retry_after }),
            Room::Draining => Some(GrpcError::Draining { address }),
            Room::Barred => Some(self.barred()),
            Room::Down => Some(GrpcError::Down { address, source: self.shared.failure() }),
        }
    }

    /// Returns the reason why the downstream agent gets no batches.
    fn barred(&self) -> GrpcError {
        let address = self.address();
        match self.shared.dispute() {
            Some(Dispute { own, other, theirs }) => GrpcError::OtherRouting {
                address,
                other: other.to_string(),
                own: own.text.to_string(),
                theirs: theirs.text.to_string(),
            },
            // The dispute has been settled: the next attempt will show that.
            None => GrpcError::Down { address, source: None },
        }
    }
}

#[async_trait]
impl Sink for Grpc {
    async fn probe(&mut self) -> Result<Option<String>, SinkError> {
        Ok(Some(self.reach().await?))
    }

    async fn open(&mut self) -> Result<(), SinkError> {
        if self.task.is_none() {
            self.task = Some(self.start());
        }
        let attempts = self.shared.hurry();
        loop {
            if self.shared.is_up() {
                let room = self.shared.room(0, Instant::now());
                return self.obstacle(room).map_or(Ok(()), |error| Err(error.into()));
            }
            if self.shared.attempts() > attempts {
                return Err(GrpcError::Down {
                    address: self.address(),
                    source: self.shared.failure(),
                }
                .into());
            }
            self.shared.changed().await;
        }
    }

    async fn write(&mut self, taken: Taken) -> Result<(), SinkError> {
        let Taken { ticket, batch } = taken;
        let Some(identity) = batch.envelope.identity else {
            return Err(GrpcError::NoIdentity { address: self.address() }.into());
        };
        let size_bytes = batch.size().bytes;
        loop {
            let room = self.shared.room(size_bytes, Instant::now());
            if room == Room::Free {
                break;
            }
            if let Room::TooLarge(limit_bytes) = room {
                held::too_large(&self.shared, ticket, batch, limit_bytes);
                return Ok(());
            }
            if let Some(error) = self.obstacle(room) {
                return Err(error.into());
            }
            self.shared.changed().await;
        }
        let identity = self.floors.offered(identity);
        let compress = self.config.compression == Compression::Zstd && self.shared.takes_zstd();
        let put = if compress {
            const CHEAPEST: i32 = 1;
            let pack = move || wire::pack(identity, &batch, Packing::Zstd(CHEAPEST));
            self.env.offload(pack).await
        } else {
            wire::pack(identity, &batch, Packing::Plain)
        };
        self.shared.offer(ticket, identity, put);
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        loop {
            if let Some(settlement) = self.shared.next_settlement() {
                return settlement;
            }
            self.shared.changed().await;
        }
    }

    fn flush(&mut self) {}

    async fn close(&mut self) {
        if let Some(task) = &mut self.task {
            task.end().await;
        }
        self.task = None;
        self.shared.forget();
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.shared.unanswered_bytes()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn status(&self) -> Option<&SinkBoard> {
        Some(&self.board)
    }

    fn extensions(&self) -> Extensions {
        Extensions::default().with(self.shared.hop.clone())
    }

    fn dedupe_scope(&self) -> DedupeScope {
        DedupeScope::NextAgent
    }
}

#[cfg(test)]
mod tests {
    use pipeline::testkit::build;
    use pipeline::{Batch, ErrorClass};
    use serde_json::json;

    use super::*;

    fn sink(settings: &serde_json::Value) -> Result<Box<dyn Sink>, pipeline::SettingsError> {
        build::<Config>(settings, &BuildContext::alone("out", &std::env::temp_dir(), env::real()))
    }

    #[test]
    fn an_address_without_a_port_is_refused_with_an_example() {
        for address in ["collector-1", "collector-1:", "collector 1:4141", ":x", ""] {
            let error = sink(&json!({ "address": address })).err().unwrap();
            assert_eq!(error.path, "address");
            assert!(error.problem.contains("collector-1:4141"), "{error}");
        }
        assert!(sink(&json!({ "address": "[::1]:4141" })).is_ok());
    }

    /// A retry would create an undetectable duplicate.
    #[tokio::test]
    async fn a_batch_without_identity_is_never_sent() {
        let mut sink = sink(&json!({ "address": "127.0.0.1:1" })).unwrap();
        let taken = Taken { ticket: 1, batch: Batch::of(["x"]) };
        assert_eq!(sink.write(taken).await.unwrap_err().class, ErrorClass::Blocked);
    }
}

//! `grpc`: receives batches from upstream agents, and reports their state to them.
//!
//! ```text
//!   connection ─► put ─► sizes ─► budget ─► decompress, check ─► Intake::accept ─► Stored
//!        ▲                                                                            │
//!        └── Committed ◄── subscriptions ◄── Intake::watch_committed ◄── every sink ◄─────────┘
//! ```
//!
//! This module accepts the connections. Tonic's server is made for many services on one listener;
//! this source has one service, and decides which streams it admits.
//!
//! Memory is bounded in five ways, each for all connections together:
//!
//! | what | bound |
//! |---|---|
//! | arriving messages, and messages whose bodies are in use | `gathered_max` |
//! | puts in work, by their unpacked size | `in_flight_max` |
//! | state of senders and their pending replies | `remembered_max`: see `allowance` |
//! | unread bytes in the transport | `in_flight_max`, or 64 KiB for each connection |
//!
//! In addition a connection has a window, which Welcome names. What has no room waits unread, or is
//! refused with a status after which the sender comes again. Which of those that wait is the next
//! one is decided fairly among the [tenants](kit::tenants).

mod admission;
mod allowance;
mod answers;
mod binding;
mod config;
mod conversation;
mod ending;
mod incoming;
mod ledgers;
mod named_limit;
mod news;
mod outlet;
mod roster;
mod service;
mod subscriptions;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use delivery::receiver::Contents;
use delivery::sender::Window;
use metrics::{Metrics, SourceLabel};
use peers::{RefusalBoard, SenderBoard, TenantBoard};
use pipeline::env::Listener;
use pipeline::{
    BuildContext, BuildError, Component, Env, ErrorClass, Guarantee, ResendMode, Resource, Source,
    SourceContext, SourceError, plain_text,
};
use tls::Tokens;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use admission::Admission;
use allowance::Allowance;
use binding::Binding;
use kit::listening::{self, Allowed, Guard};
use kit::tenants::Sharing;
use named_limit::NamedLimit;
use roster::Roster;
use service::{Limits, Service};
use wire::exchange::Gathering;

pub use binding::Origins;
pub use config::{Compression, Config};

/// Protocol offered by ALPN.
const HTTP2: &str = "h2";

/// Time limit for pending replies once the agent stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Number of batches whose hash is kept, about 1.6 MB: more than arrive between a put and its
/// repetition.
const CONTENTS: usize = 16 << 10;

/// Maximum size of idle buffers for large puts.
const IDLE_BYTES_MAX: usize = 4 << 20;

impl Component for Config {
    const KIND: &'static str = "grpc";
    const ANOMALIES: &[&str] = &[
        "foreign_origin",
        "put_of_closed_epoch",
        "put_of_other_content",
        "put_too_large",
        "put_damaged",
        "put_malformed",
        "refused_by_channel",
        "tenant_backlog",
        "tenant_connections",
        "tenant_message",
        "tenant_rate",
        "tls_failed",
        "unauthenticated",
    ];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        self.check(cx)?;
        Ok(Box::new(Grpc {
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            guard: Guard::new(self.tls.clone(), &[("listen", &self.listen)], cx, &[HTTP2])?,
            tokens: self.tokens_file.as_ref().map(|path| Tokens::new(path, &cx.env)),
            senders: cx.get(),
            tenants: cx.get(),
            refusals: cx.get(),
            config: self,
            listener: None,
        }))
    }
}

struct Grpc {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    config: Config,
    guard: Option<Guard>,
    tokens: Option<Tokens>,
    senders: SenderBoard,
    tenants: TenantBoard,
    refusals: RefusalBoard,
    /// Present between opening and running.
    listener: Option<Box<dyn Listener>>,
}

#[async_trait]
impl Source for Grpc {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::ByIdentity
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Listen { setting: "listen", address: self.config.listen.clone() }]
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        let guard = self.guard.as_ref();
        if let Some(tokens) = &self.tokens {
            tokens.load().await.map_err(|error| SourceError {
                class: ErrorClass::Transient,
                message: "cannot listen without tokens".into(),
                source: Some(error.into()),
            })?;
        }
        let listener = listening::listen(&*self.env.net, &self.config.listen, guard).await?;
        let address = listener.local_address();
        info!(source = %self.name, %address, tls = guard.is_some(), "listening");
        if !self.config.needs_names() && plain_text::leaves_host(&address) {
            warn!(
                source = %self.name,
                %address,
                "any client that can connect to this listener can send events, because neither \
                 `tls.client_ca` nor `tokens_file` is set: set one of them, or ignore this if only \
                 trusted hosts can connect",
            );
        }
        self.listener = Some(listener);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let listener = self.listener.take().expect("a source is opened before it runs");
        let stop = cx.stop.clone();
        let service = Arc::new(self.service(cx));
        let (work, watched) = (service.work.clone(), service.clone());
        let (sharing, relay) = (service.sharing.clone(), service.cx.relay.clone());
        let (subscriptions, committed) =
            (service.subscriptions.clone(), service.cx.relay.watch_committed());
        let allowed = Allowed {
            connections: self.config.connections_max as usize,
            // A peer that does not disconnect is cut off.
            drain: DRAIN + self.config.linger.0,
            tls: self.guard.as_ref(),
        };
        tokio::select! {
            biased;
            () = subscriptions.run(committed) => {}
            () = sharing.follow(&*relay) => {}
            () = watched.watch() => {}
            () = incoming::serve(listener, service, allowed, &stop) => {}
        }
        work.close();
        if timeout(DRAIN, work.wait()).await.is_err() {
            warn!(
                source = %self.name,
                "stopped before the channels stored all received batches; the senders resend them; \
                 no action needed"
            );
        }
        Ok(())
    }
}

impl Grpc {
    /// Returns a new incarnation, which the status of this source shows.
    fn incarnation(&self) -> u64 {
        let incarnation = self.env.entropy.next_u64();
        self.senders.set_incarnation(incarnation);
        incarnation
    }

    fn service(&self, cx: SourceContext) -> Service {
        let Config { message_max, window_batches, window_bytes, in_flight_max, .. } = self.config;
        let Config { gathered_max, remembered_max, .. } = self.config;
        let label = SourceLabel { source: self.name.to_string() };
        let metrics = &self.metrics;
        metrics.source_gathered_max.get_or_create(&label).set(gathered_max.0 as i64);
        metrics.source_remembered_max.get_or_create(&label).set(remembered_max.0 as i64);
        let gathered = metrics.source_gathered.get_or_create(&label).clone();
        let remembered = metrics.source_remembered.get_or_create(&label).clone();
        Service {
            limits: Limits {
                body_max: message_max.0,
                window: Window { batches: window_batches, bytes: window_bytes.0 },
                in_flight_max: in_flight_max.0,
                linger: self.config.linger.0,
                zstd: self.config.compression.contains(&Compression::Zstd),
            },
            gathering: Arc::new(Gathering::new(gathered_max.0, IDLE_BYTES_MAX, gathered)),
            allowance: Allowance::new(remembered_max.0, remembered),
            admission: Admission::new(
                &self.name,
                &self.metrics,
                self.tokens.clone(),
                self.config.may_show_certificate(),
                self.refusals.clone(),
            ),
            binding: Binding::new(
                &self.name,
                &self.metrics,
                (self.config.origins(), &self.config.relays),
            ),
            sharing: Sharing::with_backlogs(
                (&self.name, metrics),
                (self.config.tenants.clone(), self.config.backlog.clone()),
                in_flight_max.0,
                &self.tenants,
            ),
            incarnation: self.incarnation(),
            contents: Mutex::new(Contents::new(CONTENTS)),
            name: self.name.clone(),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            cx,
            subscriptions: Arc::default(),
            news: Notify::new(),
            outlet: outlet::Notice::default(),
            limit: NamedLimit::new(message_max.0),
            ledgers: ledgers::Notice::default(),
            roster: Arc::new(Roster::new(&self.name, &self.metrics, self.senders.clone())),
            work: TaskTracker::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::testkit::build;
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_that_can_never_work_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let cx = BuildContext::alone("in", folder.path(), env::real());
        for (settings, named) in [
            (json!({ "listen": "4141" }), "listen"),
            (json!({ "listen": "0.0.0.0:4141", "window_batches": 0 }), "window_batches"),
            (json!({ "listen": "0.0.0.0:4141", "connections_max": u32::MAX }), "connections_max"),
            (json!({ "listen": "0.0.0.0:4141", "message_max": "2GiB" }), "message_max"),
            (json!({ "listen": "0.0.0.0:4141", "backlog": { "max": "0B" } }), "backlog.max"),
            (json!({ "listen": "0.0.0.0:4141", "compression": ["gzip"] }), "compression.0"),
            (json!({ "listen": "0.0.0.0:4141", "relays": ["a"] }), "relays"),
            (json!({ "listen": "0.0.0.0:4141", "origins": "require" }), "origins"),
        ] {
            let error = build::<Config>(&settings, &cx).err().unwrap();
            assert_eq!(error.path, named, "{error}");
        }
        assert!(build::<Config>(&json!({ "listen": "[::]:4141" }), &cx).is_ok());
        let tokens = json!({
            "listen": "[::]:4141", "tokens_file": "t", "origins": "require", "relays": ["a"],
        });
        assert!(build::<Config>(&tokens, &cx).is_ok());
    }
}

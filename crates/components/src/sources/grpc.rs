//! `grpc`: takes batches from the agents before this one, and tells them what became of them.
//!
//! ```text
//!   connection ─► put ─► sizes ─► budget ─► decompress, check ─► Intake::accept ─► Stored
//!        ▲                                                                            │
//!        └── Committed ◄── subscriptions ◄── Intake::watch_committed ◄── every sink ◄─────────┘
//! ```
//!
//! The connections are accepted here and not by tonic's server, which is made for many services on
//! one listener: this one has one, and will decide itself which client may connect.
//!
//! Memory is bounded in five places, each for all connections together:
//!
//! | what | bound |
//! |---|---|
//! | messages that arrive, or whose bodies are in use | `gathered_max` |
//! | puts in work, as they are when opened | `in_flight_max` |
//! | what senders hold, and are to hear of | `remembered_max`: see `allowance` |
//! | what the transport holds unread | `in_flight_max`, or 64 KiB for each connection |
//! | connections | `connections_max` |
//!
//! In addition a connection has a window, which Welcome names. What has no room waits unread, or is
//! refused with a status after which the sender comes again.

mod allowance;
mod answers;
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
use peers::SenderBoard;
use pipeline::env::Listener;
use pipeline::units::{ByteSize, Period};
use pipeline::{
    BuildContext, BuildError, Component, Env, GivesAgain, Guarantee, Resource, Source,
    SourceContext, SourceError, plain_text,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::ServerTls;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use allowance::Allowance;
use named_limit::NamedLimit;
use roster::Roster;
use service::{Limits, Service, budget_units};
use wire::exchange::Gathering;

use crate::sources::listening::{self, Allowed, Guard};

/// What ALPN offers.
const HTTP2: &str = "h2";

/// How long what was accepted may take to be answered once the agent stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Batches whose content is remembered, some 1.6 MB of them: more than lie between a put and its
/// repetition.
const CONTENTS: usize = 16 << 10;

/// Bytes of large puts' memory that is kept while nothing lies in it.
const IDLE_BYTES_MAX: usize = 4 << 20;

/// Settings of the `grpc` source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: `host:port`. Port 0 takes a free one.
    pub listen: String,
    /// Largest batch that is taken, before and after compression. Senders learn it when they
    /// connect, and cut to it what they read from then on.
    #[serde(default = "defaults::message_max")]
    pub message_max: ByteSize,
    /// Batches that one connection may have without an answer.
    #[serde(default = "defaults::window_batches")]
    pub window_batches: u32,
    /// Bytes that one connection may have without an answer. Where there are many, each gets its
    /// share of `in_flight_max`, at least 1 MiB.
    #[serde(default = "defaults::window_bytes")]
    pub window_bytes: ByteSize,
    /// Bytes that all connections together may have in work.
    #[serde(default = "defaults::in_flight_max")]
    pub in_flight_max: ByteSize,
    /// Bytes of messages that may have arrived in part or wait to be stored, over all connections.
    /// More wait unread. A message that stands still for 20 s ends its connection.
    #[serde(default = "defaults::gathered_max")]
    pub gathered_max: ByteSize,
    /// Bytes that all connections together may make this agent remember of what their senders hold
    /// unsettled: some 500 for each life of an origin. One connection may take a quarter of it, by
    /// default some 30,000 lives; more is refused, and tried again by the sender.
    #[serde(default = "defaults::remembered_max")]
    pub remembered_max: ByteSize,
    /// Connections at a time. More wait to be accepted. Each is an open file, of which this process
    /// may have as many as its hard limit says (`ulimit -Hn`).
    #[serde(default = "defaults::connections_max")]
    pub connections_max: u32,
    /// Compressions that are taken. Batches without compression are always taken.
    #[serde(default = "defaults::compression")]
    pub compression: Vec<Compression>,
    /// How long senders still get the news of commits once the agent stops. They get the rest when
    /// they connect again.
    #[serde(default = "defaults::linger")]
    pub linger: Period,
    /// TLS: with this table it is spoken, and nothing else is taken.
    pub tls: Option<ServerTls>,
}

/// A compression of batches on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// zstd.
    Zstd,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    use super::Compression;

    pub(super) fn message_max() -> ByteSize {
        ByteSize::mib(16)
    }

    pub(super) fn window_batches() -> u32 {
        64
    }

    pub(super) fn window_bytes() -> ByteSize {
        ByteSize::mib(8)
    }

    pub(super) fn in_flight_max() -> ByteSize {
        ByteSize::mib(64)
    }

    pub(super) fn gathered_max() -> ByteSize {
        ByteSize::mib(128)
    }

    pub(super) fn remembered_max() -> ByteSize {
        ByteSize::mib(64)
    }

    pub(super) fn connections_max() -> u32 {
        1024
    }

    pub(super) fn compression() -> Vec<Compression> {
        vec![Compression::Zstd]
    }

    pub(super) fn linger() -> Period {
        Period(Duration::ZERO)
    }
}

impl Component for Config {
    const KIND: &'static str = "grpc";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        pipeline::address::check(&self.listen, "0.0.0.0:4141", true)
            .map_err(|problem| BuildError::invalid("listen", problem))?;
        let positive = [
            ("window_batches", u64::from(self.window_batches)),
            ("window_bytes", self.window_bytes.0),
            ("in_flight_max", self.in_flight_max.0),
            ("gathered_max", self.gathered_max.0),
            ("remembered_max", self.remembered_max.0),
            ("connections_max", u64::from(self.connections_max)),
        ];
        if let Some((setting, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(BuildError::invalid(*setting, "must not be 0"));
        }
        if let Some(max) = cx.env.net.connections_max()
            && u64::from(self.connections_max) >= max
        {
            let problem = format!(
                "must be below {max}, the open files that this process may have; raise that limit \
                 (systemd: LimitNOFILE, shell: ulimit -Hn) or set less"
            );
            return Err(BuildError::invalid("connections_max", problem));
        }
        const MESSAGE_MAX: ByteSize = ByteSize::mib(1024);
        if self.message_max == ByteSize(0) || self.message_max > MESSAGE_MAX {
            let problem = format!("must be over 0 and at most {MESSAGE_MAX}");
            return Err(BuildError::invalid("message_max", problem));
        }
        Ok(Box::new(Grpc {
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            guard: Guard::new(self.tls.clone(), &[("listen", &self.listen)], cx, &[HTTP2])?,
            senders: cx.get(),
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
    senders: SenderBoard,
    /// Between opening and running.
    listener: Option<Box<dyn Listener>>,
}

#[async_trait]
impl Source for Grpc {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn gives_again(&self) -> GivesAgain {
        GivesAgain::ByIdentity
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Listen { setting: "listen", address: self.config.listen.clone() }]
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        let guard = self.guard.as_ref();
        let listener = listening::listen(&*self.env.net, &self.config.listen, guard).await?;
        let address = listener.local_address();
        info!(source = %self.name, %address, tls = guard.is_some(), "listening");
        let certificates = self.config.tls.as_ref().is_some_and(ServerTls::needs_certificates);
        if !certificates && plain_text::leaves_host(&address) {
            warn!(
                source = %self.name,
                %address,
                "clients show no certificate (`tls.client_ca`): every one that reaches this \
                 listener can write and read",
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
        let (subscriptions, committed) =
            (service.subscriptions.clone(), service.cx.relay.watch_committed());
        let allowed = Allowed {
            connections: self.config.connections_max as usize,
            // A peer that does not let go is cut off.
            drain: DRAIN + self.config.linger.0,
            tls: self.guard.as_ref(),
        };
        tokio::select! {
            biased;
            () = subscriptions.run(committed) => {}
            () = watched.watch() => {}
            () = incoming::serve(listener, service, allowed, &stop) => {}
        }
        work.close();
        if timeout(DRAIN, work.wait()).await.is_err() {
            warn!(source = %self.name, "batches are left that the channels did not take in time");
        }
        Ok(())
    }
}

impl Grpc {
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
            budget: Arc::new(Semaphore::new(budget_units(in_flight_max.0) as usize)),
            gathering: Arc::new(Gathering::new(gathered_max.0, IDLE_BYTES_MAX, gathered)),
            allowance: Allowance::new(remembered_max.0, remembered),
            incarnation: self.env.entropy.next_u64(),
            contents: Mutex::new(Contents::new(CONTENTS)),
            name: self.name.clone(),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            cx,
            streams: Arc::new(()),
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
            (json!({ "listen": "0.0.0.0:4141", "compression": ["gzip"] }), "compression.0"),
        ] {
            let error = build::<Config>(&settings, &cx).err().unwrap();
            assert_eq!(error.path, named, "{error}");
        }
        assert!(build::<Config>(&json!({ "listen": "[::]:4141" }), &cx).is_ok());
    }
}

//! The task that maintains the connection to the downstream agent.
//!
//! ```text
//!   connect ─► Hello ─► Welcome ─► puts and replies … ─► broken or closed
//!      ▲                                                       │
//!      └─ pause: none after a good connection, then doubling ◄─┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use delivery::sender::{Outgoing, Welcome, Window};
use metrics::{Metrics, SinkLabel};
use peers::limits::PeerLimit;
use peers::{Dispute, FloorBoard, LedgerBoard, LimitBoard, ProgressBoard, RoutingBoard};
use pipeline::{Env, Identity, Routing};
use support::backoff::jittered;
use support::mutant;
use tls::{Dialer, TokenFile};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, error, info, warn};
use web::token_of;
use wire::keys;
use wire::v1::from_receiver::Message;
use wire::v1::{self, FromReceiver, FromSender, Reason, from_sender};

use super::GrpcError;
use super::connector::{Connector, Ending};
use super::fault::Fault;
use super::progress::ProgressNews;
use super::shared::Shared;

/// Initial and maximum pause between two attempts to connect.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// After a connection of this duration, the next attempt follows immediately.
const GOOD_CONNECTION: Duration = Duration::from_secs(1);

/// Capacity of the queue between the sender and the transport. Its content is in memory anyway,
/// bounded by the window.
const OUTBOX: usize = 2;

/// Name of this program, for the operators of the other agent.
const AGENT: &str = concat!("aqueduct ", env!("CARGO_PKG_VERSION"));

pub(super) struct Connection {
    pub(super) name: Arc<str>,
    pub(super) env: Env,
    pub(super) endpoint: Endpoint,
    pub(super) dialer: Dialer,
    pub(super) token: Option<TokenFile>,
    pub(super) connect_timeout: Duration,
    pub(super) shared: Arc<Shared>,
    pub(super) floors: FloorBoard,
    pub(super) limits: LimitBoard,
    pub(super) ledgers: LedgerBoard,
    pub(super) routing: RoutingBoard,
    pub(super) progress: ProgressBoard,
    pub(super) metrics: Metrics,
    /// After a disconnection of this duration, the downstream agent is assumed to have nothing.
    pub(super) resend_after: Duration,
}

impl Connection {
    /// Maintains the connection until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.shared.keep_time() => {}
            () = self.shared.keep_others() => {}
            () = self.keep_connected() => {}
        }
        // A stopped sink no longer counts when routings are compared.
        self.routing.withdraw(&self.shared.address);
        self.limits.withdraw(&self.shared.address);
        self.forget_ledgers();
        self.tell(None);
    }

    async fn keep_connected(&self) {
        let mut failures = 0;
        let mut last_up = Instant::now();
        loop {
            let began = Instant::now();
            debug!(sink = %self.name, address = %self.shared.address, "connecting");
            let error = self.attempt().await;
            debug!(sink = %self.name, error = %error, "connection ended");
            let was_up = self.shared.disconnected(Arc::new(error), Instant::now());
            if was_up {
                last_up = Instant::now();
            } else if last_up.elapsed() >= self.resend_after {
                self.routing.withdraw(&self.shared.address);
                self.forget_ledgers();
            }
            if was_up && began.elapsed() >= GOOD_CONNECTION {
                failures = 0;
                continue;
            }
            failures += 1;
            let random = self.env.entropy.next_u64();
            let pause = jittered(RETRY.0, RETRY.1, failures, random);
            tokio::select! {
                biased;
                () = self.shared.until_hurried() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Runs one connection, from start to end.
    async fn attempt(&self) -> GrpcError {
        let no_welcome = || GrpcError::NoWelcome {
            address: self.shared.address.to_string(),
            timeout: self.connect_timeout,
        };
        let channel = match timeout(self.connect_timeout, self.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return error,
            Err(_) => return no_welcome(),
        };
        self.shared.connected(Instant::now());
        let hung_up = async {
            self.shared.until_hung_up().await;
            if self.shared.is_up() {
                GrpcError::NoAnswer { address: self.shared.address.to_string(), source: None }
            } else {
                no_welcome()
            }
        };
        tokio::select! {
            biased;
            error = hung_up => error,
            error = self.exchange(channel) => error,
        }
    }

    async fn connect(&self) -> Result<(Channel, Ending), GrpcError> {
        let connector = Connector::new(self.dialer.clone(), self.shared.address.clone());
        connector.open(&self.endpoint).await
    }

    async fn exchange(&self, (channel, ending): (Channel, Ending)) -> GrpcError {
        let address = || self.shared.address.to_string();
        let broken = |status| {
            let status = Box::new(ending.status(status));
            GrpcError::Broken { address: address(), status }
        };
        let authorization = match token_of(&self.env, self.token.as_ref()).await {
            Ok(authorization) => authorization,
            Err(source) => return GrpcError::Token { address: address(), source },
        };
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let began = Instant::now();
        // Send Hello first: it must be queued before the stream starts.
        if let Some(hello) = self.shared.next_outgoing(Instant::now()) {
            let _ = outbox.try_send(self.message(hello));
        }
        let said = ReceiverStream::new(messages);
        let mut answers = match wire::exchange(channel, authorization, said).await {
            Ok(answers) => answers,
            Err(status) => return broken(status),
        };
        let mut seen = Seen { routing: 0, progress: ProgressNews::new(&self.progress), began };
        loop {
            match self.step(&outbox, &mut answers, &mut seen).await {
                Ok(true) => {}
                Ok(false) => return GrpcError::Ended { address: address() },
                Err(Fault::Transport(status)) => return broken(*status),
                Err(Fault::Protocol(source)) => {
                    return GrpcError::Protocol { address: address(), source };
                }
            }
        }
    }

    /// Sends or receives one message; returns `false` when the other side has ended the stream.
    async fn step(
        &self,
        outbox: &mpsc::Sender<FromSender>,
        answers: &mut Streaming<FromReceiver>,
        Seen { routing, progress, began }: &mut Seen,
    ) -> Result<bool, Fault> {
        let sendable = self.shared.has_outgoing();
        let (is_up, is_news) = (self.shared.is_up(), progress.is_due());
        tokio::select! {
            biased;
            answer = answers.message() => match answer? {
                Some(FromReceiver { message: Some(Message::Ledgers(told)) }) => {
                    self.told_of_ledgers(told, *began).await;
                }
                Some(FromReceiver { message: Some(message) }) => {
                    if let Some(refusal) = self.on_message(message)? {
                        self.closed(refusal).await;
                    }
                }
                Some(FromReceiver { message: None }) => {}
                None => return Ok(false),
            },
            () = self.routing.changed(routing) => self.compare(),
            // If it is closed, the transport is dropping it, and the next reply contains the
            // reason.
            Ok(permit) = outbox.reserve(), if sendable || (is_up && is_news) => {
                if is_up && is_news {
                    permit.send(progress.message());
                } else if let Some(outgoing) = self.shared.next_outgoing(Instant::now()) {
                    permit.send(self.message(outgoing));
                }
            }
            () = self.shared.until_outgoing() => {}
            () = progress.changed(), if is_up && !is_news => {}
        }
        Ok(true)
    }

    fn message(&self, outgoing: Outgoing<v1::Put>) -> FromSender {
        let message = match outgoing {
            Outgoing::Hello(held) => from_sender::Message::Hello(v1::Hello {
                agent: format!("{} ({AGENT})", self.env.host),
                features: Vec::new(),
                keys: keys::encode(&held),
                floors: keys::encode_floors(&self.floors.declarable()),
            }),
            Outgoing::Put(put) => {
                // From now on, a copy of it may be listed in a reply.
                if let Ok(identity) = keys::identity(put.identity.as_ref()) {
                    self.floors.put(identity);
                }
                from_sender::Message::Put(put)
            }
        };
        FromSender { message: Some(message) }
    }

    /// Handles a message. Returns the refusal of a batch that may be sent under another name.
    fn on_message(&self, message: Message) -> Result<Option<Refusal>, wire::Malformed> {
        match message {
            Message::Welcome(welcome) => self.welcomed(welcome)?,
            Message::Stored(v1::Stored { keys }) => {
                let keys = keys::decode(keys)?;
                self.shared.heard(|sender| sender.stored(&keys));
            }
            Message::Committed(v1::Committed { keys, dead_letters }) => {
                let keys = keys::decode(keys)?;
                let letters = keys::decode_dead_letters(&dead_letters)?;
                self.shared.committed(&keys, &letters);
            }
            Message::Busy(v1::Busy { retry_after_ms, keys }) => {
                let keys = keys::decode(keys)?;
                let retry_after = Duration::from_millis(retry_after_ms).min(BUSY_MAX);
                self.shared.busy(retry_after, &keys, Instant::now());
            }
            Message::Refused(refused) => {
                let identity = keys::identity(refused.identity.as_ref())?;
                debug!(sink = %self.name, %identity, detail = %refused.detail, "refused");
                match refused.reason() {
                    Reason::Damaged | Reason::Compression => {
                        self.shared.heard(|sender| sender.unreadable(identity));
                    }
                    Reason::Unspecified
                    | Reason::TooLarge
                    | Reason::Malformed
                    | Reason::EpochClosed
                    | Reason::OtherContent => {
                        let reason = refused.reason();
                        let detail = format!("{}: {}", self.shared.address, refused.detail);
                        if reason == Reason::EpochClosed && self.floors.is_own(identity) {
                            return Ok(Some(Refusal { identity, detail }));
                        }
                        self.shared.refused(identity, reason, detail);
                    }
                }
            }
            // Handled by `step`.
            Message::Ledgers(_) => {}
            Message::Draining(v1::Draining {}) => {
                self.shared.heard(delivery::sender::Sender::draining);
            }
            Message::Outlet(outlet) => self.told_of_outlet(outlet),
        }
        Ok(None)
    }

    /// A copy of this agent has closed the current epoch of this process: batches that were sent
    /// nowhere else get a new name, the others go to the dead letters.
    async fn closed(&self, Refusal { identity, detail }: Refusal) {
        let floors = self.floors.clone();
        let rename = move || floors.renamed_as_closed(identity);
        match self.env.offload(rename).await {
            Ok(true) => self.shared.offer_again(identity),
            Ok(false) => self.shared.refused(identity, Reason::EpochClosed, detail),
            Err(error) => {
                warn!(
                    sink = %self.name, %identity, %error,
                    "cannot give a new identity to a batch whose epoch is closed, because this \
                     data directory was copied or restored; retrying; check the disk"
                );
                self.shared.offer_again(identity);
            }
        }
    }

    fn welcomed(&self, welcome: v1::Welcome) -> Result<(), wire::Malformed> {
        // A missing limit means no limit.
        let limit = |bytes: u64| if bytes == 0 { u64::MAX } else { bytes };
        let first = !self.shared.is_up();
        let routing = welcome.routing.map(|told| Routing::from_digest(told.digest, &told.text));
        self.routing.observe(&self.shared.address, routing);
        let named = PeerLimit::from_announced(welcome.body_max, welcome.body_cut);
        self.limits.named(&self.shared.address, named);
        let dispute = self.routing.dispute(&self.shared.address);
        self.tell(dispute.as_ref());
        self.shared.dead_letters(&keys::decode_dead_letters(&welcome.dead_letters)?);
        let was_unable = self.shared.hop.is_unable();
        self.shared.hop.set_incarnation(welcome.incarnation);
        self.shared.welcomed(
            &Welcome {
                stored: keys::decode(welcome.stored_keys)?,
                committed: keys::decode(welcome.committed_keys)?,
                window: Window {
                    batches: if welcome.window_batches == 0 {
                        u32::MAX
                    } else {
                        welcome.window_batches
                    },
                    bytes: limit(welcome.window_bytes),
                },
                body_max: match mutant!("limit_not_heeded") {
                    true => u64::MAX,
                    false => limit(welcome.body_max),
                },
                zstd: welcome.features.iter().any(|feature| feature == wire::FEATURE_ZSTD),
            },
            dispute,
        );
        if was_unable && !self.shared.hop.is_unable() {
            self.log_able();
        }
        if first {
            info!(
                sink = %self.name,
                address = %self.shared.address,
                agent = %welcome.agent,
                incarnation = format_args!("{:016x}", welcome.incarnation),
                "connected",
            );
        }
        Ok(())
    }

    /// A member of the group announced its routing: that may change whether this agent gets
    /// batches.
    fn compare(&self) {
        let dispute = self.routing.dispute(&self.shared.address);
        if self.shared.is_up() && self.shared.is_barred() != dispute.is_some() {
            self.tell(dispute.as_ref());
            self.shared.bar(dispute);
        }
    }

    /// Reports whether the downstream agent gets batches.
    fn tell(&self, dispute: Option<&Dispute>) {
        let label = SinkLabel { sink: self.name.to_string() };
        self.metrics.sink_routing_mismatch.get_or_create(&label).set(i64::from(dispute.is_some()));
        if let Some(Dispute { own, other, theirs }) = dispute {
            error!(
                sink = %self.name, address = %self.shared.address, %other,
                own = &*own.text, theirs = &*theirs.text,
                "the next agent at `address` routes events to other datasets (`own`) than the \
                 agent at `other` (`theirs`); it gets no batches until `aqueduct check FILE` shows \
                 the same routing on both hosts",
            );
        }
    }
}

/// What one stream has handled.
struct Seen {
    routing: u64,
    progress: ProgressNews,
    /// When the stream began.
    began: Instant,
}

/// A batch of an epoch that this process began, refused because the epoch is closed.
struct Refusal {
    identity: Identity,
    detail: String,
}

/// Maximum pause, whatever the downstream agent requests.
const BUSY_MAX: Duration = Duration::from_secs(60);

//! `mqtt`: each message of a broker is an event, acknowledged when it is stored.
//!
//! ```text
//!   broker ──PUBLISH──► round ──put──► channels      one put at a time; the next round fills
//!      ▲                  ▲              │           while it is stored
//!      │ PUBREL ──────────┘              ▼
//!      └──── PUBACK, PUBREC, PUBCOMP ── stored
//! ```
//!
//! While the channels are full the round fills up, then the connection is not read; pings go on.
//! So a source holds two rounds and one packet. What a message of QoS 1 or 2 is known by when it
//! comes again stands at [`session`].

mod config;
mod opening;
mod put_off;
mod round;
mod session;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kit::under_way::{Storing, put_of, settled};
use metrics::Metrics;
use pipeline::{
    BuildContext, Classify, GivesAgain, Guarantee, IntakeError, Source, SourceContext, SourceError,
    SourcePosition,
};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::broker::Target;
use crate::connection::{Connection, MqttError};
use crate::packets::{Packet, PingReq, PubAck, PubComp, PubRec, Publish, QoS};
use crate::topic::is_shared;
pub use config::Config;
use config::{Options, Retained};
use put_off::PutOff;
use round::Round;
use session::{Arrival, Session};

/// How long a stop waits for what is being stored.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a stop waits for the last answers to be sent.
const GOODBYE: Duration = Duration::from_secs(1);

/// Bytes of answers that wait to be written, from which on nothing is read.
const ANSWERS_MAX: usize = 64 << 10;

struct Mqtt {
    name: Arc<str>,
    metrics: Metrics,
    options: Options,
    target: Target,
    session: Session,
    /// The broker had a session of this source in the life of this process.
    is_known: bool,
    /// Messages of the session are looked for in the channels.
    is_loaded: bool,
    round: Round,
    /// A message that belongs into the next round.
    waiting: Option<Publish>,
    storing: Option<Storing<Round>>,
    connection: Option<Connection>,
    /// Messages of this connection are neither stored nor answered: it is ended when there is room
    /// for them, and they come again with the next one.
    put_off: Option<PutOff>,
    /// The session has the filters, as the broker has said.
    is_subscribed: bool,
    /// How often something is sent on this connection.
    keep_alive: Duration,
    /// The channels have to forget the ids of the last session first.
    forgets: bool,
}

impl Mqtt {
    fn new(cx: &BuildContext, options: Options, target: Target) -> Self {
        Self {
            name: cx.name.clone(),
            metrics: cx.metrics.clone(),
            keep_alive: options.keep_alive,
            options,
            target,
            session: Session::default(),
            is_known: false,
            is_loaded: false,
            round: Round::default(),
            waiting: None,
            storing: None,
            connection: None,
            put_off: None,
            is_subscribed: false,
            forgets: false,
        }
    }

    fn count(&self, reason: &'static str) {
        self.metrics.count_anomaly(&self.name, reason, 1);
    }

    /// Whether the ids of messages are stored with them.
    fn is_exact(&self) -> bool {
        self.options.qos == QoS::ExactlyOnce
    }

    /// What the position of the source is of: this session.
    fn key(&self) -> Bytes {
        format!("{} {}", self.target.address, self.target.client_id).into()
    }

    fn failed(&self, error: MqttError) -> SourceError {
        SourceError {
            class: error.class(),
            message: "no messages of the broker".into(),
            source: Some(Box::new(error)),
        }
    }

    fn not_stored(&self, error: IntakeError) -> SourceError {
        let message = "messages are not stored, and not acknowledged".to_owned();
        SourceError { class: error.class(), message, source: Some(Box::new(error)) }
    }

    /// Takes a packet in.
    fn take(&mut self, packet: Packet, connection: &mut Connection) -> Result<(), MqttError> {
        match packet {
            Packet::Publish(message) => self.message(message, connection),
            Packet::PubRel(release) if self.session.released(release.pkid) => {
                self.round.released.insert(release.pkid);
                Ok(())
            }
            // Released before: the answer was lost.
            Packet::PubRel(it) => connection.queue(Packet::PubComp(PubComp::new(it.pkid, None))),
            Packet::SubAck(answer) => self.granted(&answer),
            Packet::PingResp(_) => {
                self.put_off.as_mut().map(PutOff::answered);
                Ok(())
            }
            other => Err(connection.unexpected(&other)),
        }
    }

    fn message(&mut self, it: Publish, connection: &mut Connection) -> Result<(), MqttError> {
        if it.retain && self.options.retained == Retained::Never {
            self.count("retained_dropped");
            return self.answer(it.qos, it.pkid, connection);
        }
        match self.session.arrive(&it) {
            Arrival::New => {
                if it.dup {
                    self.count("message_repeated");
                }
                self.waiting = Some(it);
                Ok(())
            }
            Arrival::Stored => {
                self.count("message_known");
                self.answer(it.qos, it.pkid, connection)
            }
            Arrival::Pending => Ok(()),
            Arrival::TooMany => {
                self.count("message_put_off");
                self.put_off.get_or_insert(PutOff::since(it.pkid));
                Ok(())
            }
        }
    }

    fn answer(&self, qos: QoS, id: u16, connection: &mut Connection) -> Result<(), MqttError> {
        match qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => connection.queue(Packet::PubAck(PubAck::new(id, None))),
            QoS::ExactlyOnce => connection.queue(Packet::PubRec(PubRec::new(id, None))),
        }
    }

    /// Moves the message that waits into the round, if it has room.
    fn fill(&mut self, batch_bytes: Option<u64>) -> Result<(), MqttError> {
        let full = self.round.is_full(self.options.batch_events, batch_bytes);
        let Some(message) =
            self.waiting.take_if(|message| !full && !self.round.lacks_room(message, batch_bytes))
        else {
            return Ok(());
        };
        let pushed = self.round.push(&message, &self.options.headers);
        let address = || self.target.address.clone();
        pushed.map_err(|problem| MqttError::Malformed { address: address(), problem })
    }

    /// Begins to store the round.
    fn store(&mut self, cx: &SourceContext) {
        let mut round = std::mem::take(&mut self.round);
        let mut batch = round.batch();
        if self.is_exact() {
            let value = self.session.position(&round.exact, &round.released);
            let (source, key) = (self.name.clone(), self.key());
            let position = SourcePosition { source, key, value: Some(value), after: None };
            batch.envelope.positions.push(position);
        }
        self.storing = Some(Storing::begin(round, batch, cx));
    }

    /// A put has ended. With a connection its messages are answered.
    fn stored(
        &mut self,
        round: &Round,
        connection: Option<&mut Connection>,
    ) -> Result<(), MqttError> {
        self.session.stored(&round.exact, &round.released);
        let Some(connection) = connection else {
            round.once.iter().for_each(|(id, digest)| self.session.unanswered(*id, *digest));
            return Ok(());
        };
        for (id, _) in &round.once {
            self.answer(QoS::AtLeastOnce, *id, connection)?;
        }
        for (id, _) in &round.exact {
            self.answer(QoS::ExactlyOnce, *id, connection)?;
        }
        for id in &round.released {
            connection.queue(Packet::PubComp(PubComp::new(*id, None)))?;
        }
        Ok(())
    }

    /// Waits for the put of a connection that has ended, if it has its room: else its messages come
    /// again, and the next connection, which keeps the session, need not wait.
    async fn settle(&mut self) {
        self.round = Round::default();
        self.waiting = None;
        let Some((round, result)) = settled(&mut self.storing).await else { return };
        match result {
            Ok(()) => {
                let _ = self.stored(&round, None);
            }
            Err(error) => {
                debug!(source = %self.name, %error, "the messages will be redelivered");
                self.is_loaded = false;
            }
        }
    }

    /// The ids of the last session are taken out of the channels.
    async fn forget(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        if self.is_exact() && self.forgets {
            self.store(cx);
            let Some(Storing { put, waits: _waits, .. }) = self.storing.take() else {
                return Ok(());
            };
            let result = put.await.unwrap_or(Err(IntakeError::Stopping));
            result.map_err(|error| self.not_stored(error))?;
        }
        self.forgets = false;
        Ok(())
    }

    /// Takes messages in until the connection ends or the source is to stop.
    async fn messages(
        &mut self,
        cx: &SourceContext,
        connection: &mut Connection,
    ) -> Result<(), SourceError> {
        let interval = self.keep_alive;
        let (mut ping_at, mut heard) = (Instant::now() + interval / 2, Instant::now());
        loop {
            let batch_bytes = cx.intake.batch_bytes_max();
            self.fill(batch_bytes).map_err(|error| self.failed(error))?;
            if self.storing.is_none() && !self.round.is_empty() {
                self.store(cx);
                continue;
            }
            if self.storing.is_none() && self.makes_room(connection)? {
                let _sent = timeout(GOODBYE, connection.flush()).await;
                let address = self.target.address.clone();
                return Err(self.failed(MqttError::Ahead { address, limit: session::IDS_MAX }));
            }
            let has_room = self.waiting.is_none()
                && !self.round.is_full(self.options.batch_events, batch_bytes);
            if !has_room {
                // The broker may have said something: it is not read.
                heard = Instant::now();
            }
            // A broker that does not read its answers is silent, and not waited for longer.
            let takes_answers = connection.queued_bytes() < ANSWERS_MAX;
            let reads = has_room && takes_answers;
            let taken = tokio::select! {
                biased;
                () = cx.stop.cancelled() => return Ok(()),
                result = put_of(&mut self.storing) => {
                    let Some(Storing { round, .. }) = self.storing.take() else { continue };
                    if let Err(error) = result {
                        self.is_loaded = false;
                        return Err(self.not_stored(error));
                    }
                    self.stored(&round, Some(connection))
                }
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + interval / 2;
                    match heard.elapsed() > interval * 3 / 2 {
                        true => Err(MqttError::Silent {
                            address: self.target.address.clone(),
                            limit: interval * 3 / 2,
                        }),
                        false if takes_answers => connection.queue(Packet::PingReq(PingReq)),
                        false => Ok(()),
                    }
                }
                packet = connection.next(reads) => {
                    heard = Instant::now();
                    packet.and_then(|packet| self.take(packet, connection))
                }
            };
            taken.map_err(|error| self.failed(error))?;
        }
    }

    /// Answers what is being stored, and says goodbye.
    async fn finish(&mut self, mut connection: Connection) {
        if let Some(Storing { round, put, .. }) = &mut self.storing
            && let Ok(Ok(Ok(()))) = timeout(DRAIN, put).await
        {
            let round = std::mem::take(round);
            self.storing = None;
            if self.stored(&round, Some(&mut connection)).is_err() {
                return;
            }
        }
        connection.close(GOODBYE).await;
    }
}

#[async_trait]
impl Source for Mqtt {
    fn guarantee(&self) -> Guarantee {
        let is_shared = self.options.filters.iter().any(|filter| is_shared(filter));
        match self.options.qos {
            _ if self.options.session_expiry_seconds == 0 => Guarantee::BestEffort,
            QoS::AtMostOnce => Guarantee::BestEffort,
            QoS::ExactlyOnce if !is_shared => Guarantee::ExactlyOnce,
            // Another member of the group gets what one has not answered.
            QoS::AtLeastOnce | QoS::ExactlyOnce => Guarantee::AtLeastOnce,
        }
    }

    fn gives_again(&self) -> GivesAgain {
        match self.is_exact() {
            true => GivesAgain::ByPosition,
            false => GivesAgain::Nothing,
        }
    }

    fn batch_bytes(&self) -> u64 {
        round::ROUND_BYTES.max(u64::from(self.options.packet_max))
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        self.settle().await;
        if self.is_exact() && !self.is_loaded {
            self.load(&*cx.positions);
            self.is_loaded = true;
        }
        let connected = self.connect().await;
        connected.map_err(|error| self.failed(error))
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let mut connection = self.connection.take().expect("a source is opened before it runs");
        self.forget(&cx).await?;
        if let Some(subscribe) = self.subscribe() {
            connection.queue(subscribe).map_err(|error| self.failed(error))?;
        }
        let ended = self.messages(&cx, &mut connection).await;
        if ended.is_ok() {
            self.finish(connection).await;
        }
        ended
    }
}

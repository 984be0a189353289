//! `mqtt`: each message of a broker is an event, acknowledged when it is stored.
//!
//! ```text
//!   broker ──PUBLISH──► round ──put──► channels
//!      ▲                  ▲              │
//!      │ PUBREL ──────────┘              ▼
//!      └──── PUBACK, PUBREC, PUBCOMP ── stored
//! ```
//!
//! While the channels are full the connection is not read; pings continue. [`kit::consume`] has the
//! rounds and their invariants, [`session`] recognizes redelivered messages of QoS 1 and 2.

mod config;
mod deferred;
mod event;
mod opening;
mod session;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kit::consume::{Arrived, Consume, Content, Load, Problem, Verdict, not_received};
use kit::messages::ROUND_BYTES;
use metrics::Metrics;
use pipeline::{Guarantee, ResendMode, SourceContext, SourceError, SourcePosition};
use tokio::time::{Instant, sleep_until};

use crate::broker::Target;
use crate::connection::{Connection, MqttError};
use crate::packets::{Packet, PingReq, PubAck, PubComp, PubRec, Publish, QoS};
use crate::topic::is_shared;
pub use config::Config;
use config::{Options, Retained};
use deferred::DeferredMessages;
use session::{Arrival, Session, digest};

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
    /// The ids that the channels have are loaded.
    is_loaded: bool,
    /// Messages of this connection are neither stored nor answered: it is ended when there is room
    /// for them, and the broker redelivers them on the next one.
    put_off: Option<DeferredMessages>,
    /// A put is under way.
    is_storing: bool,
    /// The session has the filters, as the broker has confirmed.
    is_subscribed: bool,
    /// How often something is sent on this connection.
    keep_alive: Duration,
    /// The channels have to forget the ids of the last session first.
    forgets: bool,
}

/// A connection, with the times of its keep-alive.
struct Link {
    connection: Connection,
    ping_at: Instant,
    /// When the broker last sent something, or was last not read.
    heard: Instant,
}

/// The reply after a round is stored.
#[derive(Debug, Clone, Copy)]
enum Ack {
    /// QoS 0: nothing.
    Nothing,
    /// The id and the digest of a message of QoS 1.
    Once(u16, u32),
    /// The id and the digest of a message of QoS 2.
    Exact(u16, u32),
    /// An id that the broker has released.
    Released(u16),
}

/// Ids of QoS 2 in a round: messages with their digests, and releases.
fn exact_ids(acks: &[Ack]) -> (Vec<(u16, u32)>, BTreeSet<u16>) {
    let (mut exact, mut released) = (Vec::new(), BTreeSet::new());
    for ack in acks {
        match ack {
            Ack::Nothing | Ack::Once(..) => {}
            Ack::Exact(id, digest) => exact.push((*id, *digest)),
            Ack::Released(id) => drop(released.insert(*id)),
        }
    }
    (exact, released)
}

impl Mqtt {
    fn count(&self, reason: &'static str) {
        self.metrics.count_anomaly(&self.name, reason, 1);
    }

    /// Whether the ids of messages are stored with them.
    fn is_exact(&self) -> bool {
        self.options.qos == QoS::ExactlyOnce
    }

    /// The key of the position of the source: this session.
    fn key(&self) -> Bytes {
        format!("{} {}", self.target.address, self.target.client_id).into()
    }

    /// Handles a packet. Returns a message or a release that has to be stored.
    fn take(
        &mut self,
        packet: Packet,
        connection: &mut Connection,
    ) -> Result<Option<Arrived<Ack>>, MqttError> {
        match packet {
            Packet::Publish(message) => return self.message(&message, connection),
            Packet::PubRel(release) if self.session.released(release.pkid) => {
                let (ack, content) = (Ack::Released(release.pkid), Content::Mark);
                return Ok(Some(Arrived { ack, content, is_repeated: false }));
            }
            // Released before: the answer was lost.
            Packet::PubRel(it) => connection.queue(Packet::PubComp(PubComp::new(it.pkid, None)))?,
            Packet::SubAck(answer) => self.granted(&answer)?,
            Packet::PingResp(_) => {
                self.put_off.as_mut().map(DeferredMessages::answered);
            }
            other => return Err(connection.unexpected(&other)),
        }
        Ok(None)
    }

    fn message(
        &mut self,
        it: &Publish,
        connection: &mut Connection,
    ) -> Result<Option<Arrived<Ack>>, MqttError> {
        if it.retain && self.options.retained == Retained::Never {
            self.count("retained_dropped");
            answer(it.qos, it.pkid, connection)?;
            return Ok(None);
        }
        match self.session.arrive(it) {
            Arrival::New => return self.event(it).map(Some),
            Arrival::Stored => {
                self.count("message_known");
                answer(it.qos, it.pkid, connection)?;
            }
            Arrival::Pending => {}
            Arrival::TooMany => {
                self.count("message_put_off");
                self.put_off.get_or_insert(DeferredMessages::since(it.pkid));
            }
        }
        Ok(None)
    }

    fn event(&self, it: &Publish) -> Result<Arrived<Ack>, MqttError> {
        let event = event::from_publish(it, &self.options.headers).map_err(|problem| {
            MqttError::Malformed { address: self.target.address.clone(), problem }
        })?;
        let ack = match it.qos {
            QoS::AtMostOnce => Ack::Nothing,
            QoS::AtLeastOnce => Ack::Once(it.pkid, digest(it)),
            QoS::ExactlyOnce => Ack::Exact(it.pkid, digest(it)),
        };
        Ok(Arrived { ack, content: Content::Event(event), is_repeated: it.dup })
    }

    /// Sends a ping when it is due. A broker that does not read its answers is sent none.
    fn ping(&self, link: &mut Link, takes_answers: bool) -> Result<(), MqttError> {
        let interval = self.keep_alive;
        link.ping_at = Instant::now() + interval / 2;
        if link.heard.elapsed() > interval * 3 / 2 {
            let (address, limit) = (self.target.address.clone(), interval * 3 / 2);
            return Err(MqttError::Silent { address, limit });
        }
        match takes_answers {
            true => link.connection.queue(Packet::PingReq(PingReq)),
            false => Ok(()),
        }
    }
}

fn answer(qos: QoS, id: u16, connection: &mut Connection) -> Result<(), MqttError> {
    match qos {
        QoS::AtMostOnce => Ok(()),
        QoS::AtLeastOnce => connection.queue(Packet::PubAck(PubAck::new(id, None))),
        QoS::ExactlyOnce => connection.queue(Packet::PubRec(PubRec::new(id, None))),
    }
}

impl Consume for Mqtt {
    type Link = Link;
    type Ack = Ack;
    type Error = MqttError;

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

    fn resend_mode(&self) -> ResendMode {
        match self.is_exact() {
            true => ResendMode::ByPosition,
            false => ResendMode::Nothing,
        }
    }

    fn batch_bytes(&self) -> u64 {
        ROUND_BYTES.max(u64::from(self.options.packet_max))
    }

    fn round_max(&self) -> usize {
        self.options.batch_events
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<Link, SourceError> {
        if self.is_exact() && !self.is_loaded {
            self.load(&*cx.positions);
            self.is_loaded = true;
        }
        let mut connection = self.connect().await.map_err(not_received)?;
        if let Some(subscribe) = self.subscribe() {
            connection.queue(subscribe).map_err(not_received)?;
        }
        let now = Instant::now();
        Ok(Link { connection, ping_at: now + self.keep_alive / 2, heard: now })
    }

    fn begins_with_position(&self) -> bool {
        self.is_exact() && self.forgets
    }

    async fn prepare(&mut self, link: &mut Link, load: Load) -> Result<(), MqttError> {
        self.is_storing = load.is_storing;
        self.end_for_room(&mut link.connection).await
    }

    async fn next(&mut self, link: &mut Link) -> Result<Arrived<Ack>, MqttError> {
        loop {
            // A broker that does not read its answers is not read either.
            let takes_answers = link.connection.queued_bytes() < ANSWERS_MAX;
            tokio::select! {
                biased;
                () = sleep_until(link.ping_at) => self.ping(link, takes_answers)?,
                packet = link.connection.next(takes_answers) => {
                    link.heard = Instant::now();
                    if let Some(arrived) = self.take(packet?, &mut link.connection)? {
                        return Ok(arrived);
                    }
                    self.end_for_room(&mut link.connection).await?;
                }
            }
        }
    }

    async fn idle(&mut self, link: &mut Link) -> MqttError {
        loop {
            // The broker may have sent something: it is not read.
            link.heard = Instant::now();
            let takes_answers = link.connection.queued_bytes() < ANSWERS_MAX;
            tokio::select! {
                biased;
                () = sleep_until(link.ping_at) => {
                    if let Err(error) = self.ping(link, takes_answers) {
                        return error;
                    }
                }
                result = link.connection.next(false) => {
                    if let Err(error) = result {
                        return error;
                    }
                }
            }
        }
    }

    fn positions(&mut self, acks: &[Ack]) -> Vec<SourcePosition> {
        if !self.is_exact() {
            return Vec::new();
        }
        let (exact, released) = exact_ids(acks);
        let value = self.session.position(&exact, &released);
        let (source, key) = (self.name.clone(), self.key());
        vec![SourcePosition { source, key, value: Some(value), after: None }]
    }

    async fn acknowledge(&mut self, link: &mut Link, acks: Vec<Ack>) -> Result<(), MqttError> {
        self.forgets = false;
        let (exact, released) = exact_ids(&acks);
        self.session.stored(&exact, &released);
        for ack in acks {
            match ack {
                Ack::Nothing => {}
                Ack::Once(id, _) => answer(QoS::AtLeastOnce, id, &mut link.connection)?,
                Ack::Exact(id, _) => answer(QoS::ExactlyOnce, id, &mut link.connection)?,
                Ack::Released(id) => {
                    link.connection.queue(Packet::PubComp(PubComp::new(id, None)))?;
                }
            }
        }
        Ok(())
    }

    fn stored_unacknowledged(&mut self, acks: Vec<Ack>) {
        self.forgets = false;
        let (exact, released) = exact_ids(&acks);
        self.session.stored(&exact, &released);
        for ack in acks {
            if let Ack::Once(id, digest) = ack {
                self.session.unanswered(id, digest);
            }
        }
    }

    fn put_failed(&mut self) {
        self.is_loaded = false;
    }

    fn verdict(&self, _ack: &Ack, problem: &Problem) -> Verdict<MqttError> {
        let (address, problem) = (self.target.address.clone(), problem.to_string());
        Verdict::Hold(MqttError::NotStored { address, problem })
    }

    /// Not called: a protocol without rejections holds every message that cannot be stored.
    async fn reject(
        &mut self,
        _link: &mut Link,
        _ack: Ack,
        _problem: &Problem,
    ) -> Result<(), MqttError> {
        Ok(())
    }

    /// After a failure the connection ends without a goodbye.
    fn is_open(&self, _link: &Link) -> bool {
        false
    }

    async fn close(&mut self, link: Link, limit: Duration) {
        link.connection.close(limit).await;
    }
}

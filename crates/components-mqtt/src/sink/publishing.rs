//! A connection that publishes one batch at a time.

use std::collections::BTreeMap;
use std::ops::Range;

use kit::refused::Refusal;
use pipeline::Classify;
use pipeline::ErrorClass;
use tokio::time::{Duration, Instant};

use crate::broker::Target;
use crate::connection::{Connection, MqttError};
use crate::packets::{
    Connect, ConnectProperties, Packet, PubAckReason, PubRecReason, PubRel, Publish, QoS,
};

/// Maximum number of messages in flight, even if the broker allows more.
pub(super) const IN_FLIGHT_MAX: u16 = 1000;

/// Maximum size of a broker's packet to a client without subscriptions.
const PACKET_MAX: u32 = 64 << 10;

/// Size of the output buffer at which no further message is encoded.
const QUEUED_MAX: usize = 256 << 10;

/// Values with the positions of their events in the batch.
pub(super) type Placed<T> = Vec<(usize, T)>;

/// A connection for publishing.
pub(super) struct Publishing {
    target: Target,
    connection: Connection,
    in_flight_max: usize,
    /// Idle time after which the broker closes the connection.
    idle_max: Option<Duration>,
    used: Instant,
    last_id: u16,
    /// From the first to the last message without a reply when the connection ended.
    unanswered: Range<usize>,
}

/// A message that is not acknowledged yet.
enum Pending {
    /// Waits for PUBACK or PUBREC.
    First(usize),
    /// Waits for PUBCOMP.
    Complete,
}

impl Publishing {
    /// Connects as the client with this number.
    ///
    /// # Errors
    /// Fails if it cannot connect.
    pub(super) async fn open(target: &Target, number: usize) -> Result<Self, MqttError> {
        let client_id = match number {
            0 => target.client_id.to_string(),
            more => format!("{}-{more}", target.client_id),
        };
        // Without keep-alive: a broken idle connection is detected when it is used.
        let connect = Connect {
            keep_alive: 0,
            client_id,
            clean_start: true,
            properties: Some(ConnectProperties::new()),
        };
        let (connection, greeting) = Connection::open(target, connect, None, PACKET_MAX).await?;
        let limits = greeting.properties.as_ref();
        let most = limits.and_then(|it| it.receive_max).unwrap_or(IN_FLIGHT_MAX);
        let idle = limits.and_then(|it| it.server_keep_alive).filter(|seconds| *seconds > 0);
        Ok(Self {
            target: target.clone(),
            connection,
            in_flight_max: most.clamp(1, IN_FLIGHT_MAX).into(),
            idle_max: idle.map(|seconds| Duration::from_secs(seconds.into())),
            used: Instant::now(),
            last_id: 0,
            unanswered: 0..0,
        })
    }

    /// Returns itself, unless the broker has closed the connection, as far as this side knows.
    pub(super) fn if_usable(mut self) -> Option<Self> {
        let is_fresh = self.idle_max.is_none_or(|most| self.used.elapsed() < most);
        (is_fresh && self.connection.is_quiet()).then_some(self)
    }

    /// Returns the positions from the first to the last message without a reply, after the
    /// connection has ended.
    pub(super) fn unanswered(&self) -> Range<usize> {
        self.unanswered.clone()
    }

    /// Publishes, and waits for every reply. Sends messages at the positions `alone` one at a time.
    /// Adds permanently refused messages to `refused`, with the positions of their events. Returns
    /// the messages that the user may not publish.
    ///
    /// # Errors
    /// Fails if the connection has ended, or the broker refuses temporarily. Some messages may have
    /// been stored.
    pub(super) async fn publish(
        &mut self,
        messages: &[(usize, Publish)],
        refused: &mut Vec<Refusal>,
        alone: &Range<usize>,
    ) -> Result<Placed<MqttError>, MqttError> {
        let mut waiting: BTreeMap<u16, Pending> = BTreeMap::new();
        let mut not_allowed = Placed::new();
        let mut left = messages.iter().peekable();
        let (mut is_done, mut is_alone) = (false, false);
        loop {
            while !is_done && self.connection.queued_bytes() < QUEUED_MAX {
                let is_next_alone = left.peek().is_some_and(|(place, _)| alone.contains(place));
                let most = if is_alone || is_next_alone { 1 } else { self.in_flight_max };
                if waiting.len() >= most {
                    break;
                }
                match left.next() {
                    Some(message) => self.send(message.clone(), &mut waiting, refused)?,
                    None => is_done = true,
                }
                is_alone = is_next_alone;
            }
            if is_done && waiting.is_empty() && !self.connection.has_unsent() {
                self.used = Instant::now();
                return Ok(not_allowed);
            }
            if waiting.is_empty() {
                self.connection.flush().await?;
                continue;
            }
            // Answers come only after what they answer was written.
            let packet = self.connection.next(true).await.inspect_err(|_| {
                let places = waiting.values().filter_map(|waits| match waits {
                    Pending::First(place) => Some(*place),
                    Pending::Complete => None,
                });
                let (first, last) = (places.clone().min(), places.max());
                self.unanswered = first.zip(last).map_or(0..0, |(first, last)| first..last + 1);
            })?;
            if let Some(place) = self.answered(&packet, &mut waiting, refused)? {
                let message = messages.iter().find(|(other, _)| *other == place);
                let topic = message.map(|(_, it)| String::from_utf8_lossy(&it.topic).into_owned());
                let (address, topic) = (self.target.address.clone(), topic.unwrap_or_default());
                not_allowed.push((place, MqttError::NoRight { address, topic }));
            }
        }
    }

    fn send(
        &mut self,
        (place, mut message): (usize, Publish),
        waiting: &mut BTreeMap<u16, Pending>,
        refused: &mut Vec<Refusal>,
    ) -> Result<(), MqttError> {
        let qos = message.qos;
        if qos != QoS::AtMostOnce {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            while waiting.contains_key(&self.last_id) {
                self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            }
            message.pkid = self.last_id;
        }
        match self.connection.queue(Packet::Publish(message)) {
            Ok(()) if qos != QoS::AtMostOnce => {
                waiting.insert(self.last_id, Pending::First(place));
                Ok(())
            }
            Err(error) if error.class() == ErrorClass::Poison => {
                let detail = error.to_string();
                refused.push(Refusal { place, reason: "too_large", detail });
                Ok(())
            }
            queued => queued,
        }
    }

    /// Handles a reply. Returns the position of a message whose topic is not permitted.
    fn answered(
        &mut self,
        packet: &Packet,
        waiting: &mut BTreeMap<u16, Pending>,
        refused: &mut Vec<Refusal>,
    ) -> Result<Option<usize>, MqttError> {
        let (id, is_first, reason) = match packet {
            Packet::PubAck(it) => (it.pkid, true, it.reason),
            Packet::PubRec(it) => (it.pkid, true, of_received(it.reason)),
            Packet::PubComp(it) => (it.pkid, false, PubAckReason::Success),
            _ => return Err(self.connection.unexpected(packet)),
        };
        let place = match (waiting.remove(&id), is_first) {
            (Some(Pending::First(place)), true) => place,
            (Some(Pending::Complete), false) => return Ok(None),
            _ => return Err(self.connection.unexpected(packet)),
        };
        match reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                if matches!(packet, Packet::PubRec(_)) {
                    waiting.insert(id, Pending::Complete);
                    self.connection.queue(Packet::PubRel(PubRel::new(id, None)))?;
                }
                Ok(None)
            }
            PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
                let cause = match reason {
                    PubAckReason::TopicNameInvalid => "the topic is invalid; correct `topic`",
                    _ => {
                        "the message is too large, or does not match its declared format; raise \
                         the packet limit of the broker, or shorten the events"
                    }
                };
                let detail = format!("{} rejects the message: {cause}", self.target.address);
                refused.push(Refusal { place, reason: "refused", detail });
                Ok(None)
            }
            PubAckReason::NotAuthorized => Ok(Some(place)),
            reason => Err(self.connection.not_taken(format!("{reason:?}"))),
        }
    }
}

/// Converts the reason of a PUBREC packet.
fn of_received(reason: PubRecReason) -> PubAckReason {
    match reason {
        PubRecReason::Success => PubAckReason::Success,
        PubRecReason::NoMatchingSubscribers => PubAckReason::NoMatchingSubscribers,
        PubRecReason::UnspecifiedError => PubAckReason::UnspecifiedError,
        PubRecReason::ImplementationSpecificError => PubAckReason::ImplementationSpecificError,
        PubRecReason::NotAuthorized => PubAckReason::NotAuthorized,
        PubRecReason::TopicNameInvalid => PubAckReason::TopicNameInvalid,
        PubRecReason::PacketIdentifierInUse => PubAckReason::PacketIdentifierInUse,
        PubRecReason::QuotaExceeded => PubAckReason::QuotaExceeded,
        PubRecReason::PayloadFormatInvalid => PubAckReason::PayloadFormatInvalid,
    }
}

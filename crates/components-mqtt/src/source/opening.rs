//! The beginning of a connection: the session, and the filters.

use std::time::Duration;

use bytes::Bytes;
use pipeline::PositionIntake;
use tracing::{info, warn};

use super::Mqtt;
use super::config::Retained;
use crate::connection::{Connection, MqttError};
use crate::packets::{
    ConnAck, Connect, ConnectProperties, Filter, Packet, SubAck, Subscribe, SubscribeReasonCode,
};

impl Mqtt {
    /// The ids that the channels know.
    pub(super) fn load(&mut self, intake: &dyn PositionIntake) {
        let key = self.key();
        let known = intake.positions(&self.name);
        let value = |known: &Vec<(Bytes, Bytes)>| {
            known.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone())
        };
        let values: Vec<Option<Bytes>> = known.iter().map(value).collect();
        self.session.load(values.iter().map(Option::as_ref));
    }

    /// Connects, and resumes the session or begins one.
    pub(super) async fn connect(&mut self) -> Result<Connection, MqttError> {
        let options = &self.options;
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(options.session_expiry_seconds);
        properties.receive_maximum = Some(options.in_flight_max);
        properties.max_packet_size = Some(options.packet_max);
        let keeps = options.session_expiry_seconds > 0;
        let connect = Connect {
            keep_alive: u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX),
            client_id: self.target.client_id.to_string(),
            // Version 5 ends the session by its expiry.
            clean_start: !keeps,
            properties: Some(properties),
        };
        let will = options.will.clone();
        let opened = Connection::open(&self.target, connect, will, options.packet_max).await;
        let (connection, greeting) = opened?;
        let is_present = greeting.session_present;
        if self.is_known && keeps && !is_present {
            warn!(
                source = %self.name, broker = %self.target.address,
                "the broker lost the session: messages sent while this client was disconnected \
                 may be lost; raise the session expiry at the broker"
            );
            self.count("session_lost");
        }
        self.forgets |= self.session.resume(is_present);
        self.is_known = true;
        self.put_off = None;
        // A session without its filters: the connection before may have ended too early.
        self.is_subscribed &= is_present;
        self.keep_alive = keep_alive(options.keep_alive, &greeting);
        info!(source = %self.name, broker = %self.target.address, is_present, "connected");
        Ok(connection)
    }

    /// What asks for the filters, unless the session has them. A broker of 3.1.1 sends all that it
    /// retains with each subscription.
    pub(super) fn subscribe(&self) -> Option<Packet> {
        if self.is_subscribed && self.options.retained != Retained::Every {
            return None;
        }
        let filter = |path: &String| Filter {
            path: path.clone(),
            qos: self.options.qos,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: self.options.retained.rule(),
        };
        let mut subscribe = Subscribe::new_many(self.options.filters.iter().map(filter), None);
        subscribe.pkid = 1;
        Some(Packet::Subscribe(subscribe))
    }

    /// Whether the broker serves the filters.
    pub(super) fn granted(&mut self, answer: &SubAck) -> Result<(), MqttError> {
        let address = || self.target.address.clone();
        if answer.return_codes.len() != self.options.filters.len() {
            let problem = "the broker's response to the subscription covers a different number of \
                           filters than requested; check that `broker.address` is an MQTT broker"
                .into();
            return Err(MqttError::Malformed { address: address(), problem });
        }
        for (filter, code) in self.options.filters.iter().zip(&answer.return_codes) {
            match code {
                SubscribeReasonCode::Success(qos) if *qos < self.options.qos => {
                    let granted = *qos as u8;
                    warn!(
                        source = %self.name, filter, granted,
                        "the broker grants this filter a lower quality of service than `qos`, so \
                         messages may be lost (QoS 0) or stored twice (QoS 1); raise its limit at \
                         the broker, or lower `qos`"
                    );
                    self.count("qos_lowered");
                }
                SubscribeReasonCode::Success(_) => {}
                refused => {
                    let problem = format!(
                        "rejects the filter `{filter}`: {refused:?}; check the permissions of the \
                         client"
                    );
                    return Err(MqttError::NotGranted { address: address(), problem });
                }
            }
        }
        info!(source = %self.name, broker = %self.target.address, "subscribed");
        self.is_subscribed = true;
        Ok(())
    }
}

/// How often something has to be sent: a broker of version 5 may want it more often.
fn keep_alive(asked_for: Duration, greeting: &ConnAck) -> Duration {
    let wanted = greeting.properties.as_ref().and_then(|it| it.server_keep_alive);
    let wanted = wanted.filter(|seconds| *seconds > 0);
    wanted.map_or(asked_for, |seconds| asked_for.min(Duration::from_secs(seconds.into())))
}

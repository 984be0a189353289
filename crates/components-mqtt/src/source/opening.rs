//! The beginning of a connection: the session, and the filters.

use bytes::Bytes;
use pipeline::PositionIntake;
use tracing::{info, warn};

use super::Mqtt;
use super::config::Retained;
use crate::connection::{Connection, MqttError};
use crate::packets::{
    Connect, ConnectProperties, Filter, Packet, SubAck, Subscribe, SubscribeReasonCode,
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
    pub(super) async fn connect(&mut self) -> Result<(), MqttError> {
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
                "the broker has forgotten the session: messages of the meantime may be lost"
            );
            self.count("session_lost");
        }
        self.forgets |= self.session.resume(is_present);
        // A broker of 3.1.1 sends what it retains with each subscription.
        self.subscribes = !(is_present && self.is_known && options.retained == Retained::New);
        self.is_known = true;
        info!(source = %self.name, broker = %self.target.address, is_present, "connected");
        self.connection = Some(connection);
        Ok(())
    }

    /// What asks for the filters.
    pub(super) fn subscribe(&self) -> Packet {
        let filter = |path: &String| Filter {
            path: path.clone(),
            qos: self.options.qos,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: self.options.retained.rule(),
        };
        let mut subscribe = Subscribe::new_many(self.options.filters.iter().map(filter), None);
        subscribe.pkid = 1;
        Packet::Subscribe(subscribe)
    }

    /// Whether the broker serves the filters.
    pub(super) fn granted(&self, answer: &SubAck) -> Result<(), MqttError> {
        for (filter, code) in self.options.filters.iter().zip(&answer.return_codes) {
            match code {
                SubscribeReasonCode::Success(qos) if *qos < self.options.qos => {
                    let granted = *qos as u8;
                    warn!(
                        source = %self.name, filter, granted,
                        "the broker serves this filter with a lower quality of service"
                    );
                    self.count("qos_lowered");
                }
                SubscribeReasonCode::Success(_) => {}
                refused => {
                    let problem = format!(
                        "refuses the filter `{filter}`: {refused:?}; look at the rights of the \
                         client"
                    );
                    let address = self.target.address.clone();
                    return Err(MqttError::NotGranted { address, problem });
                }
            }
        }
        Ok(())
    }
}

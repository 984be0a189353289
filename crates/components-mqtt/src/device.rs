//! Clients that publish like devices, each on its own connection: for demonstrations.
//!
//! A [`Fleet`] knows the broker, a [`Device`] is connected to it under its own client id. As small
//! devices do, it sends the next message only after the broker has acknowledged the last one.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Env};
use thiserror::Error;
use tls::ClientTls;

use crate::broker::{Broker, Target};
use crate::connection::{Connection, MqttError};
use crate::packets::{
    Connect, ConnectProperties, Packet, PubAckReason, PubRecReason, PubRel, Publish, QoS, Version,
};

/// Time limit for CONNACK: the broker accepts many clients at the same time.
const GREETING: Duration = Duration::from_secs(30);

/// Maximum size of a packet to a client without subscriptions.
const PACKET_MAX: u32 = 64 << 10;

/// Reason why a device has failed.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct DeviceError(#[from] MqttError);

/// The broker of many devices.
pub struct Fleet {
    target: Target,
}

/// A connected client.
pub struct Device {
    connection: Connection,
    last_id: u16,
}

impl Fleet {
    /// Creates devices for the broker at this address, in the format of `broker.address`.
    /// `with_tls`: use TLS with the host's authorities even if the address does not require it.
    ///
    /// # Errors
    /// Fails if the address is invalid.
    pub fn new(address: &str, with_tls: bool, env: &Env) -> Result<Self, BuildError> {
        let broker = Broker {
            address: address.to_owned(),
            version: Version::V5,
            client_id: None,
            user: None,
            password: None,
            connect_timeout: Period(GREETING),
            tls: with_tls.then(ClientTls::default),
        };
        let cx = BuildContext::alone("device", Path::new("unused"), env.clone());
        Ok(Self { target: broker.target(&cx)? })
    }

    /// Connects a device. Client ids must be unique.
    ///
    /// # Errors
    /// Fails if the connection fails, or the broker refuses it.
    pub async fn connect(&self, client_id: &str) -> Result<Device, DeviceError> {
        let connect = Connect {
            // Without keep-alive: an idle device sends nothing.
            keep_alive: 0,
            client_id: client_id.to_owned(),
            clean_start: true,
            properties: Some(ConnectProperties::new()),
        };
        let (connection, _) = Connection::open(&self.target, connect, None, PACKET_MAX).await?;
        Ok(Device { connection, last_id: 0 })
    }
}

impl Device {
    /// Publishes a message, with QoS 2 if `exactly_once` and with QoS 1 otherwise, and waits for
    /// the acknowledgement.
    ///
    /// # Errors
    /// Fails if the connection has ended, or the broker refuses the message. It may have been
    /// stored.
    pub async fn publish(
        &mut self,
        topic: &str,
        body: Bytes,
        exactly_once: bool,
    ) -> Result<(), DeviceError> {
        let qos = if exactly_once { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let id = self.last_id;
        let mut message = Publish::new(topic, qos, body, None);
        message.pkid = id;
        self.connection.queue(Packet::Publish(message))?;
        loop {
            match self.connection.next(true).await? {
                // Without a subscriber the message is accepted too.
                Packet::PubAck(it) if it.pkid == id => match it.reason {
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => return Ok(()),
                    reason => return Err(self.connection.not_taken(format!("{reason:?}")).into()),
                },
                Packet::PubRec(it) if it.pkid == id => match it.reason {
                    PubRecReason::Success | PubRecReason::NoMatchingSubscribers => {
                        self.connection.queue(Packet::PubRel(PubRel::new(id, None)))?;
                    }
                    reason => return Err(self.connection.not_taken(format!("{reason:?}")).into()),
                },
                Packet::PubComp(it) if it.pkid == id => return Ok(()),
                other => return Err(self.connection.unexpected(&other).into()),
            }
        }
    }

    /// Sends DISCONNECT, and waits for `limit` at most.
    pub async fn close(self, limit: Duration) {
        self.connection.close(limit).await;
    }
}

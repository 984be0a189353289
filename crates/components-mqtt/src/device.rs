//! Clients that publish, each on a connection of its own, as devices do: for demonstrations.
//!
//! A [`Fleet`] knows the broker, a [`Device`] is connected to it under its own client id. A message
//! is sent, and the next one when the broker has answered for it: as small devices do it.

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

/// How long the greeting of the broker may take: it greets many at once.
const GREETING: Duration = Duration::from_secs(30);

/// Bytes of the largest packet to a client that subscribes to nothing.
const PACKET_MAX: u32 = 64 << 10;

/// Why a device has failed.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct DeviceError(#[from] MqttError);

/// The broker of many devices.
pub struct Fleet {
    target: Target,
}

/// A client that the broker has greeted.
pub struct Device {
    connection: Connection,
    last_id: u16,
}

impl Fleet {
    /// Devices of the broker at this address, which is written as the setting `broker.address`.
    /// `with_tls`: also where the address does not say so, by the authorities of the host.
    ///
    /// # Errors
    /// It is no address.
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

    /// Connects a device. No two have the same client id.
    ///
    /// # Errors
    /// There is no connection, or the broker refuses it.
    pub async fn connect(&self, client_id: &str) -> Result<Device, DeviceError> {
        let connect = Connect {
            // Without keep-alive: a device that has nothing to say says nothing.
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
    /// Publishes a message, with QoS 2 if it is to be `exactly_once` and with QoS 1 otherwise, and
    /// waits for the broker to answer for it.
    ///
    /// # Errors
    /// The connection has ended, or the broker does not take the message. It may have been taken.
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
                // Without a subscriber the message is taken all the same.
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

    /// Says goodbye, for so long at most.
    pub async fn close(self, limit: Duration) {
        self.connection.close(limit).await;
    }
}

//! A connection to a broker.
//!
//! Outgoing packets are queued, and written while the connection waits for the next incoming
//! packet, so that the two sides cannot deadlock.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use futures::FutureExt;
use pipeline::env::Stream;
use pipeline::{Classify, ErrorClass};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Duration, timeout};

use crate::broker::Target;
use crate::packets::{
    self, ConnAck, Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode, LastWill, Packet,
    Version,
};
use crate::web_socket::OpenError;

/// Read size.
const READ_BYTES: usize = 16 << 10;

/// Reason why a connection cannot be opened, or has ended.
#[derive(Debug, Error)]
pub(crate) enum MqttError {
    /// The connection failed.
    #[error(
        "cannot connect to {address}; check that the broker is running and reachable from this host"
    )]
    Connect {
        address: Arc<str>,
        #[source]
        source: io::Error,
    },
    /// The broker sent no CONNACK in time.
    #[error("no answer from {address} within {limit:?}: check the broker and the network")]
    NoGreeting { address: Arc<str>, limit: Duration },
    /// The broker rejected this client.
    #[error("{address} rejects the connection: {code:?}; {help}")]
    Refused { address: Arc<str>, code: ConnectReturnCode, help: &'static str },
    /// The connection broke.
    #[error(
        "lost the connection to {address}; reconnecting; messages of QoS 1 and 2 are sent again. \
         If this repeats, see the log of the broker, and check the network and proxies in between"
    )]
    Broken {
        address: Arc<str>,
        #[source]
        source: io::Error,
    },
    /// The broker has closed the connection.
    #[error("{address} closed the connection: {reason}; reconnecting")]
    Ended { address: Arc<str>, reason: String },
    /// The broker sent an invalid packet, or one over the limit.
    #[error(
        "cannot process an MQTT packet of {address}: {problem}; reconnecting; messages of QoS 1 \
         and 2 are sent again. If this repeats, check that `broker.address` is an MQTT broker, and \
         see its log"
    )]
    Malformed { address: Arc<str>, problem: String },
    /// The broker has stopped responding.
    #[error(
        "no data from {address} for {limit:?}, not even a ping response: check the broker and the \
         network"
    )]
    Silent { address: Arc<str>, limit: Duration },
    /// The broker does not accept a message now.
    #[error(
        "{address} cannot accept a message now, so its batch is resent: {reason}; no event is \
         lost. If this lasts, see the log of the broker"
    )]
    NotTaken { address: Arc<str>, reason: String },
    /// The broker exceeds its limit.
    #[error(
        "{address} sent more than {limit} unacknowledged messages of QoS 2; reconnecting to \
         receive the others again; no event is lost. If this repeats, lower the number of messages \
         in flight at the broker"
    )]
    Ahead { address: Arc<str>, limit: usize },
    /// The channels refuse a message permanently.
    #[error(
        "a channel rejects a message of {address}: {problem}; the source waits and tries again, \
         and reads no other message: raise the limits of the channel, or remove the message from \
         the broker"
    )]
    NotStored { address: Arc<str>, problem: String },
    /// A packet cannot be sent to this broker.
    #[error("cannot send an MQTT packet to {address}: {problem}")]
    Unsendable { address: Arc<str>, problem: String },
    /// The client may not publish to this topic.
    #[error("{address} does not allow the topic `{topic}`: check the permissions of the client")]
    NoRight { address: Arc<str>, topic: String },
    /// The broker works and refuses a request.
    #[error("{address} {problem}")]
    NotGranted { address: Arc<str>, problem: String },
}

impl Classify for MqttError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } | Self::NoGreeting { .. } => ErrorClass::Transient,
            Self::Refused { code, .. } => match code {
                ConnectReturnCode::ServerUnavailable
                | ConnectReturnCode::ServiceUnavailable
                | ConnectReturnCode::ServerBusy
                | ConnectReturnCode::QuotaExceeded
                | ConnectReturnCode::ConnectionRateExceeded => ErrorClass::Transient,
                _ => ErrorClass::Blocked,
            },
            // The messages may have been stored.
            Self::Broken { .. }
            | Self::Ended { .. }
            | Self::Malformed { .. }
            | Self::Silent { .. }
            | Self::NotTaken { .. }
            | Self::Ahead { .. } => ErrorClass::Indeterminate,
            Self::Unsendable { .. } => ErrorClass::Poison,
            Self::NoRight { .. } | Self::NotGranted { .. } | Self::NotStored { .. } => {
                ErrorClass::Blocked
            }
        }
    }
}

/// An open connection.
pub(crate) struct Connection {
    address: Arc<str>,
    version: Version,
    read: ReadHalf<Box<dyn Stream>>,
    write: WriteHalf<Box<dyn Stream>>,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// True if written bytes may not have been sent yet, as with TLS.
    is_unflushed: bool,
    /// Reason why writing fails. The last replies may still be readable: a broker may send a
    /// refusal and close the connection immediately.
    unwritable: Option<io::Error>,
    /// Maximum size of an incoming packet.
    packet_max: u32,
    /// Maximum size of an outgoing packet.
    peer_max: Option<u32>,
}

impl Connection {
    /// Connects, and waits for CONNACK.
    ///
    /// # Errors
    /// Fails if the connection fails, or the broker refuses it.
    pub(crate) async fn open(
        target: &Target,
        connect: Connect,
        will: Option<LastWill>,
        packet_max: u32,
    ) -> Result<(Self, ConnAck), MqttError> {
        let address = || target.address.clone();
        let opening = Self::greet(target, connect, will, packet_max);
        timeout(target.timeout, opening).await.unwrap_or_else(|_| {
            Err(MqttError::NoGreeting { address: address(), limit: target.timeout })
        })
    }

    async fn greet(
        target: &Target,
        connect: Connect,
        will: Option<LastWill>,
        packet_max: u32,
    ) -> Result<(Self, ConnAck), MqttError> {
        let address = target.address.clone();
        let stream = target.connect().await.map_err(|error| match error {
            OpenError::Broken(source) => MqttError::Connect { address: address.clone(), source },
            OpenError::Refused(problem) => {
                MqttError::NotGranted { address: address.clone(), problem }
            }
        })?;
        let (read, write) = tokio::io::split(stream);
        let mut connection = Self {
            address: address.clone(),
            version: target.version,
            read,
            write,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            is_unflushed: false,
            unwritable: None,
            packet_max,
            peer_max: None,
        };
        connection.queue(Packet::Connect(connect, will, target.login()))?;
        let greeting = match connection.next(true).await? {
            Packet::ConnAck(greeting) => greeting,
            other => return Err(connection.unexpected(&other)),
        };
        if greeting.code != ConnectReturnCode::Success {
            let help = help(greeting.code);
            return Err(MqttError::Refused { address, code: greeting.code, help });
        }
        connection.peer_max = greeting.properties.as_ref().and_then(|it| it.max_packet_size);
        Ok((connection, greeting))
    }

    /// Queues a packet, which is written during the next wait.
    ///
    /// # Errors
    /// Fails if the broker does not accept packets of this size. Nothing of the packet is sent.
    pub(crate) fn queue(&mut self, packet: Packet) -> Result<(), MqttError> {
        let encoded = packets::encode(self.version, packet, &mut self.outgoing, self.peer_max);
        let address = || self.address.clone();
        encoded.map_err(|problem| MqttError::Unsendable { address: address(), problem })
    }

    /// Returns the number of queued bytes.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.outgoing.len()
    }

    /// Returns the next packet if it has been read already.
    ///
    /// # Errors
    /// Fails if the input is not a packet.
    pub(crate) fn read_already(&mut self) -> Result<Option<Packet>, MqttError> {
        let decoded = packets::decode(self.version, &mut self.incoming, self.packet_max);
        let address = || self.address.clone();
        match decoded.map_err(|problem| MqttError::Malformed { address: address(), problem })? {
            Some(Packet::Disconnect(it)) => {
                let said = it.properties.and_then(|it| it.reason_string);
                let said =
                    said.map(|said| format!(": {}", said.escape_debug())).unwrap_or_default();
                let reason = format!("{:?}{said}; {}", it.reason_code, advice(it.reason_code));
                Err(MqttError::Ended { address: address(), reason })
            }
            packet => Ok(packet),
        }
    }

    /// Returns the next packet, and writes queued packets in the meantime. Without `reads` it only
    /// writes, and never returns a packet. Cancel safe.
    ///
    /// # Errors
    /// Fails if the connection has ended.
    pub(crate) async fn next(&mut self, reads: bool) -> Result<Packet, MqttError> {
        loop {
            if reads && let Some(packet) = self.read_already()? {
                return Ok(packet);
            }
            self.incoming.reserve(READ_BYTES);
            let writes = self.has_unsent() && self.unwritable.is_none();
            let writing = async {
                match self.outgoing.is_empty() {
                    true => self.write.flush().await.map(|()| None),
                    false => self.write.write(&self.outgoing).await.map(Some),
                }
            };
            let result = tokio::select! {
                biased;
                written = writing, if writes => match written {
                    Ok(Some(0)) => Err(io::ErrorKind::WriteZero.into()),
                    Ok(Some(bytes)) => {
                        self.outgoing.advance(bytes);
                        self.is_unflushed = true;
                        Ok(())
                    }
                    Ok(None) => {
                        self.is_unflushed = false;
                        Ok(())
                    }
                    Err(error) if reads => {
                        self.unwritable = Some(error);
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                read = self.read.read_buf(&mut self.incoming), if reads => {
                    match (read, self.unwritable.take()) {
                        (Ok(0) | Err(_), Some(error)) | (Err(error), None) => Err(error),
                        (Ok(0), None) => {
                            let reason = format!("no reason given; {CLIENT_ID}");
                            return Err(MqttError::Ended { address: self.address.clone(), reason });
                        }
                        (Ok(_), unwritable) => {
                            self.unwritable = unwritable;
                            Ok(())
                        }
                    }
                }
                else => std::future::pending().await,
            };
            let address = || self.address.clone();
            result.map_err(|source| MqttError::Broken { address: address(), source })?;
        }
    }

    /// Returns true if packets are queued, or may not have been sent yet.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty() || self.is_unflushed
    }

    /// Writes all queued packets.
    ///
    /// # Errors
    /// Fails if the connection has ended.
    pub(crate) async fn flush(&mut self) -> Result<(), MqttError> {
        let address = || self.address.clone();
        let written = async {
            self.write.write_all_buf(&mut self.outgoing).await?;
            self.write.flush().await
        };
        written.await.map_err(|source| MqttError::Broken { address: address(), source })?;
        self.is_unflushed = false;
        Ok(())
    }

    /// Returns true if there is no input and the connection is open.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.incoming.is_empty() && self.read.read_buf(&mut self.incoming).now_or_never().is_none()
    }

    /// Sends DISCONNECT, so that the broker publishes no will; waits for `limit` at most.
    pub(crate) async fn close(mut self, limit: Duration) {
        let goodbye = Disconnect::new(DisconnectReasonCode::NormalDisconnection);
        if self.queue(Packet::Disconnect(goodbye)).is_err() {
            return;
        }
        let _ = timeout(limit, async {
            self.write.write_all(&self.outgoing).await?;
            self.write.shutdown().await
        })
        .await;
    }

    /// Creates the error for a temporary refusal of a message.
    pub(crate) fn not_taken(&self, reason: String) -> MqttError {
        MqttError::NotTaken { address: self.address.clone(), reason }
    }

    /// Creates the error for an unexpected packet.
    pub(crate) fn unexpected(&self, packet: &Packet) -> MqttError {
        let kind = format!("{packet:?}");
        let kind: String = kind.chars().take_while(char::is_ascii_alphanumeric).collect();
        let problem = format!("unexpected packet `{kind}`");
        MqttError::Malformed { address: self.address.clone(), problem }
    }
}

/// Advice for a connection that may have been taken over.
const CLIENT_ID: &str = "see the log of the broker; if another client connects with the same \
                         client ID, give each agent its own `broker.client_id`";

/// Returns advice for a connection that the broker has closed.
fn advice(code: DisconnectReasonCode) -> &'static str {
    match code {
        DisconnectReasonCode::SessionTakenOver => {
            "another client connected with the same client ID: give each agent its own \
             `broker.client_id`"
        }
        DisconnectReasonCode::NotAuthorized => "check the permissions of the client",
        DisconnectReasonCode::KeepAliveTimeout => "check the network",
        _ => "see the log of the broker",
    }
}

/// Returns advice for a refused connection.
fn help(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            "check `broker.user` and `broker.password`, and the permissions of the client"
        }
        ConnectReturnCode::UnsupportedProtocolVersion
        | ConnectReturnCode::RefusedProtocolVersion => "set `broker.version` to another version",
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => {
            "set another `broker.client_id`"
        }
        _ => "see the log of the broker",
    }
}

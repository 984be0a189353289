//! Opening of a connection.
//!
//! ```text
//!   this side   "AMQP 0 0 9 1"   start-ok, login   tune-ok, open virtual host   open channel
//!   broker      start            tune              open-ok                      open-ok
//! ```

use std::sync::Arc;

use amq_protocol::protocol::channel::AMQPMethod as OfChannel;
use amq_protocol::protocol::connection::{AMQPMethod as OfConnection, Open, StartOk, TuneOk};
use amq_protocol::protocol::{AMQPClass, channel};
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use pipeline::env::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::CHANNEL;
use crate::broker::Target;
use crate::frames::{self, Decoder, FRAME_BYTES_MAX, Incoming};
use crate::refusal::{RabbitError, closed};

/// A connection that is being opened.
pub(super) struct Greeting<'a> {
    pub(super) address: &'a Arc<str>,
    pub(super) stream: Box<dyn Stream>,
    pub(super) decoder: Decoder,
    /// Current step, for errors.
    pub(super) step: &'static str,
}

impl Greeting<'_> {
    /// Returns the maximum size of a frame, and the heartbeat in seconds, 0 for none.
    ///
    /// # Errors
    /// Fails if the broker refuses the connection.
    pub(super) async fn run(
        &mut self,
        target: &Target,
        client_id: &str,
    ) -> Result<(usize, u16), RabbitError> {
        let ended = |problem: &str| RabbitError::Ended {
            address: self.address.clone(),
            problem: problem.to_owned(),
        };
        let unexpected =
            ended("the server did not complete the AMQP 0.9.1 handshake; check `broker.urls`");
        self.write(frames::protocol_header()).await?;
        let OfConnection::Start(start) = self.answer().await? else { return Err(unexpected) };
        let mechanisms = start.mechanisms.to_string();
        if !mechanisms.split(' ').any(|it| it == "PLAIN") {
            let problem =
                format!("the broker offers only {mechanisms}, but this client needs PLAIN");
            return Err(RabbitError::Login { address: self.address.clone(), problem });
        }
        self.step = "the login";
        self.say(OfConnection::StartOk(StartOk {
            client_properties: client_properties(client_id),
            mechanism: "PLAIN".into(),
            response: target.plain().into(),
            locale: "en_US".into(),
        }))
        .await?;
        let OfConnection::Tune(tune) = self.answer().await? else { return Err(unexpected) };
        // 0 means no limit. The limit of this side applies in any case.
        let own = FRAME_BYTES_MAX as u32;
        let frame_max = if tune.frame_max == 0 { own } else { tune.frame_max.min(own) };
        let heartbeat_s = match tune.heartbeat {
            0 => target.heartbeat_s,
            theirs => theirs.min(target.heartbeat_s),
        };
        let tuned = TuneOk { channel_max: tune.channel_max, frame_max, heartbeat: heartbeat_s };
        self.say(OfConnection::TuneOk(tuned)).await?;
        self.step = "the virtual host";
        let virtual_host = ShortString::from(&*target.virtual_host);
        self.say(OfConnection::Open(Open { virtual_host })).await?;
        let OfConnection::OpenOk(_) = self.answer().await? else { return Err(unexpected) };
        self.step = "a channel";
        let open = AMQPClass::Channel(OfChannel::Open(channel::Open {}));
        self.write(frames::method(CHANNEL, open)).await?;
        match self.read().await? {
            AMQPClass::Channel(OfChannel::OpenOk(_)) => Ok((frame_max as usize, heartbeat_s)),
            _ => Err(unexpected),
        }
    }

    fn ended(&self, problem: String) -> RabbitError {
        RabbitError::Ended { address: self.address.clone(), problem }
    }

    async fn say(&mut self, method: OfConnection) -> Result<(), RabbitError> {
        self.write(frames::method(0, AMQPClass::Connection(method))).await
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), RabbitError> {
        let written = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| self.ended(error.to_string()))
    }

    async fn answer(&mut self) -> Result<OfConnection, RabbitError> {
        match self.read().await? {
            AMQPClass::Connection(OfConnection::Close(close)) => {
                let text = close.reply_text.to_string();
                // A rejected login has the same code as any other refusal of access.
                match self.step {
                    "the login" => {
                        let address = self.address.clone();
                        Err(RabbitError::Login { address, problem: text })
                    }
                    step => Err(closed(self.address, step, close.reply_code, &text)),
                }
            }
            AMQPClass::Connection(method) => Ok(method),
            _ => Err(self.ended("the broker sent a method before the connection was open".into())),
        }
    }

    async fn read(&mut self) -> Result<AMQPClass, RabbitError> {
        loop {
            match self.decoder.next().map_err(|problem| self.ended(problem))? {
                Some(Incoming::Method(_, class)) => return Ok(class),
                Some(Incoming::Content(..)) => {
                    return Err(self
                        .ended("the broker sent a message before the connection was open".into()));
                }
                None => {}
            }
            match self.stream.read_buf(&mut self.decoder.buffer).await {
                // RabbitMQ closes the stream after a wrong login of an old client.
                Ok(0) => {
                    return Err(self.ended(format!(
                        "the broker closed the connection on the request for {}",
                        self.step
                    )));
                }
                Ok(_) => {}
                Err(error) => return Err(self.ended(error.to_string())),
            }
        }
    }
}

/// Returns the properties of this client, above all its capabilities.
fn client_properties(client_id: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "publisher_confirms",
    ] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut properties = FieldTable::default();
    properties.insert("product".into(), text("aqueduct"));
    properties.insert("version".into(), text(env!("CARGO_PKG_VERSION")));
    properties.insert("connection_name".into(), text(client_id));
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

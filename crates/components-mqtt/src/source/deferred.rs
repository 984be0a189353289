//! Messages of QoS 2 that wait because more ids are in use than a position can hold.

use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::Mqtt;
use super::session::IDS_MAX;
use crate::connection::{Connection, MqttError};
use crate::packets::{Packet, PingReq};

/// How long the end of a connection waits for the last answers to be sent.
const FLUSH: Duration = Duration::from_secs(1);

/// Messages for whose ids there is no room.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeferredMessages {
    /// The id of the first of them.
    id: u16,
    /// A ping was sent since, and answered.
    is_asked: bool,
    is_answered: bool,
}

impl DeferredMessages {
    /// Since the message with this id.
    pub(super) fn since(id: u16) -> Self {
        Self { id, is_asked: false, is_answered: false }
    }

    /// The broker has answered a ping.
    pub(super) fn answered(&mut self) {
        self.is_answered = self.is_asked;
    }
}

impl Mqtt {
    /// Ends the connection if there is room again for messages that were put off: the broker
    /// redelivers them on the next one.
    ///
    /// # Errors
    /// There is room, or the connection has ended.
    pub(super) async fn end_for_room(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(), MqttError> {
        if self.is_storing || !self.makes_room(connection)? {
            return Ok(());
        }
        let _sent = timeout(FLUSH, connection.flush()).await;
        let address = self.target.address.clone();
        Err(MqttError::Ahead { address, limit: IDS_MAX })
    }

    /// Whether there is room again for messages that were put off. Releases make it; but a broker
    /// that was killed sends none for what it has forgotten. What it knows of the session it has
    /// sent before it answers a ping, so what it has not mentioned then is forgotten.
    fn makes_room(&mut self, connection: &mut Connection) -> Result<bool, MqttError> {
        let Some(put_off) = self.put_off else { return Ok(false) };
        if !put_off.is_asked {
            self.put_off = Some(DeferredMessages { is_asked: true, ..put_off });
            connection.queue(Packet::PingReq(PingReq))?;
            return Ok(self.session.has_much_room());
        }
        let is_stuck = !self.session.has_much_room() && !self.session.awaits_releases();
        if put_off.is_answered && is_stuck {
            let messages = self.session.forget(put_off.id);
            warn!(
                source = %self.name, messages,
                "the broker no longer has some messages of QoS 2 that are already stored; if it \
                 delivers them again, `messages` messages are stored twice; no action needed"
            );
        }
        Ok(self.session.has_much_room())
    }
}

//! Messages of QoS 2 that wait because more ids are in use than a position can hold.

use pipeline::SourceError;
use tracing::warn;

use super::Mqtt;
use crate::connection::Connection;
use crate::packets::{Packet, PingReq};

/// Messages for whose ids there is no room.
#[derive(Debug, Clone, Copy)]
pub(super) struct PutOff {
    /// The id of the first of them.
    id: u16,
    /// A ping was sent since, and answered.
    is_asked: bool,
    is_answered: bool,
}

impl PutOff {
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
    /// Whether there is room again for messages that were put off. Releases make it; but a broker
    /// that was killed sends none for what it has forgotten. What it knows of the session it has
    /// sent before it answers a ping, so what it has not mentioned then is forgotten.
    pub(super) fn makes_room(&mut self, connection: &mut Connection) -> Result<bool, SourceError> {
        let Some(put_off) = self.put_off else { return Ok(false) };
        if !put_off.is_asked {
            self.put_off = Some(PutOff { is_asked: true, ..put_off });
            let asked = connection.queue(Packet::PingReq(PingReq));
            asked.map_err(|error| self.failed(error))?;
            return Ok(self.session.has_much_room());
        }
        let is_stuck = !self.session.has_much_room() && !self.session.awaits_releases();
        if put_off.is_answered && is_stuck {
            let messages = self.session.forget(put_off.id);
            warn!(
                source = %self.name, messages,
                "the broker has forgotten messages that are stored, and may send them again"
            );
        }
        Ok(self.session.has_much_room())
    }
}

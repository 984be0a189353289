//! What is known of the packet ids of a session: which name messages that are stored already. Pure.
//!
//! ```text
//!   QoS 1   PUBLISH ─► put ─► PUBACK sent: the broker may give the id to another message, so
//!                              a repeat looks like a new one, and is stored again
//!                         └──► connection lost before PUBACK was sent: the id names this
//!                              message still; its repeat is answered and not stored
//!   QoS 2   PUBLISH ─► put, with the id ─► PUBREC … PUBREL ─► put without the id ─► PUBCOMP
//!                      until then the id names this message, in this process and in the next
//! ```
//!
//! An id is kept with a digest of its message: a broker that lost the end of its session gives the
//! ids of it to other messages, which must be stored and not taken for what is stored already.
//!
//! # Invariants
//!
//! 1. An id is `held` from the put of its message to the put that takes it out; the channels have
//!    the same set, as the position of the source.
//! 2. PUBREC is sent for ids that are held, PUBCOMP for ids that are not.
//! 3. Ids that a broker has forgotten do not keep others from being taken for ever.
//! 4. An id is `unanswered` only if no PUBACK for it was ever handed to a connection.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::Xxh3;

use crate::packets::{Publish, QoS};

/// Bytes of an id with its digest in a position.
const ENTRY_BYTES: usize = 6;

/// Ids that a position can hold: it has at most 4 KiB.
pub(super) const IDS_MAX: usize = 680;

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Store it.
    New,
    /// It is stored: answer it again.
    Stored,
    /// It is on its way into the channels: no answer now.
    Pending,
    /// It is of QoS 2, and more ids are in use than the position can hold: no answer in this
    /// connection. The releases that make room come behind it.
    TooMany,
}

/// The ids of one session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Of QoS 2, stored and not released, with the digests of their messages.
    held: BTreeMap<u16, u32>,
    /// Of QoS 2, in a round and not stored.
    pending: BTreeSet<u16>,
    /// Of QoS 1, with the digests of their messages.
    unanswered: BTreeMap<u16, u32>,
    /// Of QoS 2, what came with this connection: messages and releases.
    heard: BTreeSet<u16>,
}

impl Session {
    /// What the channels know: the ids that all of them have.
    pub(super) fn load<'a>(&mut self, values: impl Iterator<Item = Option<&'a Bytes>>) {
        let ids = |value: Option<&Bytes>| {
            let value = value.map(|it| it.as_ref()).unwrap_or_default();
            let entries = value.chunks_exact(ENTRY_BYTES);
            entries.map(|mut it| (it.get_u16(), it.get_u32())).collect::<BTreeSet<_>>()
        };
        let all = values.map(ids).reduce(|all, one| &all & &one);
        self.held = all.unwrap_or_default().into_iter().collect();
    }

    /// Another connection: nothing is on its way any more. Answers whether the channels have to
    /// forget ids, because the broker has.
    pub(super) fn resume(&mut self, is_present: bool) -> bool {
        self.pending.clear();
        self.heard.clear();
        if is_present {
            return false;
        }
        self.unanswered.clear();
        let has_ids = !self.held.is_empty();
        self.held.clear();
        has_ids
    }

    /// A message has come.
    pub(super) fn arrive(&mut self, message: &Publish) -> Arrival {
        let id = message.pkid;
        match message.qos {
            QoS::AtMostOnce => Arrival::New,
            QoS::AtLeastOnce => match self.unanswered.remove(&id) {
                Some(known) if message.dup && known == digest(message) => Arrival::Stored,
                _ => Arrival::New,
            },
            QoS::ExactlyOnce if self.pending.contains(&id) => Arrival::Pending,
            QoS::ExactlyOnce => match self.held.remove(&id) {
                Some(known) if known == digest(message) => {
                    self.held.insert(id, known);
                    self.heard.insert(id);
                    Arrival::Stored
                }
                _ if self.held.len() + self.pending.len() >= IDS_MAX => Arrival::TooMany,
                _ => {
                    self.pending.insert(id);
                    self.heard.insert(id);
                    Arrival::New
                }
            },
        }
    }

    /// The broker releases an id. Answers whether the channels hold it, so that its PUBREL has to
    /// be stored.
    pub(super) fn released(&mut self, id: u16) -> bool {
        let is_held = self.held.contains_key(&id);
        if is_held {
            self.heard.insert(id);
        }
        is_held
    }

    /// Whether a release is to come for something that came with this connection.
    pub(super) fn awaits_releases(&self) -> bool {
        !self.pending.is_empty() || self.held.keys().any(|id| self.heard.contains(id))
    }

    /// Lets go of ids that the broker has forgotten, because none of them came with this
    /// connection, until there is much room; answers of how many. Their messages may come again
    /// under the same ids, in order from `next` on: the last of them are let go, and stored twice
    /// then.
    pub(super) fn forget(&mut self, next: u16) -> usize {
        let unheard = self.held.keys().copied().filter(|id| !self.heard.contains(id));
        let mut forgotten: Vec<u16> = unheard.collect();
        forgotten.sort_by_key(|id| id.wrapping_sub(next));
        let excess = self.held.len().saturating_sub(IDS_MAX / 2);
        let last = forgotten.split_off(forgotten.len().saturating_sub(excess));
        self.held.retain(|id, _| !last.contains(id));
        last.len()
    }

    /// Whether many ids can be taken.
    pub(super) fn has_much_room(&self) -> bool {
        self.held.len() + self.pending.len() <= IDS_MAX / 2
    }

    /// The position behind a round: these messages of QoS 2 are in it, and these ids are released.
    pub(super) fn position(&self, stored: &[(u16, u32)], released: &BTreeSet<u16>) -> Bytes {
        let mut ids = self.held.clone();
        ids.extend(stored.iter().copied());
        ids.retain(|id, _| !released.contains(id));
        let mut value = Vec::with_capacity(ENTRY_BYTES * ids.len());
        for (id, digest) in ids {
            value.put_u16(id);
            value.put_u32(digest);
        }
        value.into()
    }

    /// The round is stored.
    pub(super) fn stored(&mut self, stored: &[(u16, u32)], released: &BTreeSet<u16>) {
        for (id, digest) in stored {
            self.pending.remove(id);
            self.held.insert(*id, *digest);
        }
        self.held.retain(|id, _| !released.contains(id));
    }

    /// A message of QoS 1 is stored, and there is no connection to answer it on.
    pub(super) fn unanswered(&mut self, id: u16, digest: u32) {
        self.unanswered.insert(id, digest);
    }
}

/// A digest of what a message says. What a broker may change when it sends it again, such as its
/// expiry, is left out.
pub(super) fn digest(message: &Publish) -> u32 {
    let mut digest = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    part(&message.topic);
    part(&message.payload);
    if let Some(properties) = &message.properties {
        for (name, value) in &properties.user_properties {
            part(name.as_bytes());
            part(value.as_bytes());
        }
    }
    (digest.digest() >> 32) as u32
}

#[cfg(test)]
mod tests;

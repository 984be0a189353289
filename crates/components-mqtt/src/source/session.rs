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
//! # Invariants
//!
//! 1. An id is `held` from the put of its message to the put that takes it out; the channels have
//!    the same set, as the position of the source.
//! 2. PUBREC is sent for ids that are held, PUBCOMP for ids that are not.
//! 3. An id is `unanswered` only if no PUBACK for it was ever handed to a connection.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes};
use xxhash_rust::xxh3::Xxh3;

use crate::packets::{Publish, QoS};

/// Ids that a position can hold: it has at most 4 KiB.
pub(super) const IDS_MAX: usize = 2000;

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Store it.
    New,
    /// It is stored: answer it again.
    Stored,
    /// It is on its way into the channels: no answer now.
    Pending,
    /// It is of QoS 2, and more ids are in use than the position can hold.
    TooMany,
}

/// The ids of one session.
#[derive(Debug, Default)]
pub(super) struct Session {
    held: BTreeSet<u16>,
    /// Of QoS 2, in a round and not stored.
    pending: BTreeSet<u16>,
    /// With a digest of the message.
    unanswered: BTreeMap<u16, u64>,
}

impl Session {
    /// What the channels know: the ids that all of them have.
    pub(super) fn load<'a>(&mut self, values: impl Iterator<Item = Option<&'a Bytes>>) {
        let ids = |value: Option<&Bytes>| {
            let value = value.map(|it| it.as_ref()).unwrap_or_default();
            let ids = value.chunks_exact(2).map(|id| u16::from_be_bytes([id[0], id[1]]));
            ids.collect::<BTreeSet<u16>>()
        };
        let all = values.map(ids).reduce(|all, one| &all & &one);
        self.held = all.unwrap_or_default();
    }

    /// Another connection: nothing is on its way any more. Answers whether the channels have to
    /// forget ids, because the broker has.
    pub(super) fn resume(&mut self, is_present: bool) -> bool {
        self.pending.clear();
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
            QoS::ExactlyOnce if self.held.contains(&id) => Arrival::Stored,
            QoS::ExactlyOnce if self.pending.contains(&id) => Arrival::Pending,
            QoS::ExactlyOnce if self.held.len() + self.pending.len() >= IDS_MAX => Arrival::TooMany,
            QoS::ExactlyOnce => {
                self.pending.insert(id);
                Arrival::New
            }
        }
    }

    /// Whether the channels hold this id, so that its PUBREL has to be stored.
    pub(super) fn holds(&self, id: u16) -> bool {
        self.held.contains(&id)
    }

    /// The position behind a round: these messages of QoS 2 are in it, and these ids are released.
    pub(super) fn position(&self, stored: &[u16], released: &[u16]) -> Bytes {
        let mut ids: BTreeSet<u16> = self.held.iter().chain(stored).copied().collect();
        ids.retain(|id| !released.contains(id));
        let mut value = Vec::with_capacity(2 * ids.len());
        ids.iter().for_each(|id| value.put_u16(*id));
        value.into()
    }

    /// The round is stored.
    pub(super) fn stored(&mut self, stored: &[u16], released: &[u16]) {
        for id in stored {
            self.pending.remove(id);
            self.held.insert(*id);
        }
        self.held.retain(|id| !released.contains(id));
    }

    /// A message of QoS 1 is stored, and there is no connection to answer it on.
    pub(super) fn unanswered(&mut self, id: u16, digest: u64) {
        self.unanswered.insert(id, digest);
    }
}

/// A digest of what a message says.
pub(super) fn digest(message: &Publish) -> u64 {
    let mut digest = Xxh3::new();
    digest.update(&(message.topic.len() as u64).to_le_bytes());
    digest.update(&message.topic);
    digest.update(&message.payload);
    digest.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: u16, qos: QoS, dup: bool, text: &str) -> Publish {
        let mut message = Publish::new("t", qos, text.to_owned(), None);
        (message.pkid, message.dup) = (id, dup);
        message
    }

    #[test]
    fn a_repeat_of_qos_1_is_known_only_while_no_answer_was_sent() {
        let mut session = Session::default();
        let first = message(7, QoS::AtLeastOnce, false, "a");
        assert_eq!(session.arrive(&first), Arrival::New);
        session.unanswered(7, digest(&first));
        assert!(!session.resume(true));
        // The same id with other content, or without the mark of a repeat, is another message.
        for (dup, text) in [(true, "b"), (false, "a")] {
            let other = message(7, QoS::AtLeastOnce, dup, text);
            assert_eq!(session.arrive(&other), Arrival::New);
            session.unanswered(7, digest(&first));
        }
        let again = message(7, QoS::AtLeastOnce, true, "a");
        assert_eq!(session.arrive(&again), Arrival::Stored);
        // It was answered: from now on it may be another message with the same content.
        assert_eq!(session.arrive(&again), Arrival::New);
        session.unanswered(7, digest(&first));
        session.resume(false);
        assert_eq!(session.arrive(&again), Arrival::New);
    }

    #[test]
    fn an_id_of_qos_2_names_its_message_until_its_release_is_stored_also_in_another_process() {
        let mut session = Session::default();
        let it = message(7, QoS::ExactlyOnce, false, "a");
        assert_eq!(session.arrive(&it), Arrival::New);
        assert_eq!(session.arrive(&it), Arrival::Pending);
        let value = session.position(&[7], &[]);
        session.stored(&[7], &[]);
        assert_eq!(session.arrive(&it), Arrival::Stored);

        let mut next = Session::default();
        next.load([Some(&value), Some(&value)].into_iter());
        assert!(!next.resume(true));
        assert_eq!(next.arrive(&it), Arrival::Stored);
        let value = next.position(&[], &[7]);
        next.stored(&[], &[7]);
        assert_eq!((next.arrive(&it), value.len()), (Arrival::New, 0));
    }

    #[test]
    fn an_id_that_one_channel_lacks_is_stored_again_and_none_outlives_its_session() {
        let mut session = Session::default();
        let (one, both) = (session.position(&[1, 2], &[]), session.position(&[2], &[]));
        session.load([Some(&one), Some(&both)].into_iter());
        assert!(!session.holds(1) && session.holds(2));
        assert!(session.resume(false), "the channels have to forget it");
        assert!(!session.holds(2));
        session.load([Some(&one), None].into_iter());
        assert!(!session.holds(1));
    }

    #[test]
    fn no_more_ids_are_taken_than_a_position_holds() {
        let mut session = Session::default();
        for id in 1..=IDS_MAX as u16 {
            assert_eq!(session.arrive(&message(id, QoS::ExactlyOnce, false, "a")), Arrival::New);
        }
        let more = message(IDS_MAX as u16 + 1, QoS::ExactlyOnce, false, "a");
        assert_eq!(session.arrive(&more), Arrival::TooMany);
        let ids: Vec<u16> = (1..=IDS_MAX as u16).collect();
        assert!(session.position(&ids, &[]).len() <= 4096);
    }
}

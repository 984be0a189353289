//! What may be forgotten: for each origin, the epoch below which nothing is under way any more.
//!
//! ```text
//!  epochs of one origin    0   1   2   3   4   5 ─► time
//!                          every batch committed │   still wanted
//!                                     floor = 3 ─┘
//! ```
//!
//! Who has an origin's batches says so once each of them is committed. From then on their intervals
//! need not be kept: an identity below the floor is delivered, and a copy of it that comes later is
//! a stray one. A floor never falls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::{Buf, BufMut};

use crate::births::Births;
use crate::channel::{Channel, ChannelError};
use crate::identity::{Epoch, Identity, KeySet, Origin};
use crate::intervals::{MalformedIntervals, get_varint, put_varint};
use support::mutant;

/// For each origin, the epoch below which nothing is under way any more.
///
/// A clone is the same memory, until one of both is changed: a ledger takes one for each commit.
///
/// Encoding: varint number of origins; then for each, in order, 16 bytes of origin, varint epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors {
    by_origin: Arc<BTreeMap<Origin, Epoch>>,
}

/// Origins of which a board keeps what senders declare, some 5 MiB of them. What is beyond them is not
/// kept: the batches of those origins are remembered for longer.
pub const DECLARED_MAX: usize = 1 << 17;

impl Floors {
    /// Whether nothing is closed.
    pub fn is_empty(&self) -> bool {
        self.by_origin.is_empty()
    }

    /// Of how many origins epochs are closed.
    pub fn len(&self) -> usize {
        self.by_origin.len()
    }

    /// The epochs of `origin` below this one are closed; `Epoch(0)`: none of them.
    pub fn of(&self, origin: Origin) -> Epoch {
        self.by_origin.get(&origin).copied().unwrap_or(Epoch(0))
    }

    /// Whether this identity is of a closed epoch.
    pub fn is_closed(&self, key: Identity) -> bool {
        key.epoch < self.of(key.origin)
    }

    /// Closes the epochs of `origin` below `epoch`; a lower one than before changes nothing.
    pub fn raise(&mut self, origin: Origin, epoch: Epoch) {
        if epoch > self.of(origin) {
            Arc::make_mut(&mut self.by_origin).insert(origin, epoch);
        }
    }

    /// Takes the floor of `origin` out.
    pub fn take(&mut self, origin: Origin) -> Option<Epoch> {
        Arc::make_mut(&mut self.by_origin).remove(&origin)
    }

    /// Closes what `other` closes. What was taken before costs nothing.
    pub fn raise_all(&mut self, other: &Self) {
        if Arc::ptr_eq(&self.by_origin, &other.by_origin) {
            return;
        }
        if self.iter().all(|(origin, epoch)| other.of(origin) >= epoch) {
            *self = other.clone();
            return;
        }
        other.iter().for_each(|(origin, epoch)| self.raise(origin, epoch));
    }

    /// Each origin with its floor, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, Epoch)> {
        self.by_origin.iter().map(|(origin, epoch)| (*origin, *epoch))
    }

    /// Those of `keys` that are of closed epochs.
    pub fn closed_of(&self, keys: &KeySet) -> KeySet {
        let mut closed = KeySet::default();
        for (origin, epoch, sequences) in keys.iter() {
            if epoch < self.of(origin) {
                closed.insert_set(origin, epoch, sequences);
            }
        }
        closed
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_varint(out, self.by_origin.len() as u64);
        for (origin, epoch) in self.iter() {
            out.put_slice(&origin.0);
            put_varint(out, epoch.0);
        }
    }

    /// Reads encoded floors from the front of `input`.
    ///
    /// # Errors
    /// The bytes end too early.
    pub fn decode(input: &mut impl Buf) -> Result<Self, MalformedIntervals> {
        let mut floors = Self::default();
        for _ in 0..get_varint(input).ok_or(MalformedIntervals)? {
            let mut origin = [0; 16];
            if input.remaining() < origin.len() {
                return Err(MalformedIntervals);
            }
            input.copy_to_slice(&mut origin);
            floors.raise(Origin(origin), Epoch(get_varint(input).ok_or(MalformedIntervals)?));
        }
        Ok(floors)
    }
}

/// What the components along one channel know of closed epochs. Clones are the same board.
///
/// A source writes on it what senders declare, the sinks of the channel read it: the `grpc` sink
/// hands it on, with what this agent itself can declare; the `hdfs` sink lets its ledger forget.
#[derive(Debug, Clone, Default)]
pub struct FloorBoard {
    heard: Arc<Mutex<Floors>>,
    /// What the ledger behind the channel has closed.
    closed: Arc<Mutex<Arc<Floors>>>,
    agent: Arc<OwnEpochs>,
}

/// What an agent can say of the batches that were born in its own channels.
#[derive(Default)]
struct OwnEpochs {
    /// Every channel of the agent: a batch may lie in another one than it was born in. Weak, since
    /// what is built along a channel, and so the channel itself, may keep the board.
    channels: OnceLock<Vec<Weak<dyn Channel>>>,
    /// The lowest epoch of an origin of which the dead letters hold a batch: it may be put back.
    letters: OnceLock<LowestLetter>,
    /// Some sink forgets batches that are not committed, so the agent cannot tell.
    forgetful: OnceLock<()>,
    /// The lives of this process, and what of them has left it.
    births: Births,
}

/// Answers the lowest epoch of an origin of which the dead letters hold a batch.
type LowestLetter = Box<dyn Fn(Origin) -> Option<Epoch> + Send + Sync>;

impl std::fmt::Debug for OwnEpochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let channels = self.channels.get().map_or(0, Vec::len);
        let forgetful = self.forgetful.get().is_some();
        f.debug_struct("OwnEpochs")
            .field("channels", &channels)
            .field("forgetful", &forgetful)
            .finish()
    }
}

impl FloorBoard {
    /// The board of another channel of the same agent.
    #[must_use]
    pub fn of_another_channel(&self) -> Self {
        let (heard, closed) = (Arc::default(), Arc::default());
        Self { heard, closed, agent: self.agent.clone() }
    }

    /// These are all channels of the agent. Said once, before anything runs.
    pub fn know_channels<'a>(&self, channels: impl Iterator<Item = &'a Arc<dyn Channel>>) {
        // A second call would say the same.
        let _ = self.agent.channels.set(channels.map(Arc::downgrade).collect());
    }

    /// All channels of the agent are open, and nothing runs yet: their lives are known.
    pub fn begin_lives<'a>(&self, channels: impl Iterator<Item = &'a Arc<dyn Channel>>) {
        self.agent.births.begin(channels);
    }

    /// The name under which a batch is offered to a peer: its own, or the one that it got because a
    /// copy of this agent had closed its life.
    pub fn offered(&self, key: Identity) -> Identity {
        let channels = self.agent.channels.get().map_or(&[][..], Vec::as_slice);
        self.agent.births.offered(key, channels)
    }

    /// A batch is being put to a peer under this name.
    pub fn put(&self, key: Identity) {
        self.agent.births.put(key);
    }

    /// Whether this batch is of a life that this process began.
    pub fn is_own(&self, key: Identity) -> bool {
        self.agent.births.is_own(key)
    }

    /// A peer refused this batch because its epoch is closed; whether it has another name now, under
    /// which it can be offered again. Blocks while the name is written.
    ///
    /// # Errors
    /// The disk refused.
    pub fn renamed_as_closed(&self, key: Identity) -> Result<bool, ChannelError> {
        if mutant!("closed_epoch_kept") { Ok(false) } else { self.agent.births.closed(key) }
    }

    /// How the dead letters of the agent answer. Said once, before anything runs.
    pub fn know_letters(&self, lowest: impl Fn(Origin) -> Option<Epoch> + Send + Sync + 'static) {
        // A second call would say the same.
        let _ = self.agent.letters.set(Box::new(lowest));
    }

    /// Some sink lets channels forget what is not committed: nothing born here is ever declared.
    pub fn forget_early(&self) {
        let _ = self.agent.forgetful.set(());
    }

    /// A sender has declared these. Of [`DECLARED_MAX`] origins they are kept.
    pub fn hear(&self, floors: &Floors) {
        let mut heard = self.heard();
        for (origin, epoch) in floors.iter() {
            if heard.len() < DECLARED_MAX || heard.of(origin) > Epoch(0) {
                heard.raise(origin, epoch);
            }
        }
    }

    /// Whether a sender has declared the epoch of this batch empty, or the ledger has closed it.
    pub fn is_closed(&self, key: Identity) -> bool {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.heard().is_closed(key) || closed.is_closed(key)
    }

    /// The ledger behind this channel has closed these: nothing below is ever committed.
    pub fn know_closed(&self, floors: &Floors) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(floors.clone());
    }

    /// What senders have declared.
    pub fn declared(&self) -> Floors {
        self.heard().clone()
    }

    /// What a sender on this channel may declare: what it heard, and of each origin of this agent
    /// the lowest epoch of which some channel, or a dead letter, still holds a batch.
    pub fn declarable(&self) -> Floors {
        let mut floors = self.declared();
        let channels = self.agent.channels.get().map_or(&[][..], Vec::as_slice);
        let channels: Option<Vec<_>> = channels.iter().map(Weak::upgrade).collect();
        // One that is gone can hold anything.
        let Some(channels) = channels.filter(|_| self.agent.forgetful.get().is_none()) else {
            return floors;
        };
        for (origin, epoch) in channels.iter().filter_map(|channel| channel.birthplace()) {
            let wanted = channels.iter().filter_map(|channel| channel.lowest_unsettled(origin));
            let wanted = wanted.chain(self.agent.letters.get().and_then(|lowest| lowest(origin)));
            let wanted = wanted.filter(|_| !mutant!("closed_too_early"));
            floors.raise(origin, wanted.min().unwrap_or(epoch).min(epoch));
        }
        floors
    }

    fn heard(&self) -> MutexGuard<'_, Floors> {
        // Floors are whole between two calls, whoever panicked in between.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Sequence;

    const ORIGIN: Origin = Origin([1; 16]);

    fn key(epoch: u64) -> Identity {
        Identity { origin: ORIGIN, epoch: Epoch(epoch), sequence: Sequence(0) }
    }

    #[test]
    fn a_floor_never_falls_and_closes_only_what_is_below_it() {
        let mut floors = Floors::default();
        assert!(!floors.is_closed(key(0)));
        floors.raise(ORIGIN, Epoch(3));
        floors.raise(ORIGIN, Epoch(2));
        assert!(floors.is_closed(key(2)) && !floors.is_closed(key(3)));
        let other = Identity { origin: Origin([2; 16]), ..key(0) };
        assert!(!floors.is_closed(other));
        let keys: KeySet = [key(2), key(3), other].into_iter().collect();
        assert_eq!(floors.closed_of(&keys), [key(2)].into_iter().collect());
    }

    #[test]
    fn what_was_taken_before_is_the_same_memory_and_a_board_is_bounded() {
        let board = FloorBoard::default();
        let mut many = Floors::default();
        for n in 0..DECLARED_MAX as u128 + 10 {
            many.raise(Origin(n.to_be_bytes()), Epoch(1));
        }
        board.hear(&many);
        assert_eq!(board.declared().len(), DECLARED_MAX);
        let mut higher = Floors::default();
        higher.raise(Origin(0_u128.to_be_bytes()), Epoch(7));
        board.hear(&higher);
        assert_eq!(board.declared().of(Origin(0_u128.to_be_bytes())), Epoch(7));

        let mut taken = Floors::default();
        taken.raise_all(&board.declared());
        assert!(Arc::ptr_eq(&taken.by_origin, &board.heard().by_origin));
        let (mut one, mut other) = (Floors::default(), Floors::default());
        one.raise(ORIGIN, Epoch(3));
        other.raise(ORIGIN, Epoch(2));
        other.raise(Origin([2; 16]), Epoch(5));
        one.raise_all(&other);
        assert_eq!((one.of(ORIGIN), one.of(Origin([2; 16]))), (Epoch(3), Epoch(5)));
        assert_eq!(other.of(ORIGIN), Epoch(2), "the other one stays as it is");
    }

    #[test]
    fn floors_read_back_as_they_were_and_a_cut_is_refused() {
        let mut floors = Floors::default();
        (1..4).for_each(|n| floors.raise(Origin([n; 16]), Epoch(u64::from(n) << 40)));
        let mut bytes = Vec::new();
        floors.encode(&mut bytes);
        assert_eq!(Floors::decode(&mut bytes.as_slice()), Ok(floors));
        assert!((0..bytes.len()).all(|end| Floors::decode(&mut &bytes[..end]).is_err()));
    }
}

//! Closed epochs along a channel: those declared by senders, those closed by the ledger, and those
//! that this agent itself can declare.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use pipeline::{Channel, ChannelError, Env, Epoch, Floors, Identity, Origin};
use support::mutant;

use crate::own_epochs::OwnEpochs;

/// Maximum number of origins for which a board keeps the senders' declarations, some 5 MiB.
/// Declarations of further origins are dropped: their batches are remembered for longer.
pub const DECLARED_MAX: usize = 1 << 17;

/// The closed epochs that components along one channel know. Clones share the board.
///
/// A source writes the senders' declarations, and the sinks of the channel read them: the `grpc`
/// sink forwards them together with the declarations of this agent, and the `hdfs` sink lets its
/// ledger forget.
#[derive(Debug, Clone, Default)]
pub struct FloorBoard {
    heard: Arc<Mutex<Floors>>,
    /// Epochs that the downstream ledger has closed.
    closed: Arc<Mutex<Arc<Floors>>>,
    agent: Arc<DeclarableEpochs>,
}

/// The epochs that an agent can declare about batches from its own channels.
#[derive(Default)]
struct DeclarableEpochs {
    /// Every channel of the agent: a batch may be in another channel than the one that created it.
    /// Weak, because a component of the channel, and so the channel itself, may keep the board.
    channels: Mutex<Vec<Weak<dyn Channel>>>,
    /// True if some removed channel still has batches on disk.
    left_behind: AtomicBool,
    /// Channels that are not open yet: they cannot be queried.
    not_open: Mutex<Vec<Weak<dyn Channel>>>,
    /// The query for the lowest epoch of an origin with a batch in the dead letters, which may be
    /// replayed.
    letters: OnceLock<LowestLetter>,
    /// Set if some sink drops uncommitted batches, so that the agent cannot know.
    forgetful: OnceLock<()>,
    /// The lives of this process, and the batches that have left them.
    births: OwnEpochs,
}

/// Returns the lowest epoch of an origin with a batch in the dead letters.
type LowestLetter = Box<dyn Fn(Origin) -> Option<Epoch> + Send + Sync>;

impl std::fmt::Debug for DeclarableEpochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let channels = self.channels().len();
        let forgetful = self.forgetful.get().is_some();
        f.debug_struct("OwnEpochs")
            .field("channels", &channels)
            .field("forgetful", &forgetful)
            .finish()
    }
}

impl DeclarableEpochs {
    fn channels(&self) -> MutexGuard<'_, Vec<Weak<dyn Channel>>> {
        // As below.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_open(&self) -> MutexGuard<'_, Vec<Weak<dyn Channel>>> {
        // The list is complete between two calls, whichever task panicked in between.
        self.not_open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channels that can be asked.
    fn open_channels(&self) -> Vec<Weak<dyn Channel>> {
        let mut channels = self.channels().clone();
        let not_open = self.not_open();
        channels.retain(|channel| !not_open.iter().any(|other| other.ptr_eq(channel)));
        channels
    }
}

impl FloorBoard {
    /// The board of another channel of the same agent.
    #[must_use]
    pub fn for_another_channel(&self) -> Self {
        let (heard, closed) = (Arc::default(), Arc::default());
        Self { heard, closed, agent: self.agent.clone() }
    }

    /// Sets all channels of the agent, before anything runs, and when they change. `left_behind`:
    /// other channels, which are no longer configured, have batches on disk; then no epoch of this
    /// agent is declared.
    pub fn set_channels<'a>(
        &self,
        channels: impl Iterator<Item = &'a Arc<dyn Channel>>,
        left_behind: bool,
    ) {
        self.agent.left_behind.store(left_behind, Ordering::Relaxed);
        *self.agent.channels() = channels.map(Arc::downgrade).collect();
    }

    /// Marks this channel of the agent as not open. Until it is open, no epoch of this agent is
    /// declared, because the contents of the channel are unknown. Called before anything runs.
    pub fn mark_not_open(&self, channel: &Arc<dyn Channel>) {
        self.agent.not_open().push(Arc::downgrade(channel));
    }

    /// A channel [marked as not open](Self::mark_not_open) is open now, and nothing runs on it yet.
    pub fn mark_open(&self, channel: &Arc<dyn Channel>) {
        self.begin_lives([channel].into_iter());
        let opened = Arc::downgrade(channel);
        self.agent.not_open().retain(|other| !other.ptr_eq(&opened));
    }

    /// Records the lives of these channels, which are open and not used yet.
    pub fn begin_lives<'a>(&self, channels: impl Iterator<Item = &'a Arc<dyn Channel>>) {
        self.agent.births.begin(channels);
    }

    /// The name under which a batch is offered to a peer: its own, or the one that it got because a
    /// copy of this agent had closed its life.
    pub fn offered(&self, key: Identity) -> Identity {
        self.agent.births.offered(key, &self.agent.open_channels())
    }

    /// A batch is being put to a peer under this name.
    pub fn put(&self, key: Identity) {
        self.agent.births.put(key);
    }

    /// Returns `true` if this batch is of a life that this process began.
    pub fn is_own(&self, key: Identity) -> bool {
        self.agent.births.is_own(key)
    }

    /// Handles a peer's refusal of this batch because its epoch is closed; returns whether it has
    /// another name now, with which it can be offered again. Blocks while the name is written.
    ///
    /// # Errors
    /// The disk failed.
    pub fn renamed_as_closed(&self, key: Identity) -> Result<bool, ChannelError> {
        if mutant!("closed_epoch_kept") { Ok(false) } else { self.agent.births.closed(key) }
    }

    /// Returns the name of a batch whose life a ledger has closed. A batch of a life of this
    /// process gets a new name, because a copy of this agent's directory has closed its life. All
    /// others keep theirs.
    pub async fn rename_closed(&self, env: &Env, key: Identity) -> Identity {
        if !self.is_own(key) {
            return key;
        }
        let board = self.clone();
        match env.offload(move || board.renamed_as_closed(key)).await {
            Ok(_) => self.offered(key),
            Err(error) => {
                tracing::warn!(
                    %key, %error,
                    "cannot give a new identity to a batch whose epoch is closed, because this \
                     data directory was copied or restored; its events go to the dead letters; \
                     check the disk",
                );
                key
            }
        }
    }

    /// Sets the query of the agent's dead letters. Called once, before anything runs.
    pub fn set_lowest_letter(
        &self,
        lowest: impl Fn(Origin) -> Option<Epoch> + Send + Sync + 'static,
    ) {
        // A second call would set the same query.
        let _ = self.agent.letters.set(Box::new(lowest));
    }

    /// Records that some sink drops uncommitted batches: no epoch of this agent is ever declared.
    pub fn disable_declarations(&self) {
        let _ = self.agent.forgetful.set(());
    }

    /// Records a sender's declarations, for at most [`DECLARED_MAX`] origins.
    pub fn observe(&self, floors: &Floors) {
        let mut heard = self.observed();
        for (origin, epoch) in floors.iter() {
            if heard.len() < DECLARED_MAX || heard.of(origin) > Epoch(0) {
                heard.raise(origin, epoch);
            }
        }
    }

    /// Returns `true` if a sender has declared the epoch of this batch empty, or the ledger has
    /// closed it.
    pub fn is_closed(&self, key: Identity) -> bool {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.observed().is_closed(key) || closed.is_closed(key)
    }

    /// Records that the downstream ledger has closed these: no batch below is ever committed.
    pub fn close(&self, floors: &Floors) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(floors.clone());
    }

    /// Returns the declarations of senders.
    pub fn declared(&self) -> Floors {
        self.observed().clone()
    }

    /// Returns the floors that a sink on this channel may declare: floors of senders, and for each
    /// origin of this agent the lowest epoch with a batch in some channel or dead letter.
    pub fn declarable(&self) -> Floors {
        let mut floors = self.declared();
        if !self.agent.not_open().is_empty() || self.agent.left_behind.load(Ordering::Relaxed) {
            return floors;
        }
        let channels: Option<Vec<_>> = self.agent.channels().iter().map(Weak::upgrade).collect();
        // A dropped channel may contain any batch.
        let Some(channels) = channels.filter(|_| self.agent.forgetful.get().is_none()) else {
            return floors;
        };
        for (origin, epoch) in channels.iter().filter_map(|channel| channel.own_epoch()) {
            let wanted = channels.iter().filter_map(|channel| channel.lowest_unsettled(origin));
            let wanted = wanted.chain(self.agent.letters.get().and_then(|lowest| lowest(origin)));
            let wanted = wanted.filter(|_| !mutant!("closed_too_early"));
            floors.raise(origin, wanted.min().unwrap_or(epoch).min(epoch));
        }
        floors
    }

    /// Returns every channel of the agent; `None` if some batch may be elsewhere, or may be dropped
    /// before it is committed.
    pub(crate) fn all_channels(&self) -> Option<Vec<Arc<dyn Channel>>> {
        let is_elsewhere = self.agent.left_behind.load(Ordering::Relaxed);
        if is_elsewhere || !self.agent.not_open().is_empty() || self.agent.forgetful.get().is_some()
        {
            return None;
        }
        self.agent.channels().iter().map(Weak::upgrade).collect()
    }

    fn observed(&self) -> MutexGuard<'_, Floors> {
        // Floors are complete between two calls, whichever task panicked in between.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_declared_while_a_channel_that_is_not_named_holds_batches() {
        let board = FloorBoard::default();
        assert!(!board.agent.left_behind.load(Ordering::Relaxed));
        board.set_channels(std::iter::empty(), true);
        let mut heard = Floors::default();
        heard.raise(Origin([1; 16]), Epoch(3));
        board.observe(&heard);
        assert_eq!(board.declarable(), heard, "what others declared is handed on");
    }

    #[test]
    fn a_board_keeps_so_many_origins_and_what_it_keeps_goes_on_rising() {
        let board = FloorBoard::default();
        let mut many = Floors::default();
        for n in 0..DECLARED_MAX as u128 + 10 {
            many.raise(Origin(n.to_be_bytes()), Epoch(1));
        }
        board.observe(&many);
        assert_eq!(board.declared().len(), DECLARED_MAX);
        let mut higher = Floors::default();
        higher.raise(Origin(0_u128.to_be_bytes()), Epoch(7));
        board.observe(&higher);
        assert_eq!(board.declared().of(Origin(0_u128.to_be_bytes())), Epoch(7));
    }
}

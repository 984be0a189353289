//! The lives of this agent's own channels, and which of their batches have left them.
//!
//! A data directory that is restored from a backup, or runs on two machines, shares its origin with
//! another copy. A floor that the other copy declares may include a life of this one:
//!
//! ```text
//!   floor declared by the other copy ──────────────┐
//!   epochs of the origin      … 5  6  7  8  9  │ 10   (the other copy is here)
//!                                    ▲         │
//!                    this copy's life: closed, and never delivered
//! ```
//!
//! The downstream agent then refuses a batch as `epoch_closed`. If this process began the life, and
//! the batch was put once, only to that peer, then the batch is delivered nowhere. In this case the
//! channel renames it, and every batch of the life that was never put ([`Channel::rename`]). All
//! other batches keep their names and go to the dead letters.
//!
//! # Rules
//!
//! 1. A batch is renamed only if each put of it was answered by that refusal.
//! 2. The new name is durable before it is put for the first time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pipeline::{Channel, ChannelError, Epoch, Identity, IntervalSet, Origin};

/// Batches of one life that were sent with their own name.
#[derive(Debug, Default)]
struct SentBatches {
    /// Handed to a sink.
    offered: IntervalSet,
    /// Put to a peer at least once.
    put: IntervalSet,
    /// Put more than once: one refusal does not answer all puts.
    again: IntervalSet,
}

/// The lives of this process. Locked only for moments, but for the one in which a life is renamed.
#[derive(Default)]
pub(crate) struct OwnEpochs {
    lives: Mutex<BTreeMap<(Origin, Epoch), EpochState>>,
}

struct EpochState {
    channel: Weak<dyn Channel>,
    sent: SentBatches,
}

impl OwnEpochs {
    fn lives(&self) -> MutexGuard<'_, BTreeMap<(Origin, Epoch), EpochState>> {
        // Each change is complete: a panic elsewhere does no harm here.
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts tracking the lives of these open channels.
    pub(crate) fn begin<'a>(&self, channels: impl Iterator<Item = &'a Arc<dyn Channel>>) {
        let mut lives = self.lives();
        for channel in channels {
            if let Some(life) = channel.own_epoch() {
                let (channel, sent) = (Arc::downgrade(channel), SentBatches::default());
                lives.entry(life).or_insert(EpochState { channel, sent });
            }
        }
    }

    /// The name under which a batch is offered to a peer. It counts as offered.
    pub(crate) fn offered(&self, key: Identity, channels: &[Weak<dyn Channel>]) -> Identity {
        let mut lives = self.lives();
        // A life of an earlier process may be renamed as well.
        let named = channels.iter().filter_map(Weak::upgrade).find_map(|c| c.renamed(key));
        if let Some(named) = named {
            return named;
        }
        if let Some(life) = lives.get_mut(&(key.origin, key.epoch)) {
            life.sent.offered.insert(key.sequence.0);
        }
        key
    }

    /// A batch is being put to a peer under this name.
    pub(crate) fn put(&self, key: Identity) {
        let mut lives = self.lives();
        let Some(life) = lives.get_mut(&(key.origin, key.epoch)) else { return };
        if !life.sent.put.insert(key.sequence.0) {
            life.sent.again.insert(key.sequence.0);
        }
    }

    /// Returns `true` if this batch is of a life that this process began.
    pub(crate) fn is_own(&self, key: Identity) -> bool {
        self.lives().contains_key(&(key.origin, key.epoch))
    }

    /// A peer refused this batch, because its epoch is closed: whether it got another name. Blocks
    /// while that is written.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn closed(&self, key: Identity) -> Result<bool, ChannelError> {
        let mut lives = self.lives();
        let Some(life) = lives.get_mut(&(key.origin, key.epoch)) else { return Ok(false) };
        let Some(channel) = life.channel.upgrade() else { return Ok(false) };
        if life.sent.again.contains(key.sequence.0) {
            return Ok(false);
        }
        let mut kept = life.sent.offered.clone();
        kept.remove(key.sequence.0);
        if channel.renamed(key).is_none() {
            channel.rename(&kept)?;
        }
        life.sent.offered = kept;
        Ok(channel.renamed(key).is_some())
    }
}

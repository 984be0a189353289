//! Replays or drops dead letters for an operator. The agent runs, or it is stopped and the command
//! opens the letters.
//!
//! A letter is removed after its events are in their channel again. If the process dies in between,
//! the next replay finds the batch waiting there and only removes the letter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pipeline::{
    Batch, Channel, ChannelError, Identity, IntervalSet, KeySet, TakeTransaction, Ticket,
};
use serde::{Deserialize, Serialize};
use support::causes::chain;
use tokio::sync::MutexGuard;
use tokio::time::{Duration, timeout};

use super::{DeadLetters, Label, OPERATOR};
use crate::status::words;

/// A letter that is not found in this time no longer exists: a full channel of letters may drop its
/// oldest.
const FIND_TIMEOUT: Duration = Duration::from_secs(2);

/// Selects the letters that match all fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this reason.
    pub reason: Option<String>,
    /// Of this sink.
    pub sink: Option<String>,
    /// From this channel.
    pub channel: Option<String>,
    /// Rejected by an interceptor of this source.
    pub source: Option<String>,
    /// Of this batch.
    pub identity: Option<Identity>,
}

impl Selection {
    /// Returns `true` if the letter is selected.
    pub fn means(&self, label: &Label) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        is(&self.reason, &label.reason)
            && is(&self.sink, &label.sink)
            && is(&self.channel, &label.channel)
            && is(&self.source, &label.source)
            && self.identity.is_none_or(|wanted| label.identity == Some(wanted))
    }
}

/// A replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// The selected letters.
    pub which: Selection,
    /// Letters that were refused as `epoch_closed` get a new identity.
    pub new_identity: bool,
}

impl Replay {
    /// Returns the identity for the replay of a letter; `None`: it stays.
    fn back_as(&self, label: &Label) -> Option<Identity> {
        if label.is_rejected() {
            return None;
        }
        match (label.is_of_closed_epoch(), self.new_identity) {
            (true, true) => label.renamed(),
            (true, false) => None,
            (false, _) => label.replay_identity(),
        }
    }
}

/// The letters that were dropped.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Letters.
    pub letters: u64,
    /// Their events, which are lost.
    pub events: u64,
}

/// The result of a replay.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Letters that were put back.
    pub letters: u64,
    /// Their events.
    pub events: u64,
    /// Letters whose events already wait in their channel.
    pub waiting: u64,
    /// Why others stay.
    pub problems: Vec<String>,
}

/// The letters, open.
pub struct Letters<'a> {
    channel: &'a dyn Channel,
    /// The running agent, which may store more letters in the meantime.
    agent: Option<&'a DeadLetters>,
}

impl<'a> Letters<'a> {
    /// The letters of an agent that is stopped, in their channel.
    pub fn from_channel(channel: &'a dyn Channel) -> Self {
        Self { channel, agent: None }
    }

    /// While this lives, no letter is stored.
    async fn lock(&self) -> Option<MutexGuard<'a, ()>> {
        match self.agent {
            Some(agent) => Some(agent.turn.lock().await),
            None => None,
        }
    }

    /// The letter was taken out.
    fn removed(&self, label: &Label, events: u64) {
        if let Some(agent) = self.agent {
            agent.known().removed(label, events);
        }
    }

    /// Returns `true` if the events of a letter may already wait in their channel. Events of
    /// letters that this life of the agent has written have left it, or will soon.
    fn may_wait(&self, label: &Label) -> bool {
        self.agent.is_none_or(|agent| !agent.known().is_confirmed(label))
    }

    fn pass<'b>(&self, which: &'b Selection) -> Pass<'b> {
        let left = self.channel.status().events;
        Pass { take: self.channel.begin_take(OPERATOR), left, which }
    }

    /// Drops the letters that are meant.
    ///
    /// # Errors
    /// The letters cannot be read.
    pub async fn drop_all(&self, which: &Selection) -> Result<Dropped, ChannelError> {
        let mut done = Dropped::default();
        let mut pass = self.pass(which);
        while let Some((ticket, label, batch)) = pass.next().await? {
            let _turn = self.lock().await;
            let events = batch.len() as u64;
            pass.remove(ticket);
            self.removed(&label, events);
            done.letters += 1;
            done.events += events;
        }
        Ok(done)
    }

    /// Puts the letters that are meant back into their channels, which `open` finds.
    ///
    /// # Errors
    /// The letters cannot be read.
    pub async fn replay(
        &self,
        replay: &Replay,
        open: &mut dyn Channels,
    ) -> Result<Replayed, ChannelError> {
        let mut done = Replayed::default();
        for ((channel, group), keys) in self.destinations(replay, &mut done).await? {
            let way = (channel.as_str(), group.as_str());
            let sent = match open.open(&channel).await {
                Ok(into) => self.send(replay, way, (&*into, &keys), &mut done).await,
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                done.problems.push(chain(&error));
            }
        }
        Ok(done)
    }

    /// Returns the destinations of the selected letters. A letter that cannot be replayed is a
    /// problem.
    async fn destinations(
        &self,
        replay: &Replay,
        done: &mut Replayed,
    ) -> Result<Destinations, ChannelError> {
        let mut ways = Destinations::new();
        let (mut nameless, mut closed, mut rejected) = (0, 0, 0);
        let mut pass = self.pass(&replay.which);
        while let Some((_, label, _)) = pass.next().await? {
            match replay.back_as(&label) {
                Some(key) => {
                    ways.entry((label.channel, label.group)).or_default().insert(key);
                }
                None if label.is_rejected() => rejected += 1,
                None if label.is_of_closed_epoch() && !replay.new_identity => closed += 1,
                None => nameless += 1,
            }
        }
        if nameless > 0 {
            done.problems.push(format!(
                "cannot replay {}: they come from a channel without identities, so their events \
                 would be stored twice; print them with `aqueduct dlq show DATA_DIR`",
                words::count(nameless, "letter"),
            ));
        }
        if rejected > 0 {
            done.problems.push(format!(
                "cannot replay {}: an interceptor rejected them before a channel stored them. \
                 Correct the interceptor, print the letters with `aqueduct dlq show DATA_DIR \
                 --format json`, send them to a source again, and drop them with `aqueduct dlq \
                 drop DATA_DIR --source NAME --yes`",
                words::count(rejected, "letter"),
            ));
        }
        if closed > 0 {
            done.problems.push(format!(
                "cannot replay {}, which were rejected as epoch_closed: another copy of this data \
                 directory (a backup, a clone) is in use. If the events were written after the \
                 copy was made, replay them with `aqueduct dlq replay DATA_DIR --reason \
                 epoch_closed --new-identity`. If the copy has delivered them, drop them with \
                 `aqueduct dlq drop DATA_DIR --reason epoch_closed --yes`; if you replay these, \
                 they are stored twice",
                words::count(closed, "letter"),
            ));
        }
        Ok(ways)
    }

    /// Puts the letters of one channel and group back.
    async fn send(
        &self,
        replay: &Replay,
        (channel, group): (&str, &str),
        (into, keys): (&dyn Channel, &KeySet),
        done: &mut Replayed,
    ) -> Result<(), ChannelError> {
        let waiting = into.uncommitted(group, keys).await?;
        let mut pass = self.pass(&replay.which);
        while let Some((ticket, label, mut events)) = pass.next().await? {
            let Some(key) = replay.back_as(&label) else { continue };
            if (label.channel.as_str(), label.group.as_str()) != (channel, group) {
                continue;
            }
            let count = events.len() as u64;
            let _turn = self.lock().await;
            if waiting.contains(key) && self.may_wait(&label) {
                done.waiting += 1;
            } else {
                events.envelope.identity = Some(key);
                into.replay(events, group).await?;
                if let Some(agent) = self.agent {
                    agent.replayed.fetch_add(count, Ordering::Relaxed);
                }
                done.letters += 1;
                done.events += count;
            }
            pass.remove(ticket);
            self.removed(&label, count);
        }
        Ok(())
    }
}

/// Finds the channels that letters go back to.
#[async_trait::async_trait]
pub trait Channels: Send {
    /// Opens the channel with this name.
    ///
    /// # Errors
    /// It does not exist, or cannot be opened.
    async fn open(&mut self, name: &str) -> Result<Arc<dyn Channel>, ChannelError>;
}

/// Destinations of letters: names of channel and group.
type Destinations = BTreeMap<(String, String), KeySet>;

/// One pass over the letters that existed at its beginning. Letters that are not removed stay.
struct Pass<'a> {
    take: Box<dyn TakeTransaction>,
    left: u64,
    which: &'a Selection,
}

impl Pass<'_> {
    /// The next letter that is meant.
    async fn next(&mut self) -> Result<Option<(Ticket, Label, Batch)>, ChannelError> {
        while self.left > 0 {
            let Ok(taken) = timeout(FIND_TIMEOUT, self.take.take()).await else { break };
            let taken = taken?;
            self.left = self.left.saturating_sub(taken.batch.len() as u64);
            if let Some((label, events)) = Label::take_off(taken.batch)
                && self.which.means(&label)
            {
                return Ok(Some((taken.ticket, label, events)));
            }
        }
        Ok(None)
    }

    fn remove(&mut self, ticket: Ticket) {
        self.take.commit(&IntervalSet::from(ticket..ticket + 1));
    }
}

impl DeadLetters {
    /// Drops letters while the agent runs.
    ///
    /// # Errors
    /// The letters cannot be read.
    pub async fn drop_all(&self, which: &Selection) -> Result<Dropped, ChannelError> {
        let Some(channel) = self.opened() else { return Ok(Dropped::default()) };
        let _acting = self.acting.lock().await;
        Letters { channel: &**channel, agent: Some(self) }.drop_all(which).await
    }

    /// Puts letters back while the agent runs. Must run to its end: a letter is taken out after its
    /// events were put back.
    ///
    /// # Errors
    /// The letters cannot be read.
    pub async fn replay(
        &self,
        replay: &Replay,
        channels: &mut dyn Channels,
    ) -> Result<Replayed, ChannelError> {
        let Some(channel) = self.opened() else { return Ok(Replayed::default()) };
        let _acting = self.acting.lock().await;
        Letters { channel: &**channel, agent: Some(self) }.replay(replay, channels).await
    }
}

//! Puts batches back that had left a channel for the dead letters, while no agent uses it.
//!
//! ```text
//!   FORGET the identity │ PUT the batch │ ACK for every consumer but the one that lacks it
//! ```
//!
//! A batch that comes back is known here, so its identity is forgotten in the same write that
//! stores it again. The other consumers had their part of it before: it is committed for them at
//! once. Done again after a crash it does nothing more: what waits for its consumer already is
//! passed over.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use pipeline::{Batch, BuildContext, Channel, ChannelError, IntervalSet, KeySet};

use crate::durable::Config;
use crate::durable::channel::Durable;
use crate::durable::log::records::ForgetRecord;
use crate::durable::recovery::inspect::Inspection;

/// A channel that batches are put back into, for one of its consumers.
pub struct PutBack {
    channel: Durable,
    /// All of them but the one.
    others: Vec<Arc<str>>,
    /// What waits for it already.
    waiting: KeySet,
}

impl PutBack {
    /// Opens the channel in `cx.directory` for `consumer`; of `keys` it is found out which wait for
    /// it already.
    ///
    /// # Errors
    /// There is no channel, an agent uses it, or nothing is kept for `consumer` in it.
    pub async fn open(
        config: Config,
        cx: &BuildContext,
        consumer: &str,
        keys: &KeySet,
    ) -> Result<Self, ChannelError> {
        let (env, directory) = (cx.env.clone(), cx.directory.clone());
        let (name, wanted) = (consumer.to_owned(), keys.clone());
        let encryption = config.encryption.clone();
        let look = move || {
            let inspection = Inspection::open(&env, &directory, encryption.as_ref())?;
            let consumers: Vec<String> = inspection.stats().consumers.into_keys().collect();
            Ok::<_, ChannelError>((consumers, inspection.waiting_for(&name, &wanted)?))
        };
        let (consumers, waiting) = cx.env.offload(look).await?;
        if !consumers.iter().any(|known| known == consumer) {
            return Err(unusable(
                &cx.name,
                &cx.directory,
                format!(
                    "it keeps nothing for the sink group `{consumer}`; it knows {consumers:?}. \
                     Start the agent once with a group of that name, or drop the letters"
                ),
            ));
        }
        let others = consumers.iter().filter(|known| *known != consumer);
        let others = others.map(|name| name.as_str().into()).collect();
        let channel = Durable::new(config, cx);
        channel.open().await?;
        Ok(Self { channel, others, waiting })
    }

    /// Puts a batch with identity back; `false`: it waits there already.
    ///
    /// # Errors
    /// It is not stored: the channel is full, or the disk refused.
    ///
    /// # Panics
    /// If the batch has no identity.
    pub async fn put(&self, batch: Batch) -> Result<bool, ChannelError> {
        let key = batch.envelope.identity.expect("a batch that comes back has its identity");
        if self.waiting.contains(key) {
            return Ok(false);
        }
        let core = self.channel.core();
        let Some(begun) = self.channel.begin_put(batch.size()).now_or_never() else {
            let problem = "it has no room: start the agent, and let it empty the channel first";
            return Err(unusable(&core.name, &core.directory, problem.into()));
        };
        let mut put = begun?;
        {
            let mut state = core.state();
            let keys = KeySet::from_iter([key]);
            let forget = ForgetRecord { keys, ..ForgetRecord::default() };
            state.tickets.forget(&forget);
            state.unwritten.forget.merge(&forget);
        }
        let before = core.state().tickets.in_flight.next();
        put.put(batch);
        put.commit().await?;
        let mut state = core.state();
        let tickets = IntervalSet::from(before..state.tickets.in_flight.next());
        for other in &self.others {
            state.tickets.in_flight.replay(other, &tickets);
            state.unwritten.acks.add(other, &tickets);
        }
        Ok(true)
    }

    /// Writes the rest, and lets go of the channel.
    ///
    /// # Errors
    /// The disk refused. What was put is stored; other consumers may get it again.
    pub async fn close(self) -> Result<(), ChannelError> {
        self.channel.close().await
    }
}

fn unusable(channel: &str, path: &Path, problem: String) -> ChannelError {
    ChannelError::Unusable { channel: channel.into(), path: path.display().to_string(), problem }
}

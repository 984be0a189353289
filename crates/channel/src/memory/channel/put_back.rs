//! Dead letters that are replayed into a memory channel.

use pipeline::{Batch, ChannelError, IntervalSet, KeySet};
use tokio::time::Instant;

use super::{Core, Held, State};

impl State {
    /// Replays a batch for `consumer`; all other consumers count as having committed it.
    pub(super) fn put_back(
        &mut self,
        batch: Batch,
        consumer: &str,
        core: &Core,
    ) -> Result<(), ChannelError> {
        let known: Vec<_> = self.in_flight.acked().map(|(name, _)| name.clone()).collect();
        if !known.iter().any(|name| &**name == consumer) {
            let (channel, consumer) = (core.name.to_string(), consumer.to_owned());
            return Err(ChannelError::UnknownConsumer {
                channel,
                consumer,
                known: known.join(", "),
            });
        }
        let size = batch.size();
        if !self.fits(size, core) {
            return Err(ChannelError::Full { channel: core.name.to_string() });
        }
        let ticket = self.in_flight.put(1);
        let tickets = IntervalSet::from(ticket..ticket + 1);
        for other in known.iter().filter(|name| &***name != consumer) {
            self.in_flight.replay(other, &tickets);
        }
        self.total.bytes += size.bytes;
        self.total.events += size.events;
        if let Some(identity) = batch.envelope.identity {
            self.window.store(identity, true);
        }
        self.held.insert(ticket, Held { batch, size, since: Instant::now() });
        Ok(())
    }

    /// Returns the `keys` that `consumer` has not committed.
    pub(super) fn waiting_for(&self, consumer: &str, keys: &KeySet) -> KeySet {
        let acked = self.in_flight.acked().find(|(name, _)| &***name == consumer);
        let Some((_, acked)) = acked else { return KeySet::default() };
        let held = self.held.iter().filter(|(ticket, _)| !acked.contains(**ticket));
        let named = held.filter_map(|(_, held)| held.batch.envelope.identity);
        named.filter(|identity| keys.contains(*identity)).collect()
    }
}

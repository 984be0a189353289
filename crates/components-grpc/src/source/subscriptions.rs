//! Commit events: each stream receives only events of the origins that it named.
//!
//! ```text
//!   Intake::watch_committed ─► Subscriptions::run ─► mailboxes of streams that follow the origin
//! ```
//!
//! One task receives all events and distributes them. If every stream received all events, each
//! group commit would wake all streams: with ten thousand streams a collector would do nothing
//! else.
//!
//! A stream follows an origin **before** it queries the known commits: the query returns earlier
//! commits, the subscription later ones. The content of a mailbox is bounded like the stream's
//! awaited batches: runs of sequences of origins that it named.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::{KeySet, Origin};
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::RecvError};

/// Minimum capacity of the table of followed origins.
const ORIGINS_MIN: usize = 4 << 10;

/// Event for a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CommitEvent {
    /// Batches that are committed.
    Committed(KeySet),
    /// Some event was missed: query the known commits again.
    Missed,
}

/// Distributes commit events by origin.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    all: BTreeMap<u64, Arc<Mailbox>>,
    followers: HashMap<Origin, Vec<(u64, Arc<Mailbox>)>>,
}

#[derive(Debug, Default)]
struct Mailbox {
    contents: Mutex<Contents>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Contents {
    committed: KeySet,
    missed: bool,
}

impl Subscriptions {
    /// Creates a subscription without origins.
    pub(super) fn subscribe(self: &Arc<Self>) -> Subscription {
        let mailbox = Arc::<Mailbox>::default();
        let mut streams = self.streams();
        let number = streams.next;
        streams.next += 1;
        streams.all.insert(number, mailbox.clone());
        drop(streams);
        Subscription { subscriptions: self.clone(), number, mailbox, origins: Vec::new() }
    }

    /// Delivers events to the streams that follow their origin. Never returns: when the channels
    /// are closed, there are no more events.
    pub(super) async fn run(&self, mut heard: broadcast::Receiver<Arc<KeySet>>) {
        loop {
            match heard.recv().await {
                Ok(keys) if !keys.is_empty() => self.bring(&keys),
                Ok(_) | Err(RecvError::Lagged(_)) => self.missed(),
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    fn bring(&self, keys: &KeySet) {
        let streams = self.streams();
        for (origin, epoch, sequences) in keys.iter() {
            for (_, mailbox) in streams.followers.get(&origin).into_iter().flatten() {
                mailbox.fill(|contents| contents.committed.insert_set(origin, epoch, sequences));
            }
        }
    }

    fn missed(&self) {
        for mailbox in self.streams().all.values() {
            mailbox.fill(|contents| *contents = Contents { missed: true, ..Contents::default() });
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox {
    fn fill(&self, change: impl FnOnce(&mut Contents)) {
        change(&mut self.contents());
        self.arrived.notify_one();
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subscription of one stream; ends when dropped.
#[derive(Debug)]
pub(super) struct Subscription {
    subscriptions: Arc<Subscriptions>,
    number: u64,
    mailbox: Arc<Mailbox>,
    /// Followed origins, sorted. Origins are never removed: the channels keep as many identities
    /// because of this stream.
    origins: Vec<Origin>,
}

impl Subscription {
    /// Delivers commits of this origin to the stream from now on.
    pub(super) fn follow(&mut self, origin: Origin) {
        if let Err(place) = self.origins.binary_search(&origin) {
            self.origins.insert(place, origin);
            let follower = (self.number, self.mailbox.clone());
            let mut streams = self.subscriptions.streams();
            // Most origins have one stream: start with room for one.
            streams.followers.entry(origin).or_insert_with(|| Vec::with_capacity(1)).push(follower);
        }
    }

    /// Returns the number of followed origins.
    pub(super) fn origins(&self) -> usize {
        self.origins.len()
    }

    /// Returns the next event. Cancel safe.
    pub(super) async fn next(&self) -> CommitEvent {
        loop {
            let contents = mem::take(&mut *self.mailbox.contents());
            if contents.missed {
                return CommitEvent::Missed;
            }
            if !contents.committed.is_empty() {
                return CommitEvent::Committed(contents.committed);
            }
            self.mailbox.arrived.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut streams = self.subscriptions.streams();
        streams.all.remove(&self.number);
        for origin in &self.origins {
            if let Some(followers) = streams.followers.get_mut(origin) {
                followers.retain(|(number, _)| *number != self.number);
                if followers.is_empty() {
                    streams.followers.remove(origin);
                }
            }
        }
        // Release the memory of a stream with many origins.
        if streams.followers.capacity() > 4 * streams.followers.len() + ORIGINS_MIN {
            streams.followers.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use pipeline::{Epoch, Identity, Sequence};

    use super::*;

    const ONE: Origin = Origin([1; 16]);
    const OTHER: Origin = Origin([2; 16]);

    fn keys(origin: Origin, sequences: std::ops::Range<u64>) -> KeySet {
        sequences.map(|n| Identity { origin, epoch: Epoch(1), sequence: Sequence(n) }).collect()
    }

    fn both() -> KeySet {
        let mut keys_of_both = keys(ONE, 0..3);
        keys_of_both.insert_all(&keys(OTHER, 5..6));
        keys_of_both
    }

    #[test]
    fn a_stream_hears_of_the_origins_that_it_follows_and_of_no_others() {
        let subscriptions = Arc::<Subscriptions>::default();
        let (mut one, mut other) = (subscriptions.subscribe(), subscriptions.subscribe());
        let idle = subscriptions.subscribe();
        one.follow(ONE);
        one.follow(ONE);
        other.follow(OTHER);
        subscriptions.bring(&both());
        assert_eq!(one.next().now_or_never(), Some(CommitEvent::Committed(keys(ONE, 0..3))));
        assert_eq!(other.next().now_or_never(), Some(CommitEvent::Committed(keys(OTHER, 5..6))));
        assert_eq!(idle.next().now_or_never(), None);
        assert_eq!(one.next().now_or_never(), None, "each event comes once");
    }

    #[test]
    fn merges_changes_before_the_first_look_into_one() {
        let subscriptions = Arc::<Subscriptions>::default();
        let mut one = subscriptions.subscribe();
        one.follow(ONE);
        subscriptions.bring(&keys(ONE, 0..3));
        subscriptions.bring(&keys(ONE, 3..9));
        assert_eq!(one.next().now_or_never(), Some(CommitEvent::Committed(keys(ONE, 0..9))));
    }

    #[test]
    fn whoever_may_have_missed_something_is_told_so_whatever_it_follows() {
        let subscriptions = Arc::<Subscriptions>::default();
        let (mut one, idle) = (subscriptions.subscribe(), subscriptions.subscribe());
        one.follow(ONE);
        subscriptions.bring(&keys(ONE, 0..3));
        subscriptions.missed();
        subscriptions.bring(&keys(ONE, 3..4));
        assert_eq!(one.next().now_or_never(), Some(CommitEvent::Missed));
        assert_eq!(idle.next().now_or_never(), Some(CommitEvent::Missed));
    }

    #[tokio::test]
    async fn wakes_a_waiting_stream_and_reports_a_lagging_board() {
        let subscriptions = Arc::<Subscriptions>::default();
        let (tell, heard) = broadcast::channel(2);
        let mut one = subscriptions.subscribe();
        one.follow(ONE);
        let running = subscriptions.run(heard);
        let talk = async {
            tell.send(Arc::new(both())).unwrap();
            assert_eq!(one.next().await, CommitEvent::Committed(keys(ONE, 0..3)));
            for n in 0..5 {
                tell.send(Arc::new(keys(ONE, n..n + 1))).unwrap();
            }
            assert_eq!(one.next().await, CommitEvent::Missed);
            drop(tell);
        };
        tokio::select! {
            () = running => unreachable!("they run until they are dropped"),
            () = talk => {}
        }
    }

    #[test]
    fn a_stream_that_is_gone_leaves_nothing_behind() {
        let subscriptions = Arc::<Subscriptions>::default();
        let (mut one, mut other) = (subscriptions.subscribe(), subscriptions.subscribe());
        one.follow(ONE);
        other.follow(ONE);
        drop(one);
        subscriptions.bring(&both());
        assert_eq!(other.next().now_or_never(), Some(CommitEvent::Committed(keys(ONE, 0..3))));
        drop(other);
        let streams = subscriptions.streams();
        assert!(streams.all.is_empty() && streams.followers.is_empty(), "{streams:?}");
    }
}

//! Selectors that choose freely: each batch goes as a whole to one of the required channels,
//! whatever its content.
//!
//! They try the channels in some order, and the first one with room gets the batch. So a full or
//! failing channel blocks nothing while another one has room. The batches that it would have got
//! are spread over all others: no channel gets its whole share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipeline::env::Entropy;
use pipeline::{BuildContext, ChannelSelector, Events, FreeChoice, RequiredChannels};

/// Order in which channels are tried.
pub(super) enum Order {
    /// Order of the source's setting.
    AsNamed,
    /// Round robin.
    RoundRobin(AtomicUsize),
    /// Random, each order with equal probability.
    Random(Arc<dyn Entropy>),
}

impl Order {
    /// Starts at a random channel: agents that start together do not all use the same one first.
    pub(super) fn round_robin(entropy: &dyn Entropy) -> Self {
        Self::RoundRobin(AtomicUsize::new((entropy.next_u64() >> 32) as usize))
    }

    /// Returns the next order of `channels` channels.
    fn next(&self, channels: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..channels).collect();
        match self {
            Self::AsNamed => {}
            Self::RoundRobin(_) if channels < 2 => {}
            Self::RoundRobin(turn) => {
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                order.rotate_left(turn % channels);
                // The second channel changes in each round.
                order[1..].rotate_left(turn / channels % (channels - 1));
            }
            Self::Random(entropy) => {
                for left in (1..channels).rev() {
                    order.swap(left, (entropy.next_u64() % (left as u64 + 1)) as usize);
                }
            }
        }
        order
    }

    fn name(&self) -> &'static str {
        match self {
            Self::AsNamed => "priority",
            Self::RoundRobin(_) => "round robin",
            Self::Random(_) => "random",
        }
    }
}

/// Selector with a free choice.
pub(super) struct OneOf {
    order: Order,
    required: usize,
    channels: usize,
    setting: &'static str,
    instead: &'static str,
}

impl OneOf {
    /// Creates a selector over the required channels. `setting` enables the free choice; `instead`
    /// is the advice if the source does not permit it.
    pub(super) fn new(
        order: Order,
        channels: usize,
        (setting, instead): (&'static str, &'static str),
        cx: &BuildContext,
    ) -> Self {
        let required = cx.get::<RequiredChannels>().among(channels);
        Self { order, required, channels, setting, instead }
    }
}

impl ChannelSelector for OneOf {
    fn select(&self, events: &Events) -> Vec<Option<Events>> {
        vec![Some(events.clone()); self.channels]
    }

    fn free_choice(&self) -> Option<&dyn FreeChoice> {
        Some(self)
    }

    /// Batches are never split.
    fn splits(&self) -> bool {
        false
    }

    fn routing_header(&self) -> Option<&str> {
        None
    }

    fn routing_rule(&self, channels: &[Vec<String>]) -> String {
        let places = channels.iter().take(self.required);
        let places: Vec<String> =
            places.map(|datasets| super::behind(std::iter::once(datasets))).collect();
        format!("each batch by {} into one of: {}", self.order.name(), places.join(", "))
    }
}

impl FreeChoice for OneOf {
    fn order(&self) -> Vec<usize> {
        self.order.next(self.required)
    }

    fn setting(&self) -> &'static str {
        self.setting
    }

    fn instead(&self) -> &'static str {
        self.instead
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicU64;

    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    /// Deterministic random numbers from a seed.
    struct Seeded(AtomicU64);

    impl Entropy for Seeded {
        fn next_u64(&self) -> u64 {
            xxh3_64(&self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes())
        }
    }

    #[test]
    fn turns_are_even_and_what_goes_elsewhere_is_spread_over_the_others() {
        for first in [0, usize::MAX - 599] {
            let turns = Order::RoundRobin(AtomicUsize::new(first));
            let mut starts: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            for _ in 0..1_200 {
                let order = turns.next(4);
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, [0, 1, 2, 3]);
                *starts.entry((order[0], order[1])).or_default() += 1;
            }
            assert_eq!(starts.len(), 12, "each pair of a first and a second one");
            assert!(starts.values().all(|times| *times == 100), "{starts:?}");
        }
        let turns = Order::RoundRobin(AtomicUsize::new(5));
        let first: Vec<usize> = (0..6).map(|_| turns.next(3)[0]).collect();
        assert_eq!(first, [2, 0, 1, 2, 0, 1]);
        assert_eq!((turns.next(1), turns.next(0)), (vec![0], vec![]));
    }

    #[test]
    fn random_orders_come_from_the_world_and_each_is_as_likely() {
        let orders = |seed: u64| {
            let order = Order::Random(Arc::new(Seeded(AtomicU64::new(seed << 32))));
            (0..6_000).map(|_| order.next(3)).collect::<Vec<_>>()
        };
        let drawn = orders(1);
        assert_eq!(drawn, orders(1), "the same bits give the same orders");
        assert_ne!(drawn, orders(2));
        let mut times: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        drawn.into_iter().for_each(|order| *times.entry(order).or_default() += 1);
        assert_eq!(times.len(), 6);
        assert!(times.values().all(|times| (850..1_150).contains(times)), "{times:?}");
    }
}

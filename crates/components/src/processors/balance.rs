//! Balances batches among equivalent sinks.
//!
//! With `sticky`, all batches of an origin go to the same sink while it works (rendezvous hashing):
//! the hash of both names ranks the sinks for an origin, and the best working sink is used. This
//! needs no memory, spreads many origins evenly, gives the same result after a restart, and spreads
//! a failed sink's origins over all others until it works again; adding or removing a member moves
//! only its own origins. A discovered sink is identified by its address, not by its seat, and its
//! weight determines its share of the origins. Without an origin, or with `sticky` off, the policy
//! chooses a sink for each batch.

use std::sync::Arc;
use std::time::Duration;

use pipeline::env::Entropy;
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, MemberView, Origin, Report, Selection, SinkProcessor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::penalty::Penalties;
use super::{default_backoff_max, default_backoff_min, pauses, yes};

/// How a sink is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Policy {
    /// Round robin, from a random start.
    #[default]
    RoundRobin,
    /// A random sink.
    Random,
    /// The sink with the fewest bytes in flight.
    LeastLoaded,
}

/// Settings of a balanced group, a part of the settings of its processor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Balanced {
    /// Selection among sinks that share the work, for batches that are not selected by origin.
    #[serde(default)]
    policy: Policy,
    /// Whether batches of one origin stay with one sink while it works.
    #[serde(default = "yes")]
    sticky: bool,
    /// Backoff after the first failure of a sink; it doubles with each further failure.
    #[serde(default = "default_backoff_min")]
    backoff_min: Period,
    /// Longest backoff, also between two attempts to open a sink.
    #[serde(default = "default_backoff_max")]
    backoff_max: Period,
    /// Sinks of the group; a discovered sink occurs once for each place. Set by the agent.
    pub(super) sinks: Vec<String>,
}

impl Balanced {
    /// Creates the processor of these tiers, the best first.
    pub(super) fn tiered(
        self,
        tiers: Vec<Vec<usize>>,
        cx: &BuildContext,
    ) -> Result<Box<dyn SinkProcessor>, BuildError> {
        let pauses = pauses(self.backoff_min, self.backoff_max, cx)?;
        let penalties = Penalties::new(pauses, self.sinks.len());
        let entropy = cx.env.entropy.clone();
        let balance = Balance::new(self.policy, self.sticky, self.sinks, entropy);
        Ok(Box::new(Tiered { tiers, balance, penalties }))
    }
}

/// Chooses among equivalent sinks.
pub(super) struct Balance {
    policy: Policy,
    sticky: bool,
    /// Names of all sinks of the group, by index.
    sinks: Vec<String>,
    /// Index at which the next turn starts.
    next: usize,
    entropy: Arc<dyn Entropy>,
}

impl Balance {
    pub(super) fn new(
        policy: Policy,
        sticky: bool,
        sinks: Vec<String>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        // Start at a random sink, so that agents that start together do not all use the same one.
        let next = match sinks.len() {
            0 | 1 => 0,
            several => (entropy.next_u64() % several as u64) as usize,
        };
        Self { policy, sticky, sinks, next, entropy }
    }

    /// Chooses one of `live`; `None` if it is empty.
    pub(super) fn pick(
        &mut self,
        origin: Option<Origin>,
        live: &[usize],
        members: &[MemberView],
    ) -> Option<usize> {
        let best = origin.filter(|_| self.sticky).and_then(|origin| {
            let places = live.iter().map(|sink| (self.place(origin, *sink, members), *sink));
            places.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, sink)| sink)
        });
        best.or_else(|| self.by_policy(live, members))
    }

    /// Returns the rank of a sink for an origin: the highest one is used.
    fn place(&self, origin: Origin, sink: usize, members: &[MemberView]) -> f64 {
        match members.get(sink).and_then(|view| view.seat) {
            Some(seat) => place(origin, &seat.key.to_le_bytes(), seat.weight),
            None => place(origin, self.sinks[sink].as_bytes(), 1),
        }
    }

    fn by_policy(&mut self, live: &[usize], members: &[MemberView]) -> Option<usize> {
        let ready = |member: &usize| members.get(*member).is_some_and(|view| view.has_room);
        let roomy: Vec<usize> = live.iter().copied().filter(ready).collect();
        let among = if roomy.is_empty() { live } else { &roomy };
        // Start at the next turn, so that ties and gaps favour no sink.
        let turn = |member: usize| (member + self.sinks.len() - self.next) % self.sinks.len();
        let load = |member: usize| members.get(member).map_or(0, |view| view.unacknowledged_bytes);
        let chosen = match self.policy {
            Policy::RoundRobin => among.iter().copied().min_by_key(|member| turn(*member)),
            Policy::Random if among.is_empty() => None,
            Policy::Random => {
                let at = self.entropy.next_u64() % among.len() as u64;
                among.get(at as usize).copied()
            }
            Policy::LeastLoaded => {
                among.iter().copied().min_by_key(|member| (load(*member), turn(*member)))
            }
        }?;
        self.next = (chosen + 1) % self.sinks.len();
        Some(chosen)
    }
}

/// Chooses among the sinks of the best tier with a live one; among discovered sinks, of the best
/// priority with a live one. If the downstream agent of a live sink reports that it cannot store
/// events, open sinks without such a report come first, of any tier.
pub(super) struct Tiered {
    /// Members by index, the best tier first.
    pub(super) tiers: Vec<Vec<usize>>,
    pub(super) balance: Balance,
    pub(super) penalties: Penalties,
}

impl Tiered {
    /// Chooses one of the members for which `may` is true.
    fn pick(
        &mut self,
        origin: Option<Origin>,
        members: &[MemberView],
        may: &[bool],
    ) -> Option<usize> {
        let priority = |at: &usize| members[*at].seat.map_or(0, |seat| seat.priority);
        self.tiers.iter().find_map(|tier| {
            let mut live: Vec<usize> = tier.iter().copied().filter(|at| may[*at]).collect();
            if let Some(best) = live.iter().map(priority).min() {
                live.retain(|at| priority(at) == best);
            }
            self.balance.pick(origin, &live, members)
        })
    }
}

impl SinkProcessor for Tiered {
    fn select(
        &mut self,
        origin: Option<Origin>,
        members: &[MemberView],
        now: Instant,
    ) -> Selection {
        let live = members.iter().enumerate();
        let live =
            live.map(|(at, view)| self.penalties.is_live(at, view, now) && !view.is_too_small);
        let live: Vec<bool> = live.collect();
        let mut able = live.clone();
        if members.iter().zip(&live).any(|(view, live)| *live && view.is_unable) {
            let views = members.iter().zip(&mut able);
            views.for_each(|(view, may)| *may &= view.is_open && !view.is_unable);
        }
        let picked = self.pick(origin, members, &able);
        if let Some(member) = picked.or_else(|| self.pick(origin, members, &live)) {
            return Selection::Use(member);
        }
        Selection::WaitUntil(self.penalties.ask_again(now))
    }

    fn report(&mut self, member: usize, report: Report, now: Instant) {
        self.penalties.report(member, report, now);
    }

    fn penalty_ends(&self, member: usize) -> Option<Instant> {
        self.penalties.ends(member)
    }

    fn longest_pause(&self) -> Duration {
        self.penalties.longest_pause()
    }
}

/// FNV-1a over both names, then mixed with SplitMix64's finalizer so that every bit counts, and
/// scaled so that a sink of double weight ranks first twice as often.
fn place(origin: Origin, sink: &[u8], weight: u16) -> f64 {
    let hashed = origin.0.iter().chain(sink).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hashed ^ (hashed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mixed = mixed ^ (mixed >> 31);
    // Strictly between 0 and 1, and exact: a double has 53 bits.
    let share = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight.max(1)) / share.ln()
}

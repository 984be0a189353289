//! Order of turns: deficit round robin over tenants (Shreedhar and Varghese). Pure.
//!
//! ```text
//!   noisy   ▓▓▓ ▓▓▓ ▓▓▓ ▓▓▓ ▓▓▓ …         each round adds a quantum of bytes to a tenant's
//!   web-1   ▓                              credit; a waiting tenant keeps what it does not use
//!   web-2   ▓▓▓▓▓▓▓                        ──► noisy, web-1, noisy, web-2, noisy, noisy …
//! ```
//!
//! So each waiting tenant passes as many bytes as any other, times its weight, however many puts
//! and connections it has. Puts of one tenant pass in their order.

use std::collections::{BTreeMap, VecDeque};

use support::mutant;

/// Number of waiting puts from which a planted bug takes effect.
const MANY: usize = 100;

/// Bytes that a tenant of weight 1 may pass per round.
const QUANTUM_BYTES: u64 = 64 << 10;

/// Minimum cost of a put, which costs more than its bytes.
const COST_MIN_BYTES: u64 = 8 << 10;

/// Unique number of a tenant in its source.
pub(super) type Tenant = u64;

/// Number of a waiting put; increases.
pub(super) type Ticket = u64;

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(Ticket, u64)>,
    /// Bytes that it may pass now.
    deficit_bytes: u64,
    weight: u32,
}

/// The waiting puts.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    lines: BTreeMap<Tenant, Line>,
    /// Tenants with waiting puts, the next one first.
    order: VecDeque<Tenant>,
    next: Ticket,
}

impl Rotation {
    /// Adds a waiting put of `tenant`.
    pub(super) fn wait(&mut self, (tenant, weight): (Tenant, u32), bytes: u64) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        let line = self.lines.entry(tenant).or_insert_with(|| {
            self.order.push_back(tenant);
            Line::default()
        });
        line.weight = weight;
        line.waiting.push_back((ticket, bytes.max(COST_MIN_BYTES)));
        ticket
    }

    /// Removes a put without a turn.
    pub(super) fn leave(&mut self, tenant: Tenant, ticket: Ticket) {
        let Some(line) = self.lines.get_mut(&tenant) else { return };
        line.waiting.retain(|(other, _)| *other != ticket);
        if line.waiting.is_empty() {
            self.lines.remove(&tenant);
            self.order.retain(|other| *other != tenant);
        }
    }

    /// Removes and returns the next put.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        if mutant!("turns_as_they_come_when_many_wait") && self.len() >= MANY {
            let first = |(tenant, line): (&Tenant, &Line)| (line.waiting[0].0, *tenant);
            let (ticket, tenant) = self.lines.iter().map(first).min()?;
            self.leave(tenant, ticket);
            return Some(ticket);
        }
        loop {
            let tenant = *self.order.front()?;
            let line = self.lines.get_mut(&tenant).expect("a tenant in the order has a line");
            let (ticket, bytes) = *line.waiting.front().expect("a line is not empty");
            if bytes <= line.deficit_bytes {
                line.deficit_bytes -= bytes;
                self.leave(tenant, ticket);
                return Some(ticket);
            }
            line.deficit_bytes += QUANTUM_BYTES * u64::from(line.weight);
            self.order.rotate_left(1);
        }
    }

    /// Returns the number of waiting puts.
    pub(super) fn len(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    /// Returns the tenants of the next `turns` turns, in order.
    fn served(rotation: &mut Rotation, of: &BTreeMap<Ticket, Tenant>, turns: usize) -> Vec<Tenant> {
        (0..turns).map_while(|_| rotation.next()).map(|ticket| of[&ticket]).collect()
    }

    fn waiting(
        puts: impl IntoIterator<Item = (Tenant, u32, u64)>,
    ) -> (Rotation, BTreeMap<Ticket, Tenant>) {
        let (mut rotation, mut of) = (Rotation::default(), BTreeMap::new());
        for (tenant, weight, bytes) in puts {
            of.insert(rotation.wait((tenant, weight), bytes), tenant);
        }
        (rotation, of)
    }

    #[test]
    fn one_put_of_a_quiet_tenant_waits_for_a_round_and_not_for_all_that_came_before() {
        support::mutants::plant_by_environment();
        let noisy = (0..1_000).map(|_| (0, 1, 64 * KIB));
        let (mut rotation, of) = waiting(noisy.chain((1..100).map(|quiet| (quiet, 1, KIB))));
        let first = served(&mut rotation, &of, 110);
        assert_eq!(first.iter().filter(|tenant| **tenant > 0).count(), 99, "{first:?}");
        assert!(first.iter().filter(|tenant| **tenant == 0).count() <= 11, "{first:?}");
    }

    #[test]
    fn tenants_that_always_wait_pass_as_many_bytes_each_times_their_weight() {
        let sizes = [(1, 1, 300 * KIB), (2, 1, 9 * KIB), (3, 3, 64 * KIB)];
        let (mut rotation, of) = waiting((0..9_000).flat_map(|_| sizes).collect::<Vec<_>>());
        let mut bytes = BTreeMap::<Tenant, u64>::new();
        for tenant in served(&mut rotation, &of, 2_000) {
            *bytes.entry(tenant).or_default() += sizes[tenant as usize - 1].2;
        }
        let one = bytes[&1] as f64;
        for (tenant, share) in [(2, 1.0), (3, 3.0)] {
            let ratio = bytes[&tenant] as f64 / one;
            assert!((ratio - share).abs() < 0.1, "{tenant}: {ratio}, {bytes:?}");
        }
    }

    #[test]
    fn a_tenant_keeps_its_order_and_what_leaves_gets_no_turn() {
        let (mut rotation, _) = waiting([(1, 1, KIB), (1, 1, 99 * KIB), (2, 1, KIB), (1, 1, KIB)]);
        rotation.leave(2, 2);
        assert_eq!(rotation.len(), 3);
        let order: Vec<Ticket> = std::iter::from_fn(|| rotation.next()).collect();
        assert_eq!(order, [0, 1, 3]);
        assert!(rotation.lines.is_empty() && rotation.order.is_empty());
        rotation.leave(1, 0);
        assert_eq!(rotation.next(), None);
    }
}

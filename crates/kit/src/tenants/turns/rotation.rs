//! In which order those that wait get their turn: deficit round robin over their tenants (Shreedhar
//! and Varghese). Pure.
//!
//! ```text
//!   noisy   ▓▓▓ ▓▓▓ ▓▓▓ ▓▓▓ ▓▓▓ …         each round a tenant may pass a quantum of bytes more;
//!   web-1   ▓                              what it does not use is carried over while it waits
//!   web-2   ▓▓▓▓▓▓▓                        ──► noisy, web-1, noisy, web-2, noisy, noisy …
//! ```
//!
//! So each tenant that waits passes as many bytes as any other one, times its weight, however many
//! puts of however many connections it has there. Those of one tenant pass in their order.

use std::collections::{BTreeMap, VecDeque};

use support::mutant;

/// What a planted bug takes for nearly full.
const MANY: usize = 100;

/// Bytes that a tenant of weight 1 may pass in each round.
const QUANTUM_BYTES: u64 = 64 << 10;

/// Bytes that the smallest put counts for: a put has costs besides its bytes.
const COST_MIN_BYTES: u64 = 8 << 10;

/// A tenant, by a number that no other tenant of the source has.
pub(super) type Tenant = u64;

/// A ticket: rises with each that waits.
pub(super) type Ticket = u64;

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(Ticket, u64)>,
    /// Bytes that it may pass now.
    deficit_bytes: u64,
    weight: u32,
}

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    lines: BTreeMap<Tenant, Line>,
    /// Tenants for which something waits, the next one first.
    order: VecDeque<Tenant>,
    next: Ticket,
}

impl Rotation {
    /// A put of `tenant` waits from now on.
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

    /// A put waits no more.
    pub(super) fn leave(&mut self, tenant: Tenant, ticket: Ticket) {
        let Some(line) = self.lines.get_mut(&tenant) else { return };
        line.waiting.retain(|(other, _)| *other != ticket);
        if line.waiting.is_empty() {
            self.lines.remove(&tenant);
            self.order.retain(|other| *other != tenant);
        }
    }

    /// The next one whose turn it is; it waits no more.
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

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    /// The tenants in the order of their turns, `turns` of them.
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

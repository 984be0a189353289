//! Addresses keep their seats, and a failed lookup removes no member.
//!
//! Method: the seating gets answers and departures in any order, compared with a model that only
//! has the set of addresses in the last answer. Queries use a table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use async_trait::async_trait;
use pipeline::env::Service;
use proptest::prelude::*;

use super::*;

fn answer(addresses: &[&str]) -> Vec<Found> {
    addresses.iter().map(|address| Found::plain(address)).collect()
}

fn seated(seating: &Seating) -> Vec<Option<String>> {
    let assignment = |seat| seating.assignment(seat).map(|found| found.address.to_string());
    (0..seating.seats()).map(assignment).collect()
}

#[test]
fn departed_peers_leave_before_waiting_ones_join() {
    let (mut seating, now) = (Seating::new(2), Instant::now());
    seating.found(answer(&["b:1", "a:1"]), now);
    let [a, b] = ["a:1", "b:1"].map(|address| Some(address.to_owned()));
    assert_eq!(seated(&seating), [a, b.clone()]);
    let changes = seating.found(answer(&["b:1", "c:1"]), now);
    assert_eq!(changes, [Change::Leaving("a:1".into())]);
    assert_eq!(seating.counts(), Counts { present: 1, leaving: 1, waiting: 1 });
    assert!(!seating.view(0).is_present && seating.view(1).is_present);
    let before = seating.view(0);
    seating.left(0);
    assert_eq!(seated(&seating), [Some("c:1".to_owned()), b]);
    let after = seating.view(0);
    assert!(
        after.is_present && after.generation == before.generation + 1 && after.key != before.key
    );
}

#[test]
fn a_peer_that_returns_before_it_left_stays_and_later_is_new() {
    let (mut seating, now) = (Seating::new(1), Instant::now());
    seating.found(answer(&["a:1"]), now);
    let first = seating.view(0);
    seating.found(answer(&["b:1"]), now);
    let changes = seating.found(answer(&["a:1"]), now);
    assert_eq!((changes, seating.view(0)), (vec![Change::Returned("a:1".into())], first));
    // Its sink had already closed, and reports it now.
    seating.left(0);
    assert_eq!(seating.view(0), SeatView { generation: first.generation + 1, ..first });
}

#[test]
fn the_best_get_the_seats_and_nobody_is_turned_out_for_a_better_one() {
    let (mut seating, now) = (Seating::new(2), Instant::now());
    let of = |address: &str, priority| Found { priority, ..Found::plain(address) };
    seating.found(vec![of("a:1", 9), of("b:1", 5), of("c:1", 1)], now);
    let expected = ["c:1", "b:1"].map(|address| Some(address.to_owned()));
    assert_eq!(seated(&seating), expected);
    seating.found(vec![of("a:1", 0), of("b:1", 5), of("c:1", 7)], now);
    assert_eq!(seated(&seating), expected);
    assert_eq!(seating.view(0).priority, 7, "what is said of it now counts");
}

#[test]
fn a_query_is_written_in_two_ways_and_all_else_is_refused_with_an_example() {
    for text in ["dns:collectors.logs.svc:4141", "srv:_aqueduct._tcp.logs.svc"] {
        assert_eq!(text.parse::<Query>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "collectors:4141",
        "dns:collectors",
        "dns::1",
        "dns:a:0",
        "dns:a b:1",
        "srv:",
        "srv:a:1",
    ] {
        let problem = text.parse::<Query>().unwrap_err();
        assert!(problem.contains("srv:_aqueduct._tcp.example.org"), "{text}: {problem}");
    }
}

/// Gives the same answer to every query.
struct Table(Vec<IpAddr>, Vec<Service>);

#[async_trait]
impl Names for Table {
    async fn addresses(&self, _: &str, _: Option<SocketAddr>) -> io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }

    async fn services(&self, _: &str, _: Option<SocketAddr>) -> io::Result<Vec<Service>> {
        Ok(self.1.clone())
    }
}

#[tokio::test]
async fn a_host_with_addresses_of_both_families_is_not_there_twice() {
    let addresses = ["::2", "10.0.0.1", "::1", "::2"].map(|text| text.parse().unwrap());
    let table = Table(addresses.to_vec(), Vec::new());
    let query: Query = "dns:c:4141".parse().unwrap();
    let found = query.look_up(&table, None).await.unwrap();
    assert_eq!(found, answer(&["[::1]:4141", "[::2]:4141"]));
}

#[tokio::test]
async fn targets_keep_their_priority_and_an_empty_result_is_an_error() {
    let service =
        |host: &str, priority| Service { host: host.into(), port: 7, priority, weight: 3 };
    let table = Table(Vec::new(), vec![service("b", 2), service("", 0), service("a", 1)]);
    let query: Query = "srv:_aqueduct._tcp.c".parse().unwrap();
    let found = query.look_up(&table, None).await.unwrap();
    let said: Vec<_> = found.iter().map(|f| (&*f.address, f.priority, f.weight)).collect();
    assert_eq!(said, [("a:7", 1, 3), ("b:7", 2, 3)]);
    let empty = Table(Vec::new(), vec![service("", 0)]);
    let error = query.look_up(&empty, None).await.unwrap_err();
    assert!(error.to_string().contains("srv:_aqueduct._tcp.c"), "{error}");
}

#[tokio::test]
async fn whoever_waits_at_a_seat_hears_of_each_change() {
    let discovery = Discovery { query: "dns:c:1".parse().unwrap(), server: None };
    let board = SeatBoard::new(discovery, 1);
    let seat = board.seats().next().unwrap();
    let seen = seat.view();
    let waiting = tokio::spawn({
        let seat = seat.clone();
        async move { seat.changed(&seen).await }
    });
    tokio::task::yield_now().await;
    board.found(answer(&["a:1"]), Instant::now());
    assert!(waiting.await.unwrap().is_present);
    assert_eq!(seat.assignment().unwrap().address, "a:1".into());
}

#[derive(Debug, Clone)]
enum Op {
    Found(BTreeSet<u8>),
    Left(usize),
}

proptest! {
    /// In any order: rules 1 to 4, and no seat changes its assignment without a new generation.
    #[test]
    fn every_address_sits_once_and_stays_until_its_sink_has_let_go(
        seats in 1..5_usize,
        ops in prop::collection::vec(prop_oneof![
            3 => prop::collection::btree_set(0..7_u8, 0..7).prop_map(Op::Found),
            2 => (0..5_usize).prop_map(Op::Left),
        ], 1..60)
    ) {
        let (mut seating, now) = (Seating::new(seats), Instant::now());
        let mut last: BTreeSet<String> = BTreeSet::new();
        for op in ops {
            let (before, views) = (seated(&seating), views(&seating));
            match op {
                Op::Found(addresses) => {
                    let addresses: BTreeSet<String> =
                        addresses.iter().map(|number| format!("{number}:1")).collect();
                    let found = addresses.iter().map(|address| Found::plain(address));
                    seating.found(found.rev().collect(), now);
                    if addresses.is_empty() {
                        prop_assert_eq!(&views, &self::views(&seating), "none found, none moved");
                    } else {
                        last = addresses;
                    }
                    for (was, is) in before.iter().zip(seated(&seating)) {
                        prop_assert!(was.is_none() || *was == is, "a lookup never empties a seat");
                    }
                }
                Op::Left(seat) => {
                    let seat = seat % seats;
                    seating.left(seat);
                    let is_back = views[seat].is_present;
                    prop_assert!(!is_back || seated(&seating)[seat] == before[seat]);
                    prop_assert_eq!(seating.view(seat).generation, views[seat].generation + 1);
                }
            }
            let now_seated = seated(&seating);
            let mut places: BTreeMap<&String, usize> = BTreeMap::new();
            for (seat, address) in now_seated.iter().enumerate() {
                let view = seating.view(seat);
                let generation = views.get(seat).map_or(0, |view: &SeatView| view.generation);
                prop_assert!(view.generation > generation
                    || before[seat].is_none() || before[seat] == *address);
                let Some(address) = address else {
                    prop_assert!(!view.is_present && seating.counts().waiting == 0);
                    continue;
                };
                prop_assert_eq!(places.insert(address, seat), None, "one seat at most");
                prop_assert_eq!(view.is_present, last.contains(address), "the last answer counts");
            }
            let Counts { present, waiting, .. } = seating.counts();
            prop_assert_eq!(present + waiting, last.len(), "none is forgotten");
        }
    }
}

fn views(seating: &Seating) -> Vec<SeatView> {
    (0..seating.seats()).map(|seat| seating.view(seat)).collect()
}

//! Tenants: random sequences of use and release, compared with a model that has a rate and two
//! counts for each tenant.

use std::time::Duration;

use proptest::prelude::*;
use tls::ClientNames;
use tokio::time::sleep;

use super::*;

fn peer(address: &str) -> Peer {
    Peer { address: address.into(), names: ClientNames::default() }
}

/// Memory that all tenants of these tests share.
const IN_FLIGHT_MAX: u64 = 120;

fn registry(settings: serde_json::Value) -> Arc<Registry> {
    let settings = serde_json::from_value(settings).unwrap();
    let settings = (settings, BacklogLimits::default());
    Registry::new((&"in".into(), &Metrics::default()), settings, IN_FLIGHT_MAX)
}

#[test]
fn connections_of_one_host_are_one_tenant_and_share_what_it_gets() {
    let registry = registry(serde_json::json!({
        "connections_max": 2, "names": { "10.0.0.9": { "connections_max": 3, "weight": 5 } },
    }));
    let now = Instant::now();
    let enter = |address: &str| registry.enter(&peer(address), now);
    let other = enter("10.0.0.2:1");
    let mut own: Vec<Member> = (1..3).map(|n| enter(&format!("10.0.0.1:{n}"))).collect();
    assert_eq!((other.share(), own[0].share()), (60, 30));
    assert!(own[0].turn == own[1].turn && own[0].turn != other.turn);
    assert!(own.iter().all(|it| it.check().is_ok() && it.check().is_ok()));
    own.push(enter("10.0.0.1:9"));
    let said = own[2].check().unwrap_err().to_string();
    assert!(said.contains("`10.0.0.1` has 3 connections, over its limit of 2"), "{said}");
    drop(own);
    assert_eq!(other.share(), 120);
    let named: Vec<Member> = (1..4).map(|n| enter(&format!("10.0.0.9:{n}"))).collect();
    assert!(named.iter().all(|it| it.check().is_ok() && it.turn.1 == 5));
}

#[tokio::test(start_paused = true)]
async fn a_rate_counts_for_all_connections_of_a_tenant_and_over_its_returns() {
    let registry = registry(serde_json::json!({ "bytes_per_second": "1000B" }));
    let began = Instant::now();
    for n in 0..20 {
        let one = registry.enter(&peer(&format!("10.0.0.1:{n}")), Instant::now());
        one.pass(1_000).await;
    }
    let took = began.elapsed().as_secs_f64();
    assert!((17.9..19.1).contains(&took), "{took}");
    let other = registry.enter(&peer("10.0.0.2:1"), Instant::now());
    other.pass(1_000).await;
    assert!(!other.has_to_wait(Instant::now()), "it has a rate of its own");
    other.count(1_000_000, 0, Instant::now());
    assert!(!other.has_to_wait(Instant::now()), "none of events");
}

#[tokio::test(start_paused = true)]
async fn tenants_that_are_gone_are_forgotten_once_their_rates_have_recovered() {
    let registry = registry(serde_json::json!({ "events_per_second": 10 }));
    let gone = registry.enter(&peer("10.0.0.1:1"), Instant::now());
    gone.count(100, 0, Instant::now());
    drop(gone);
    let enter = |n: u32| registry.enter(&peer(&format!("10.0.1.{n}:1")), Instant::now());
    for n in 0..100 {
        drop(enter(n));
    }
    assert_eq!(registry.known().all.len(), 2);
    sleep(Duration::from_secs(11)).await;
    drop(enter(0));
    assert_eq!(registry.known().all.len(), 1);
}

/// Number of tenants with connections and messages.
const TENANTS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Enter(usize),
    Leave(usize),
    Work(usize, u64),
    Done(usize),
    Give(usize, u64, u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..TENANTS).prop_map(Step::Enter),
        2 => any::<usize>().prop_map(Step::Leave),
        3 => (any::<usize>(), 0..50_u64).prop_map(|(at, bytes)| Step::Work(at, bytes)),
        3 => any::<usize>().prop_map(Step::Done),
        4 => (any::<usize>(), 0..3_000_u64, 0..300_u64).prop_map(|(at, b, e)| Step::Give(at, b, e)),
        3 => (0..3_000_u64).prop_map(Step::Wait),
    ]
}

/// State of one tenant: rates that are never forgotten, and unreleased resources.
struct Model {
    connections: u32,
    in_work: u64,
    bytes: Bucket,
    events: Bucket,
}

impl Model {
    fn wait(&mut self, now: Instant) -> Duration {
        self.bytes.wait(now).max(self.events.wait(now)).unwrap_or_default()
    }
}

fn name(tenant: usize) -> String {
    format!("10.0.0.{tenant}")
}

/// Checks that the registry agrees with the model about each tenant.
fn agree(registry: &Registry, members: &[(usize, Member)], model: &mut [Model], now: Instant) {
    let (_, listed) = registry.read(TENANTS, now);
    let connected = model.iter().filter(|it| it.connections > 0).count() as u64;
    for (tenant, model) in model.iter_mut().enumerate() {
        let shown = listed.iter().find(|it| it.name == name(tenant));
        let shown = shown.map_or((0, 0), |it| (it.connections, it.in_work_bytes));
        assert_eq!(shown, (model.connections, model.in_work), "given back: {}", name(tenant));
        for (_, member) in members.iter().filter(|(of, _)| *of == tenant) {
            let share = IN_FLIGHT_MAX / connected / u64::from(model.connections);
            assert_eq!(member.share(), share, "{}", name(tenant));
            let waits = member.take(0, now).err().unwrap_or_default();
            // Each read of a bucket rounds.
            let differs = waits.abs_diff(model.wait(now));
            assert!(differs <= Duration::from_millis(2), "charged: {}: {waits:?}", name(tenant));
        }
    }
}

fn play(steps: Vec<Step>) {
    let registry = registry(serde_json::json!({
        "bytes_per_second": "1000B", "events_per_second": 100,
    }));
    let mut now = Instant::now();
    let (mut members, mut in_work) = (Vec::<(usize, Member)>::new(), Vec::new());
    let one = || Model {
        connections: 0,
        in_work: 0,
        bytes: Bucket::new(1_000, now),
        events: Bucket::new(100, now),
    };
    let mut model: Vec<Model> = (0..TENANTS).map(|_| one()).collect();
    for step in steps {
        match step {
            Step::Enter(tenant) => {
                members.push((tenant, registry.enter(&peer(&format!("{}:9", name(tenant))), now)));
                model[tenant].connections += 1;
            }
            Step::Leave(at) if !members.is_empty() => {
                let (tenant, _) = members.swap_remove(at % members.len());
                model[tenant].connections -= 1;
            }
            Step::Work(at, bytes) if !members.is_empty() => {
                let (tenant, member) = &members[at % members.len()];
                in_work.push((*tenant, bytes, member.in_work(bytes)));
                model[*tenant].in_work += bytes;
            }
            Step::Done(at) if !in_work.is_empty() => {
                let (tenant, bytes, mut work) = in_work.swap_remove(at % in_work.len());
                work.keep(bytes / 2);
                model[tenant].in_work -= bytes;
            }
            Step::Give(at, bytes, events) if !members.is_empty() => {
                let (tenant, member) = &members[at % members.len()];
                member.charge(bytes, now);
                member.count(events, bytes, now);
                model[*tenant].bytes.charge(bytes, now);
                model[*tenant].events.charge(events, now);
            }
            Step::Wait(millis) => now += Duration::from_millis(millis),
            _ => {}
        }
        agree(&registry, &members, &mut model, now);
    }
    drop((members, in_work));
    assert_eq!(registry.known().connected, 0);
    let (_, listed) = registry.read(TENANTS, now);
    for it in listed {
        assert_eq!((it.connections, it.in_work_bytes), (0, 0), "given back: {}", it.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_taken_is_given_back_and_charged_to_its_tenant_alone(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        support::mutants::plant_by_environment();
        play(steps);
    }
}

#[test]
fn a_limit_that_is_reached_is_counted_with_its_first_and_last_time() {
    let metrics = Metrics::default();
    let settings = serde_json::json!({
        "connections_max": 1, "message_max": "10B", "names": { "10.0.0.1": { "weight": 2 } },
    });
    let settings: Tenants = serde_json::from_value(settings).unwrap();
    let settings = (settings, BacklogLimits::default());
    let registry = Registry::new((&"in".into(), &metrics), settings, IN_FLIGHT_MAX);
    let now = Instant::now();
    let [one, second] = [1, 2].map(|n| registry.enter(&peer(&format!("10.0.0.1:{n}")), now));
    assert!(one.ask(now).is_ok() && second.check().is_err() && second.ask(now).is_err());
    assert_eq!(second.message_max(99), 10);
    let said = second.too_large().unwrap().to_string();
    assert!(said.contains("exceeds its limit of 10 bytes"), "{said}");
    drop(one);
    assert!(second.check().is_ok(), "a place is free");
    second.count(7, 5, now);
    let later = now + Duration::from_secs(60);
    let (count, listed) = registry.read(9, later);
    let it = &listed[0];
    assert_eq!((count, &*it.name, it.weight, it.connections), (1, "10.0.0.1", 2, 1));
    assert_eq!((it.connections_max, it.message_max_bytes), (Some(1), Some(10)));
    assert_eq!(it.limited["connections"].times, 2);
    assert!(it.limited["message"].last_seconds_ago > 50.0, "{it:?}");
    let text = metrics.text();
    for line in [
        "aqueduct_tenant_connections{source=\"in\",tenant=\"10.0.0.1\"} 1",
        "aqueduct_tenant_events_total{source=\"in\",tenant=\"10.0.0.1\"} 7",
        "aqueduct_tenant_bytes_total{source=\"in\",tenant=\"10.0.0.1\"} 5",
        "limited_total{source=\"in\",tenant=\"10.0.0.1\",reason=\"connections\"} 2",
        "anomalies_total{source=\"in\",reason=\"tenant_connections\"} 2",
        "anomalies_total{source=\"in\",reason=\"tenant_message\"} 1",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
    }
}

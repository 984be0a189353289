//! Goal: a collector that the lookup finds is a member. One that it no longer finds stays a member
//! until all its batches are settled, or returned after a time limit. A failed lookup changes
//! nothing. Method: a sink of one seat, and real sources on loopback, whose addresses are in a
//! table of names.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use ::peers::Seat;
use async_trait::async_trait;
use pipeline::env::{Names, Service};
use pipeline::testkit::build;
use pipeline::{BuildContext, Env, Sink};

use super::*;

/// Addresses of the service; `None`: the lookup fails.
#[derive(Default)]
struct Table(Mutex<Option<Vec<String>>>);

#[async_trait]
impl Names for Table {
    async fn addresses(&self, host: &str, _: Option<SocketAddr>) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::new(io::ErrorKind::NotFound, host.to_owned()))
    }

    async fn services(&self, name: &str, _: Option<SocketAddr>) -> io::Result<Vec<Service>> {
        let known = self.0.lock().unwrap().clone();
        let known = known.ok_or_else(|| io::Error::other(format!("{name}: no answer")))?;
        let service = |address: &String| {
            let (host, port) = address.rsplit_once(':').unwrap();
            let (host, port) = (host.to_owned(), port.parse().unwrap());
            Service { host, port, priority: 0, weight: 1 }
        };
        Ok(known.iter().map(service).collect())
    }
}

impl Table {
    fn set(&self, addresses: Option<&[&str]>) {
        *self.0.lock().unwrap() =
            addresses.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
    }
}

struct World {
    table: Arc<Table>,
    cx: BuildContext,
    sink: Box<dyn Sink>,
}

fn world(drain_max: &str) -> World {
    let table = Arc::new(Table::default());
    let env = Env { names: table.clone(), ..env::real() };
    let cx = BuildContext::alone("out", &std::env::temp_dir(), env);
    let settings = json!({
        "discover": "srv:_aqueduct._tcp.test", "discover_every": "1s", "discover_max": 1,
        "drain_max": drain_max,
    });
    let sink = build::<components_grpc::sink::Config>(&settings, &cx).unwrap();
    World { table, cx, sink }
}

async fn collector(env: &Env) -> (Arc<Memory>, pair::Running) {
    let memory = Memory::new();
    let source = start_source(env, memory.clone(), &free_address().to_string(), json!({}));
    (memory, source)
}

impl World {
    async fn open(&mut self) {
        within(async {
            while self.sink.open().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Waits until the seat has its next generation, like the group's runner.
    async fn until_left(&mut self, verdicts: &mut Verdicts) {
        let seat = self.sink.extensions().find::<Seat>().unwrap();
        let generation = seat.view().generation;
        within(async {
            while seat.view().generation == generation {
                tokio::select! {
                    settlement = self.sink.settled() => verdicts.add(settlement),
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_member_that_left_and_gives_its_seat_to_the_next() {
    let mut world = world("1h");
    let env = world.cx.env.clone();
    let ((one, first), (other, second)) = (collector(&env).await, collector(&env).await);
    world.table.set(Some(&[&first.address]));
    world.open().await;
    write(&mut *world.sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *world.sink, |v| v.stored == set(0..5)).await;

    // Neither a failure nor an empty answer changes anything.
    let seat = world.sink.extensions().find::<Seat>().unwrap();
    for lookup in [None, Some(&[][..])] {
        world.table.set(lookup);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(seat.view().is_present);
    }
    world.table.set(Some(&[&second.address]));
    within(async {
        while seat.view().is_present {
            seat.changed(&seat.view()).await;
        }
    })
    .await;
    // New batches are returned, which is not a failure.
    write(&mut *world.sink, 5..6).await;
    verdicts.until(&mut *world.sink, |v| v.again == set(5..6)).await;
    assert_eq!((seat.view().generation, verdicts.failures.len()), (0, 0), "it has not let go");
    one.commit_all();
    world.until_left(&mut verdicts).await;
    assert_eq!(verdicts.delivered, set(0..5));

    world.open().await;
    write(&mut *world.sink, 5..8).await;
    verdicts.until(&mut *world.sink, |v| v.stored == set(0..8)).await;
    assert_eq!((one.batches().len(), other.batches().len()), (5, 3));
    world.sink.close().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_batches_that_a_departed_member_does_not_settle_in_time() {
    let mut world = world("200ms");
    let env = world.cx.env.clone();
    let ((_one, first), (_other, second)) = (collector(&env).await, collector(&env).await);
    world.table.set(Some(&[&first.address]));
    world.open().await;
    write(&mut *world.sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *world.sink, |v| v.stored == set(0..5)).await;
    world.table.set(Some(&[&second.address]));
    world.until_left(&mut verdicts).await;
    assert_eq!((verdicts.again, verdicts.failures), (set(0..5), Vec::<String>::new()));
    world.sink.close().await;
}

#[test]
fn an_address_and_a_lookup_exclude_each_other_and_one_is_needed() {
    let cx = BuildContext::alone("out", &std::env::temp_dir(), env::real());
    for (settings, path) in [
        (json!({}), "address"),
        (json!({ "address": "c:1", "discover": "dns:c:1" }), "discover"),
        (json!({ "discover": "c:1" }), "discover"),
        (json!({ "discover": "dns:c:1", "discover_every": "10ms" }), "discover_every"),
        (json!({ "discover": "dns:c:1", "discover_max": 0 }), "discover_max"),
    ] {
        let built = build::<components_grpc::sink::Config>(&settings, &cx);
        assert_eq!(built.err().unwrap().path, path, "{settings}");
    }
}

#[test]
fn rejects_settings_that_need_dns_in_a_program_without_it() {
    let env = Env { names: Arc::new(env::HostNames), ..env::real() };
    let cx = BuildContext::alone("out", &std::env::temp_dir(), env);
    let build =
        |settings: &serde_json::Value| build::<components_grpc::sink::Config>(settings, &cx);
    assert!(build(&json!({ "discover": "dns:c:1" })).is_ok());
    for (settings, path) in [
        (json!({ "discover": "srv:_a._tcp.c" }), "discover"),
        (json!({ "discover": "dns:c:1", "discover_server": "127.0.0.1:53" }), "discover_server"),
    ] {
        let error = build(&settings).err().unwrap();
        assert_eq!(error.path, path, "{settings}");
        assert!(error.to_string().contains("`aqueduct-collector`"), "{error}");
    }
}

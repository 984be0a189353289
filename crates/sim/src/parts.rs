//! The catalogue of the simulated agents: the production components except for two. The sink `hdfs`
//! uses the simulated store, and the source `client` is a sender that cannot resend.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use components::sources::sequence;
use components_files::tail_dir;
use components_grpc::{sink as grpc_sink, source as grpc_source};
use components_hdfs::hdfs;
use pipeline::component::entry;
use pipeline::{
    BatchBuilder, BuildContext, BuildError, Catalogue, Component, Entry, Group, Guarantee, Sink,
    Source, SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::machine::Machine;
use crate::store::Store;

type Machines = BTreeMap<Arc<str>, Arc<Machine>>;

/// The cluster of this process, for the component constructors, which are plain functions.
static CLUSTER: OnceLock<(Store, Machines)> = OnceLock::new();

/// Sets the store and the machines for all agents built later.
///
/// # Panics
/// If it is called twice: a process runs one seed.
pub(crate) fn place(store: Store, machines: Vec<Arc<Machine>>) {
    let machines = machines.into_iter().map(|machine| (machine.name.clone(), machine)).collect();
    assert!(CLUSTER.set((store, machines)).is_ok(), "a process runs one seed");
}

fn cluster(cx: &BuildContext) -> (&'static Store, &'static Arc<Machine>) {
    let (store, machines) = CLUSTER.get().expect("agents are built after the cluster");
    (store, &machines[&cx.env.host])
}

/// The `hdfs` sink over the simulated store.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct StoreSink(hdfs::Config);

impl Component for StoreSink {
    const KIND: &'static str = hdfs::Config::KIND;
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let (store, machine) = cluster(cx);
        let (machine, env) = (machine.clone(), cx.env.clone());
        self.0.build_over(cx, move || store.seen_from(&machine, &env), store.compact_after())
    }
}

/// Settings of the `client` source: one whose events come from a sender that sends each of them
/// once, and forgets it. The promise is about what was answered as stored.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Client {
    /// Events in all.
    count: u64,
    /// Size of each body in bytes.
    size: usize,
    /// Milliseconds between two batches.
    pause_millis: u64,
}

impl Component for Client {
    const KIND: &'static str = "client";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let (_, machine) = cluster(cx);
        Ok(Box::new(Sender { settings: self, machine: machine.clone() }))
    }
}

struct Sender {
    settings: Client,
    machine: Arc<Machine>,
}

#[async_trait]
impl Source for Sender {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let Client { count, size, pause_millis } = self.settings;
        while !cx.stop.is_cancelled() {
            let offered = self.machine.offer(count);
            if !offered.is_empty() {
                let mut batch = BatchBuilder::default();
                for number in offered.clone() {
                    let lane = (number % 3).to_string();
                    batch.push(format!("{number:.<size$}").as_bytes(), &[("lane", &lane)]);
                }
                if cx.intake.accept(batch.finish()).await.is_ok() {
                    self.machine.accepted(offered);
                }
            }
            let pause = tokio::time::sleep(Duration::from_millis(pause_millis));
            cx.stop.run_until_cancelled(pause).await;
        }
        Ok(())
    }
}

static SOURCES: &[Entry<dyn Source>] = &[
    entry::<grpc_source::Config>(),
    entry::<sequence::Config>(),
    entry::<tail_dir::Config>(),
    entry::<Client>(),
];

static SINKS: &[Entry<dyn Sink>] = &[entry::<grpc_sink::Config>(), entry::<StoreSink>()];

static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: None,
    sources: SOURCES,
    interceptors: components::interceptors::ALL,
    conditions: &[],
    selectors: components::selectors::ALL,
    channels: components::CHANNELS,
    processors: components::processors::ALL,
    sinks: SINKS,
    encoders: formats::encoders::ALL,
    codecs: formats::codecs::ALL,
    decoders: formats::decoders::ALL,
    framings: formats::framings::ALL,
};

/// The components of the simulated agents.
pub(crate) const CATALOGUE: Catalogue =
    Catalogue { groups: &[&GROUP, &components_parquet::GROUP], unavailable: &[] };

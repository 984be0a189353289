//! The fault of a round, and its repair.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::mounted::Mounted;
use aqueduct_tests::wait;
use clap::ValueEnum;
use rand::prelude::*;
use rustix::process::{Signal, getuid};
use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::proxy::{Mode, Proxy};
use crate::store::{DATANODES, Form};

/// Longer than every timeout in the cluster's settings, and than resending to another collector.
const LONGER_THAN_ANY_TIMEOUT: Duration = Duration::from_secs(9);

/// How often an edge is started while its disk is full.
const STARTS_WHILE_FULL: u32 = 3;
/// Timeout until it accepts events while its disk is still full.
const TAKES_IN_LIMIT: Duration = Duration::from_secs(60);

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// kill -9 of an edge.
    KillEdge,
    /// kill -9 of a collector.
    KillCollector,
    /// An edge stands still for longer than every timeout.
    FreezeEdge,
    /// A collector stands still for longer than every timeout, then goes on as a zombie.
    FreezeCollector,
    /// Puts reach a collector, its answers do not come back; then the connection breaks.
    CutAnswers,
    /// Nothing passes between the edges and a collector, and nothing breaks either.
    Partition,
    /// A collector loses its disk.
    WipeCollector,
    /// A collector's disk is full.
    FillDisk,
    /// An edge's disk is full while it is killed again and again and no collector is there.
    FillEdgeDisk,
    /// kill -9 of a DataNode.
    KillDatanode,
    /// kill -9 of the NameNode.
    RestartNamenode,
}

impl Fault {
    /// All kinds.
    pub(crate) const ALL: [Self; 11] = [
        Self::KillEdge,
        Self::KillCollector,
        Self::FreezeEdge,
        Self::FreezeCollector,
        Self::CutAnswers,
        Self::Partition,
        Self::WipeCollector,
        Self::FillDisk,
        Self::FillEdgeDisk,
        Self::KillDatanode,
        Self::RestartNamenode,
    ];

    /// Returns whether it is possible here, with such a store.
    pub(crate) fn is_possible(self, form: Form) -> bool {
        match self {
            Self::FillDisk | Self::FillEdgeDisk => getuid().is_root(),
            Self::KillDatanode | Self::RestartNamenode => form != Form::Bucket,
            _ => true,
        }
    }

    /// Injects and repairs it. Returns what was hit.
    ///
    /// # Panics
    ///
    /// When a process exits unexpectedly, or does not restart.
    pub(crate) fn strike(self, cluster: &mut Cluster, rng: &mut StdRng) -> String {
        let edge = rng.random_range(0..cluster.edges.len());
        let collector = match self {
            Self::FillDisk => Cluster::ON_SMALL_DISK,
            _ => rng.random_range(0..cluster.collectors.len()),
        };
        let down = Duration::from_millis(rng.random_range(0..3_000));
        match self {
            Self::KillEdge => {
                cluster.edges[edge].kill();
                thread::sleep(down);
                cluster.edges[edge].start();
                format!("edge-{}, down for {down:?}", edge + 1)
            }
            Self::KillCollector => {
                cluster.collectors[collector].kill();
                thread::sleep(down);
                cluster.collectors[collector].start();
                format!("collector-{}, down for {down:?}", collector + 1)
            }
            Self::FreezeEdge | Self::FreezeCollector => {
                let (name, agent) = match self {
                    Self::FreezeEdge => ("edge", &mut cluster.edges[edge]),
                    _ => ("collector", &mut cluster.collectors[collector]),
                };
                agent.process().signal(Signal::STOP);
                thread::sleep(LONGER_THAN_ANY_TIMEOUT);
                agent.process().signal(Signal::CONT);
                format!("{name} for {LONGER_THAN_ANY_TIMEOUT:?}")
            }
            Self::CutAnswers => {
                let swallowing = Duration::from_millis(rng.random_range(20..2_000));
                cut(&cluster.proxies_of(collector), Mode::SwallowAnswers, swallowing);
                format!("of collector-{}, after {swallowing:?}", collector + 1)
            }
            Self::Partition => {
                cut(&cluster.proxies_of(collector), Mode::Stall, LONGER_THAN_ANY_TIMEOUT);
                format!("of collector-{} for {LONGER_THAN_ANY_TIMEOUT:?}", collector + 1)
            }
            Self::WipeCollector => {
                cluster.collectors[collector].kill();
                cluster.wipe(collector);
                thread::sleep(down);
                cluster.collectors[collector].start();
                format!("collector-{}, down for {down:?}", collector + 1)
            }
            Self::FillDisk => {
                let ballast = fill(cluster.small_disk());
                thread::sleep(LONGER_THAN_ANY_TIMEOUT);
                let mib = std::fs::metadata(&ballast).map_or(0, |data| data.len() >> 20);
                std::fs::remove_file(ballast).expect("ballast can be thrown away");
                format!("of collector-{}, with {mib} MiB of something else", collector + 1)
            }
            Self::FillEdgeDisk => fill_disk_of_edge(cluster, down),
            Self::KillDatanode | Self::RestartNamenode => {
                let daemon = match self {
                    Self::KillDatanode => format!("datanode{}", rng.random_range(1..=DATANODES)),
                    _ => "namenode".to_owned(),
                };
                let hdfs = cluster.store.hdfs().expect("a bucket has none: it is not possible");
                hdfs.kill(&daemon);
                thread::sleep(down);
                hdfs.revive(&daemon);
                format!("{daemon}, down for {down:?}")
            }
        }
    }
}

fn cut(proxies: &[&Proxy], mode: Mode, hold: Duration) {
    for proxy in proxies {
        proxy.set(mode);
    }
    thread::sleep(hold);
    for proxy in proxies {
        proxy.heal();
    }
}

/// Fills a small disk completely. Returns the file that fills it.
fn fill(disk: Option<&Mounted>) -> PathBuf {
    let filled = disk.expect("the fault is possible").fill();
    filled.unwrap_or_else(|error| panic!("fill the small disk: {error}"))
}

/// The edge's disk is full while no collector runs, and it is killed repeatedly; then the
/// collectors restart and the disk stays full. The edge must free the space that it needs by
/// delivering.
fn fill_disk_of_edge(cluster: &mut Cluster, down: Duration) -> String {
    let edge = Cluster::EDGE_ON_SMALL_DISK;
    cluster.collectors.iter_mut().for_each(Agent::kill);
    thread::sleep(down);
    let ballast = fill(cluster.small_disk_of_edge());
    for _ in 0..STARTS_WHILE_FULL {
        cluster.edges[edge].kill();
        cluster.edges[edge].start();
        thread::sleep(Duration::from_secs(1));
        // Also fill the space that the start released.
        fill(cluster.small_disk_of_edge());
    }
    cluster.collectors.iter_mut().for_each(Agent::start);
    let edge = &cluster.edges[edge];
    wait::until("the edge to take in on a full disk", TAKES_IN_LIMIT, || {
        let stopped = edge.metrics()?.sum("aqueduct_channel_intake_stopped")?;
        (stopped == 0.0).then_some(())
    });
    thread::sleep(LONGER_THAN_ANY_TIMEOUT);
    let mib = std::fs::metadata(&ballast).map_or(0, |data| data.len() >> 20);
    std::fs::remove_file(ballast).expect("ballast can be thrown away");
    format!("with {mib} MiB of something else, {STARTS_WHILE_FULL} starts, after {down:?}")
}

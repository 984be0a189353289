//! What goes wrong in a round, and how it is put right again.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use rand::prelude::*;
use rustix::process::{Signal, getuid};
use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::proxy::{Mode, Proxy};

/// Longer than every timeout in the cluster's settings, and than resending to another collector.
const LONGER_THAN_ANY_TIMEOUT: Duration = Duration::from_secs(9);

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
    /// kill -9 of a DataNode.
    KillDatanode,
    /// kill -9 of the NameNode.
    RestartNamenode,
}

impl Fault {
    /// All kinds.
    pub(crate) const ALL: [Self; 10] = [
        Self::KillEdge,
        Self::KillCollector,
        Self::FreezeEdge,
        Self::FreezeCollector,
        Self::CutAnswers,
        Self::Partition,
        Self::WipeCollector,
        Self::FillDisk,
        Self::KillDatanode,
        Self::RestartNamenode,
    ];

    /// Whether it can be done here.
    pub(crate) fn is_possible(self) -> bool {
        self != Self::FillDisk || getuid().is_root()
    }

    /// Does it and undoes it; says what was hit.
    ///
    /// # Panics
    ///
    /// When something ends that should have lived, or does not come back.
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
                let ballast = fill(cluster);
                thread::sleep(LONGER_THAN_ANY_TIMEOUT);
                let mib = std::fs::metadata(&ballast).map_or(0, |data| data.len() >> 20);
                std::fs::remove_file(ballast).expect("ballast can be thrown away");
                format!("of collector-{}, with {mib} MiB of something else", collector + 1)
            }
            Self::KillDatanode => {
                let daemon = format!("datanode{}", rng.random_range(1..=Cluster::DATANODES));
                cluster.hdfs.kill(&daemon);
                thread::sleep(down);
                cluster.hdfs.revive(&daemon);
                format!("{daemon}, down for {down:?}")
            }
            Self::RestartNamenode => {
                cluster.hdfs.kill("namenode");
                thread::sleep(down);
                cluster.hdfs.revive("namenode");
                format!("down for {down:?}")
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

/// Writes until nothing goes onto the small disk any more; the file that is in the way.
fn fill(cluster: &Cluster) -> std::path::PathBuf {
    let path = cluster.small_disk().expect("the fault is possible").join("ballast");
    let mut file = File::create(&path).expect("a file on the small disk");
    for size in [1 << 20, 4 << 10] {
        let some = vec![7; size];
        loop {
            match file.write_all(&some).and_then(|()| file.sync_data()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("fill the small disk: {error}"),
            }
        }
    }
    path
}

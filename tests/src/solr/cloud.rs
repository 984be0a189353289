//! A SolrCloud: three nodes, each of which may fail, and ZooKeeper.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::node::{Node, java};
use super::{LIMIT, documents, write_conf};
use crate::process::Process;
use crate::{http, wait};

/// Three nodes and their ZooKeeper, with the collection `lines` of two shards with two replicas
/// each. Killed on drop.
#[derive(Debug)]
pub struct Cloud {
    nodes: Vec<Node>,
    /// Dropped after the nodes.
    _zookeeper: Process,
}

/// A replica of a shard.
#[derive(Debug)]
struct Replica {
    shard: String,
    core: String,
    /// Index of its node.
    node: usize,
    is_leader: bool,
    is_active: bool,
}

impl Cloud {
    /// Starts it and creates the collection. All of its files are in `dir`.
    ///
    /// # Panics
    ///
    /// When its jars cannot be downloaded, or it does not start in time.
    pub fn start(dir: &Path) -> Self {
        let (conf, zookeeper) = (dir.join("conf"), http::free_address());
        write_conf(&conf);
        let settings = format!(
            "tickTime=1000\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n",
            dir.join("zookeeper").display(),
            zookeeper.port(),
        );
        let file = dir.join("zoo.cfg");
        fs::write(&file, settings).expect("the test's own folder");
        let mut command = java(dir);
        command.arg("org.apache.zookeeper.server.ZooKeeperServerMain").arg(&file);
        let process = Process::start("zookeeper", command, &dir.join("zookeeper.out"));
        let nodes = (0..3).map(|n| {
            let options = vec![
                format!("-DzkHost={zookeeper}"),
                format!("-Dbootstrap_confdir={}", conf.display()),
                "-Dcollection.configName=lines".to_owned(),
            ];
            Node::new(dir.join(format!("solr-{n}")), include_str!("cloud.xml"), options, None)
        });
        let mut cloud = Self { nodes: nodes.collect(), _zookeeper: process };
        cloud.nodes.iter_mut().for_each(Node::start);
        cloud.nodes.iter_mut().for_each(Node::until_it_answers);
        let wanted = "name=lines&numShards=2&replicationFactor=2&collection.configName=lines";
        // It may exceed the timeout of the response.
        let _ = cloud.nodes[0].get(&format!("/solr/admin/collections?action=CREATE&{wanted}"));
        cloud.until_whole();
        cloud
    }

    /// Returns the addresses of the nodes.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// Kills this node with -9.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Restarts it.
    ///
    /// # Panics
    ///
    /// When it exits or does not answer in time.
    pub fn revive(&mut self, node: usize) {
        self.nodes[node].start();
        self.nodes[node].until_it_answers();
    }

    /// Suspends or resumes this node.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn signal(&self, node: usize, signal: Signal) {
        self.nodes[node].signal(signal);
    }

    /// Returns the node with the leader of the first shard.
    ///
    /// # Panics
    ///
    /// When there is no leader in time.
    pub fn leader(&self) -> usize {
        wait::until("a leader", LIMIT, || {
            let replicas = self.replicas()?;
            let leader = replicas.iter().find(|it| it.is_leader && it.shard == "shard1");
            leader.map(|it| it.node)
        })
    }

    /// Waits until all replicas are active.
    ///
    /// # Panics
    ///
    /// After a timeout.
    pub fn until_whole(&self) {
        wait::until("all replicas to be active", LIMIT, || {
            let replicas = self.replicas()?;
            let leaders = replicas.iter().filter(|it| it.is_leader).count();
            let is_whole = replicas.iter().all(|it| it.is_active);
            (replicas.len() == 4 && leaders == 2 && is_whole).then_some(())
        });
    }

    /// Returns the current documents; `None` if a replica does not answer, or two replicas of one
    /// shard differ.
    pub fn documents(&self) -> Option<Vec<Value>> {
        let mut shards: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        self.nodes[0].get("/solr/lines/update?commit=true")?;
        for Replica { shard, core, node, .. } in self.replicas()? {
            let path = format!("/solr/{core}/select?q=*:*&rows=1000000&distrib=false&sort=id+asc");
            let found = documents(Some(self.nodes[node].get(&path)?));
            if shards.get(&shard).is_some_and(|other| *other != found) {
                return None;
            }
            shards.insert(shard, found);
        }
        Some(shards.into_values().flatten().collect())
    }

    /// Returns the replicas as known by a node that answers.
    fn replicas(&self) -> Option<Vec<Replica>> {
        let path = "/solr/admin/collections?action=CLUSTERSTATUS&collection=lines";
        let answer = self.nodes.iter().find_map(|node| node.get(path))?;
        let cluster = &answer["cluster"];
        let shards = cluster["collections"]["lines"]["shards"].as_object()?;
        let mut found = Vec::new();
        for (shard, about) in shards {
            for replica in about["replicas"].as_object()?.values() {
                let (name, core) = (replica["node_name"].as_str()?, replica["core"].as_str()?);
                let is_this = |node: &Node| name.starts_with(&node.address().to_string());
                let is_live = cluster["live_nodes"].as_array()?.contains(&replica["node_name"]);
                found.push(Replica {
                    shard: shard.clone(),
                    core: core.to_owned(),
                    node: self.nodes.iter().position(is_this)?,
                    is_leader: replica["leader"] == "true",
                    is_active: is_live && replica["state"] == "active",
                });
            }
        }
        Some(found)
    }
}

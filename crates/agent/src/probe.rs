//! Tests the destinations of a plan from this host before it runs: the destinations of sinks, the
//! storage of channels, and the addresses to listen on. Leaves nothing: closes connections and
//! removes files.

use std::io;

use config::{ConfigErrors, Plan};
use futures::future::join_all;
use metrics::Metrics;
use pipeline::{Catalogue, Env, Resource};
use support::causes::chain;
use tokio::time::{Duration, timeout};

use crate::topology::Topology;

/// Time limit for one component.
const LIMIT: Duration = Duration::from_secs(20);

/// The result for a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Its role and its name: `sink store`.
    pub component: String,
    /// The reached destination, or the reason for a failure.
    pub found: Result<String, String>,
}

/// Tries everything that `plan` names and that can be tried without an event.
///
/// # Errors
/// Every setting that is wrong; nothing was tried.
pub async fn probe(
    plan: &Plan,
    catalogue: Catalogue,
    env: &Env,
) -> Result<Vec<Probed>, ConfigErrors> {
    let mut topology = Topology::build(plan, catalogue, env, &Metrics::default())?;
    let mut all = Vec::new();
    let agent = &plan.agent;
    for (setting, address) in [("admin", &agent.admin), ("flume_metrics", &agent.flume_metrics)] {
        if let Some(address) = address.clone() {
            let found = listen(&Resource::Listen { setting, address }, env).await;
            all.push(Probed { component: format!("agent.{setting}"), found });
        }
    }
    for source in &topology.sources {
        for resource in source.source.resources() {
            let found = listen(&resource, env).await;
            all.push(Probed { component: format!("source {}", source.name), found });
        }
    }
    for built in &topology.channels {
        let found = match timeout(LIMIT, built.channel.probe()).await {
            Ok(Ok(None)) => continue,
            Ok(Ok(Some(found))) => Ok(found),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!(
                "no answer within {LIMIT:?}; check that its servers are running and reachable from \
                 this host"
            )),
        };
        all.push(Probed { component: format!("channel {}", built.name), found });
    }
    let sinks = topology.groups.iter_mut().flat_map(|group| &mut group.sinks);
    // The first seat of a discovered sink tries all that is found.
    let firsts = sinks.filter(|named| named.seat().is_none_or(|seat| seat.index() == 0));
    let tried = firsts.map(async |named| {
        let found = match timeout(LIMIT, named.sink.probe()).await {
            Ok(Ok(found)) => Ok(found?),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!(
                "no answer within {LIMIT:?}; check that its servers are running and reachable from \
                 this host"
            )),
        };
        Some(Probed { component: format!("sink {}", named.name), found })
    });
    all.extend(join_all(tried).await.into_iter().flatten());
    Ok(all)
}

/// Listens for a moment.
async fn listen(resource: &Resource, env: &Env) -> Result<String, String> {
    let address = resource.address();
    let listened = match resource {
        Resource::Listen { .. } => env.net.listen(address).await.map(drop),
        Resource::Datagrams { .. } => env.net.bind(address).await.map(drop),
    };
    match listened {
        Ok(()) => Ok(format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(format!("{error}; if the agent is running, this is expected"))
        }
        Err(error) => Err(error.to_string()),
    }
}

//! Pages and JSON of the history and of the topology.

use std::sync::{MutexGuard, PoisonError};

use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use support::causes::chain;
use tracing::warn;

use super::Server;
use super::operators::parameters;
use crate::answers::{Answer, json, plain, typed};
use crate::history::{FLEET, HistoryView, STEP_MS, Samples, Store, Track};
use crate::page::{self, Tracks};
use crate::topology::Topology;

const HTML: &str = "text/html; charset=utf-8";

/// The stored history.
pub(super) struct History {
    store: Store,
    /// Why the last call failed.
    problem: Option<String>,
}

impl History {
    pub(super) fn new(store: Store) -> Self {
        Self { store, problem: None }
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }

    /// Stores samples. If that fails, they are lost: the next ones are stored a minute later.
    pub(super) fn add(&mut self, samples: &Samples) {
        self.problem = self.store.add(samples).err().map(|error| chain(&error));
        if let Some(error) = &self.problem {
            warn!(error, "cannot store the history of the last minute; roll-outs do not need it");
        }
    }

    fn read(&mut self, uids: &[&str], step: u64) -> Result<Vec<Track>, String> {
        self.store.read(uids, step).map_err(|error| chain(&error))
    }
}

impl Server {
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        // After an error or a panic, the next call opens the file again or replaces its samples.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tracks(&self, uids: Vec<String>) -> Tracks {
        let step = self.now_ms() / STEP_MS;
        let keys: Vec<&str> = uids.iter().map(String::as_str).collect();
        match self.history().read(&keys, step) {
            Ok(tracks) => {
                Tracks { step, by_uid: uids.into_iter().zip(tracks).collect(), problem: None }
            }
            Err(problem) => Tracks { step, problem: Some(problem), ..Tracks::default() },
        }
    }

    /// The page of the fleet.
    pub(super) fn first_page(&self, query: &str) -> Answer {
        let (view, searched) = (self.view(true), page::search(query));
        let mut uids = page::shown(&view, &searched);
        uids.push(FLEET.to_owned());
        let (topology, tracks) = (self.topology(), self.tracks(uids));
        typed(StatusCode::OK, HTML, page::html((&view, &topology), &searched, &tracks))
    }

    /// The page of an agent.
    pub(super) fn agent_page(&self, query: &str) -> Answer {
        let found = named(query).and_then(|name| {
            let name = name.ok_or("the request needs `agent`, a name or uid")?;
            self.found(&name)
        });
        let (uid, _) = match found {
            Ok(found) => found,
            Err(problem) => return plain(StatusCode::NOT_FOUND, &problem),
        };
        let view = self.view(true);
        match view.agents.iter().find(|it| it.uid == uid) {
            Some(agent) => {
                let (topology, tracks) = (self.topology(), self.tracks(vec![uid]));
                typed(StatusCode::OK, HTML, page::agent_html((agent, &topology), &tracks))
            }
            None => plain(StatusCode::NOT_FOUND, "the agent is unknown"),
        }
    }

    /// Which agent sends to which agent and store.
    pub(super) fn topology(&self) -> Topology {
        Topology::new(self.fleet().agents(), self.now_ms())
    }

    /// The history of an agent, or of the fleet.
    pub(super) fn history_json(&self, query: &str) -> Answer {
        let found = named(query).and_then(|it| it.map(|name| self.found(&name)).transpose());
        let of = match found {
            Ok(of) => of,
            Err(problem) => return plain(StatusCode::NOT_FOUND, &problem),
        };
        let uid = of.as_ref().map_or(FLEET, |(uid, _)| uid.as_str());
        let read = self.history().read(&[uid], self.now_ms() / STEP_MS);
        match read {
            Ok(tracks) => {
                json(&HistoryView::new(of, &tracks.into_iter().next().unwrap_or_default()))
            }
            Err(problem) => plain(StatusCode::SERVICE_UNAVAILABLE, &problem),
        }
    }

    /// Returns the uid and the name of an agent.
    fn found(&self, name: &str) -> Result<(String, String), String> {
        let fleet = self.fleet();
        fleet.named_agent(name).map(|(uid, agent)| (uid.clone(), agent.name.clone()))
    }
}

/// Reads `agent=NAME`.
fn named(query: &str) -> Result<Option<String>, String> {
    let mut named = None;
    for (key, value) in parameters(query) {
        if key != "agent" {
            return Err(format!("unknown parameter `{key}`"));
        }
        let value = percent_decode_str(value).decode_utf8();
        named = Some(value.map_err(|_| "`agent` must be UTF-8")?.into_owned());
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_an_agent_or_none() {
        assert_eq!(named(""), Ok(None));
        assert_eq!(named("agent=edge%201"), Ok(Some("edge 1".to_owned())));
        assert!(named("agent=%ff").unwrap_err().contains("UTF-8"));
        assert!(named("agnet=a").unwrap_err().contains("unknown parameter `agnet`"));
    }
}

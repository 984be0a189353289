//! Requests of operators: the page, JSON, and acts.

use std::sync::{Arc, PoisonError};

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use support::causes::chain;

use super::Server;
use crate::answers::{Answer, json, plain};
use crate::pins::Target;
use crate::rollout::Policy;
use crate::state::Act;
use crate::view::FleetView;

/// The header of a request that changes something. A page of another site cannot send it.
const CHANGE: &str = "x-aqueduct";

impl Server {
    /// The fleet as operators see it, with or without its agents.
    pub(super) fn view(&self, with_agents: bool) -> FleetView {
        let (fleet, now_ms) = (self.fleet(), self.now_ms());
        let mut view = match with_agents {
            true => FleetView::new(&fleet, now_ms),
            false => FleetView::rollout(&fleet, now_ms),
        };
        drop(fleet);
        let problem = self.commit_problem.lock().unwrap_or_else(PoisonError::into_inner);
        view.git_problem.clone_from(&problem);
        drop(problem);
        view.history_problem = self.history().problem();
        view
    }

    pub(super) async fn operator(self: &Arc<Self>, head: &Parts, by: &'static str) -> Answer {
        let path = head.uri.path();
        if head.method == Method::GET {
            return self.page(head).await;
        }
        let action = path.trim_start_matches('/');
        if head.method != Method::POST
            || !["roll-out", "pause", "resume", "abort", "pin", "unpin"].contains(&action)
        {
            return plain(StatusCode::NOT_FOUND, "unknown page or wrong method");
        }
        let header = head.headers.get(CHANGE).map(HeaderValue::as_bytes);
        if header != Some(action.as_bytes()) {
            let text = format!("the request needs the header `X-Aqueduct: {action}`");
            return plain(StatusCode::FORBIDDEN, &text);
        }
        let query = head.uri.query().unwrap_or_default().to_owned();
        let (this, action) = (self.clone(), action.to_owned());
        let work = move || {
            let act = this.act(&action, &query)?;
            let mut fleet = this.fleet();
            let done = fleet.act((this.now_ms(), by), act, &mut &this.directory);
            this.log(&mut fleet);
            done
        };
        match self.env.offload(work).await {
            Ok(()) => json(&self.view(false)),
            Err(problem) => plain(StatusCode::CONFLICT, &problem),
        }
    }

    /// Answers a GET. With thousands of agents this is work, so it is done on another thread.
    async fn page(self: &Arc<Self>, head: &Parts) -> Answer {
        let (this, uri) = (self.clone(), head.uri.clone());
        let work = move || match uri.path() {
            "/" => this.first_page(uri.query().unwrap_or_default()),
            "/agent" => this.agent_page(uri.query().unwrap_or_default()),
            "/history" => this.history_json(uri.query().unwrap_or_default()),
            "/topology" => json(&this.topology()),
            "/fleet" => json(&this.view(true)),
            "/roll-out" => json(&this.view(false)),
            _ => plain(StatusCode::NOT_FOUND, "unknown page; try / or /fleet"),
        };
        self.env.offload(work).await
    }

    /// Prepares an act: a roll-out copies the fragments to a new revision.
    fn act(&self, action: &str, query: &str) -> Result<Act, String> {
        match action {
            "pause" => return Ok(Act::Pause),
            "resume" => return Ok(Act::Resume),
            "abort" => return Ok(Act::Abort),
            "pin" => {
                let (target, number) = pin(query)?;
                let revision = |number| {
                    let revision = self.directory.numbered(number).map_err(|it| chain(&it))?;
                    Ok::<_, String>((number, Box::new(revision)))
                };
                return Ok(Act::Pin(target, number.map(revision).transpose()?));
            }
            "unpin" => {
                return match pin(query)? {
                    (target, None) => Ok(Act::Unpin(target)),
                    _ => Err("unknown parameter `revision`".to_owned()),
                };
            }
            _ => {}
        }
        let policy = policy(query)?;
        let revision = self.directory.current().map_err(|it| chain(&it))?;
        // Before it is stored: problems of the fragments and a running roll-out.
        self.fleet().changed_by(&revision, self.now_ms())?;
        let number = self.directory.add(&revision);
        let number = number.map_err(|error| format!("cannot store the revision: {error}"))?;
        Ok(Act::RollOut(number, Box::new(revision), policy))
    }
}

/// Returns the parameters of a query, still encoded.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|it| !it.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Reads `soak` and `apply`, in seconds, and `losses`, in percent.
fn policy(query: &str) -> Result<Policy, String> {
    let mut policy = Policy::default();
    for (key, value) in parameters(query) {
        let number: Option<f64> = value.parse().ok().filter(|it| (0.0..=86_400.0).contains(it));
        let number = number.ok_or_else(|| format!("`{key}` must be a number up to 86400"))?;
        match key {
            "soak" => policy.soak_ms = (number * 1_000.0) as u64,
            "apply" => policy.apply_ms = (number * 1_000.0) as u64,
            "losses" => policy.losses_max = number / 100.0,
            _ => return Err(format!("unknown parameter `{key}`")),
        }
    }
    Ok(policy)
}

/// Reads `agent=NAME` or `label=NAME=VALUE`, and `revision`.
fn pin(query: &str) -> Result<(Target, Option<u64>), String> {
    let (mut targets, mut revision) = (Vec::new(), None);
    for (key, value) in parameters(query) {
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| format!("`{key}` must be UTF-8"))?;
        match key {
            "agent" => targets.push(Target::Agent(value.into_owned())),
            "label" => {
                let label = value.split_once('=').map(|(key, it)| (key.to_owned(), it.to_owned()));
                let (label, value) = label.ok_or("`label` must be NAME=VALUE")?;
                targets.push(Target::Label(label, value));
            }
            "revision" => {
                let number = value.parse().ok().filter(|it| *it > 0);
                revision = Some(number.ok_or("`revision` must be a number greater than 0")?);
            }
            _ => return Err(format!("unknown parameter `{key}`")),
        }
    }
    match <[Target; 1]>::try_from(targets) {
        Ok([target]) => Ok((target, revision)),
        Err(_) => Err("the request needs one agent or one label".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_has_one_target_and_a_revision() {
        let agent = Target::Agent("edge 1".into());
        assert_eq!(pin("agent=edge%201&revision=7"), Ok((agent, Some(7))));
        let label = Target::Label("site".into(), "a=b".into());
        assert_eq!(pin("label=site%3Da=b"), Ok((label, None)));
        for (query, cause) in [
            ("", "one agent or one label"),
            ("agent=a&label=b%3Dc", "one agent or one label"),
            ("label=site", "must be NAME=VALUE"),
            ("agent=a&revision=0", "greater than 0"),
            ("agent=a&revision=-1", "greater than 0"),
            ("agent=%ff", "must be UTF-8"),
            ("host=a", "unknown parameter `host`"),
        ] {
            assert!(pin(query).unwrap_err().contains(cause), "{query}");
        }
    }
}

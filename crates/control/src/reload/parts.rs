//! Parts that an operator stops, starts and drains.
//!
//! The difference treats held parts as not configured: a stopped part leaves its channel as it is,
//! and a started one resumes its backlog. The file of held parts is written first. If the change
//! fails, the file and the running parts are restored.

use std::sync::Arc;

use agent::actor::Actor;
use agent::held::{Hold, Holds, Part};
use agent::scrape;
use agent::status::{PartsStatus, ReloadResult};
use config::Plan;
use pipeline::settings::unknown;
use tokio::time::Duration;
use tracing::error;

use super::apply::Mode;
use super::drain::Draining;
use super::{Failed, Reloader, Reloads, outcome};
use crate::audit::Line;
use crate::held;

/// The request of an operator.
#[derive(Debug, Clone, PartialEq)]
pub enum PartRequest {
    /// This part stops, and stays so.
    Stop(Part),
    /// This part starts again.
    Start(Part),
    /// Start all stopped parts.
    StartAll,
    /// Stop the sources of a channel, or of all channels, until it is empty.
    Drain {
        /// `None`: all of them.
        channel: Option<Arc<str>>,
        /// Its longest duration.
        time_limit: Duration,
        /// True if the agent should end afterwards.
        exit: bool,
    },
}

impl PartRequest {
    /// Its name.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Stop(_) => "stop",
            Self::Start(_) | Self::StartAll => "start",
            Self::Drain { .. } => "drain",
        }
    }

    /// Returns the part of the request; `None` for the whole agent.
    pub fn part(&self) -> Option<String> {
        match self {
            Self::Stop(part) | Self::Start(part) => Some(part.to_string()),
            Self::Drain { channel, .. } => {
                channel.as_ref().map(|channel| format!("channels.{channel}"))
            }
            Self::StartAll => None,
        }
    }

    /// Returns the held parts after the request; an error is for the operator.
    fn held(&self, before: &Holds, plan: &Plan, hold: &Hold) -> Result<Holds, String> {
        let mut after = before.clone();
        match self {
            Self::Stop(part) => {
                is_known(part, plan)?;
                after.entry(part.clone()).or_insert_with(|| hold.clone());
            }
            Self::Start(part) => {
                is_known(part, plan)?;
                after.remove(part);
            }
            Self::StartAll => after.clear(),
            Self::Drain { channel, .. } => {
                let is_meant = |name: &String| channel.as_deref().is_none_or(|it| it == name);
                let names: Vec<&str> =
                    plan.channels.iter().map(|it| it.component.name.as_str()).collect();
                if let Some(channel) = channel.as_deref().filter(|it| !names.contains(it)) {
                    return Err(unknown("channel", channel, &names));
                }
                let groups = plan.groups.iter().filter(|it| is_meant(&it.channel));
                let mut held =
                    groups.filter(|it| before.contains_key(&Part::Group(it.name.as_str().into())));
                if let Some(group) = held.next() {
                    return Err(format!(
                        "group `{}` is stopped, so channel `{}` cannot drain: start the group \
                         first",
                        group.name, group.channel
                    ));
                }
                for source in &plan.sources {
                    let fed = &mut source.channels.iter().chain(&source.optional_channels);
                    if fed.any(is_meant) {
                        let part = Part::Source(source.component.name.as_str().into());
                        after.entry(part).or_insert_with(|| hold.clone());
                    }
                }
            }
        }
        Ok(after)
    }
}

/// Checks that the configuration has this part.
fn is_known(part: &Part, plan: &Plan) -> Result<(), String> {
    let (role, name, names): (_, _, Vec<&str>) = match part {
        _ if part.is_in(plan) => return Ok(()),
        Part::Source(name) => {
            let names = plan.sources.iter().map(|it| it.component.name.as_str());
            ("source", name, names.collect())
        }
        Part::Group(name) => ("group", name, plan.groups.iter().map(|it| &*it.name).collect()),
    };
    Err(unknown(role, name, &names))
}

impl Reloader {
    /// Executes the request, and records it.
    pub(super) async fn change_parts(
        &self,
        request: PartRequest,
        actor: &Actor,
        draining: &mut Option<Draining>,
        reloads: &Reloads,
    ) -> PartsStatus {
        let before = self.running.parts().held.clone();
        let plan = self.configuration.plan();
        let is_drain = matches!(request, PartRequest::Drain { .. });
        let hold = Hold::new(&self.around.env, actor, is_drain);
        let (result, error) = match request.held(&before, &plan, &hold) {
            Err(problem) => (ReloadResult::Refused, Some(problem)),
            Ok(after) if after.len() == before.len() => (ReloadResult::Unchanged, None),
            Ok(after) => self.exchange_held(&before, after).await,
        };
        if let PartRequest::Drain { channel, time_limit, exit } = &request
            && error.is_none()
        {
            let begun = Draining::new(channel.clone(), *time_limit, *exit, actor.clone());
            *draining = Some(begun);
            self.advance(draining, reloads).await;
        }
        let held = self.running.parts().held.clone();
        let differs = |part: &&Part| held.contains_key(*part) != before.contains_key(*part);
        let changed = before.keys().chain(held.keys().filter(|it| !before.contains_key(*it)));
        let changed: Vec<String> = changed.filter(differs).map(ToString::to_string).collect();
        let detail = error.clone().or_else(|| {
            let is_more = is_drain || request == PartRequest::StartAll;
            (is_more && !changed.is_empty()).then(|| changed.join(", "))
        });
        let line = Line::new(request.action(), request.part(), actor.clone(), outcome(result));
        self.audit.add(line.because(detail)).await;
        let drain = is_drain.then(|| reloads.changes.drain(tokio::time::Instant::now())).flatten();
        let held = agent::held::shown(&held, &self.around.env);
        PartsStatus { result, error, changed, held, drain }
    }

    /// Replaces the held parts `before` by `after`: writes the file, stops and starts parts.
    async fn exchange_held(&self, before: &Holds, after: Holds) -> (ReloadResult, Option<String>) {
        let plan = self.configuration.plan();
        let (data_dir, env) = (&plan.agent.data_dir, &self.around.env);
        if let Err(error) = held::save(&after, data_dir, env).await {
            let problem = format!(
                "cannot write the file of stopped parts in {}: {error}; nothing was changed; check \
                 the disk and the permissions of the directory",
                data_dir.display()
            );
            return (ReloadResult::Refused, Some(problem));
        }
        self.running.change(|parts| parts.held = after.clone());
        let failed = match self.change(&plan, Mode::Try).await {
            Ok(_) => {
                scrape::held(&self.around.metrics, before, &after);
                return (ReloadResult::Applied, None);
            }
            Err(failed) => failed,
        };
        self.running.change(|parts| parts.held = before.clone());
        if let Err(error) = held::save(before, data_dir, env).await {
            let status = held::command("status", &plan, "");
            error!(%error, "cannot restore the file of stopped parts after a failed change; after \
                            the next start, check which parts are stopped with `{status}`");
        }
        match failed {
            Failed::Before(problem) => (ReloadResult::Refused, Some(problem)),
            Failed::Midway(problem) => {
                let (result, problem) = self.restore(&plan, problem).await;
                (result, Some(problem))
            }
        }
    }

    /// Restores the running configuration after a change failed with `problem`.
    pub(super) async fn restore(&self, plan: &Plan, problem: String) -> (ReloadResult, String) {
        if self.stopping.is_cancelled() {
            return (ReloadResult::RolledBack, problem);
        }
        match self.change(plan, Mode::Restore).await {
            Ok(_) => (ReloadResult::RolledBack, problem),
            Err(Failed::Before(more) | Failed::Midway(more)) => {
                let problem = format!("{problem}; rolling back failed too: {more}");
                (ReloadResult::RollbackFailed, problem)
            }
        }
    }

    /// Forgets held parts that are not in `plan`.
    pub(super) async fn forget_held(&self, plan: &Plan) {
        let before = self.running.parts().held.clone();
        let mut after = before.clone();
        if held::forget(&mut after, plan) {
            self.running.change(|parts| parts.held = after.clone());
            scrape::held(&self.around.metrics, &before, &after);
            if let Err(error) = held::save(&after, &plan.agent.data_dir, &self.around.env).await {
                // The next start forgets them as well.
                error!(%error, "cannot remove a part that is not configured from the file of \
                                stopped parts; no action needed: the next start tries again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEXT: &str = r#"
        [agent]
        data_dir = "/nowhere"
        [sources.web]
        type = "sequence"
        channels = ["main", "side"]
        [sources.tail]
        type = "sequence"
        channels = ["side"]
        [channels.main]
        type = "memory"
        [channels.side]
        type = "memory"
        [sinks.store]
        type = "discard"
        channel = "main"
        [sinks.next]
        type = "discard"
        channel = "side"
    "#;

    fn plan() -> Plan {
        let settings = config::read(Path::new("a.toml"), TEXT).unwrap();
        config::examine("a.toml", settings, "host").0
    }

    fn hold() -> Hold {
        Hold::new(&env::real(), &Actor::new("loopback", None), true)
    }

    fn after(before: &Holds, request: &PartRequest) -> Result<Vec<String>, String> {
        let held = request.held(before, &plan(), &hold())?;
        Ok(held.keys().map(ToString::to_string).collect())
    }

    fn drain(channel: Option<&str>) -> PartRequest {
        let channel = channel.map(Arc::from);
        PartRequest::Drain { channel, time_limit: Duration::from_secs(1), exit: false }
    }

    #[test]
    fn a_part_that_is_stopped_or_started_is_one_that_there_is() {
        let (web, store) = (Part::Source("web".into()), Part::Group("store".into()));
        let held: Holds = [(web.clone(), hold())].into();
        assert_eq!(after(&held, &PartRequest::Stop(web.clone())).unwrap(), ["sources.web"]);
        let both = after(&held, &PartRequest::Stop(store.clone())).unwrap();
        assert_eq!(both, ["sources.web", "groups.store"]);
        assert_eq!(after(&held, &PartRequest::Start(web)).unwrap(), [""; 0]);
        assert_eq!(after(&held, &PartRequest::Start(store)).unwrap(), ["sources.web"]);
        assert_eq!(after(&held, &PartRequest::StartAll).unwrap(), [""; 0]);
        let wrong = after(&held, &PartRequest::Stop(Part::Group("stor".into()))).unwrap_err();
        assert_eq!(wrong, "unknown group `stor`; did you mean `store`?");
    }

    #[test]
    fn a_drain_holds_all_that_fills_the_channel_and_nothing_else() {
        let none = Holds::new();
        assert_eq!(after(&none, &drain(None)).unwrap(), ["sources.tail", "sources.web"]);
        assert_eq!(after(&none, &drain(Some("main"))).unwrap(), ["sources.web"]);
        let both = after(&none, &drain(Some("side"))).unwrap();
        assert_eq!(both, ["sources.tail", "sources.web"]);
        assert!(after(&none, &drain(Some("mian"))).unwrap_err().contains("`main`"));
        let held: Holds = [(Part::Group("next".into()), hold())].into();
        assert!(after(&held, &drain(None)).unwrap_err().contains("start the group first"));
        assert!(after(&held, &drain(Some("main"))).is_ok());
    }
}

//! A reload with the text that a fleet server offers: what it must keep, and how it stays.

use agent::actor::Actor;
use agent::status::ReloadStatus;
use config::Plan;
use support::causes::chain;

use super::{Reloader, Reloads};
use crate::configuration::Managed;
use crate::fleet::files;

impl Reloads {
    /// Applies the offered text, and waits for the end; `None`: the agent does not reload now.
    pub(crate) async fn offer(&self) -> Option<ReloadStatus> {
        let by = "fleet server";
        self.wait_with((by, Managed::Offered), Actor::new(by, None)).await
    }
}

impl Reloader {
    /// Returns the plan, unless it is offered and removes a channel that has events.
    pub(super) fn keeping(&self, plan: Plan, managed: Managed) -> Result<Plan, String> {
        if managed == Managed::InForce {
            return Ok(plan);
        }
        let parts = self.running.parts();
        let removed = parts
            .channels
            .iter()
            .filter(|(name, _)| plan.channels.iter().all(|it| *it.component.name != ***name));
        let lost = removed.map(|(name, handle)| (name, handle.status().events));
        match lost.clone().find(|(_, events)| *events > 0) {
            None => Ok(plan),
            Some((name, events)) => Err(format!(
                "the offered configuration removes channel `{name}`, which has {events} \
                 undelivered events; drain it first"
            )),
        }
    }

    /// Keeps the offered text on disk after it was applied.
    pub(super) async fn accept(&self, managed: Managed) -> Result<(), String> {
        if managed == Managed::InForce {
            return Ok(());
        }
        let data_dir = self.configuration.plan().agent.data_dir.clone();
        let disk = self.around.env.disk.clone();
        let accepted = self.around.env.offload(move || files::accept(&*disk, &data_dir)).await;
        accepted.map_err(|error| {
            format!(
                "cannot store the configuration: {}; check the data directory and its disk",
                chain(&error)
            )
        })
    }
}

//! Two components that want the same thing, which only one can have: an error of the configuration,
//! with both places.

use config::{ConfigError, Plan, SourcePlan};
use pipeline::{Resource, SettingsError, Source};

/// Something that is taken, and the setting that says so.
struct Taken {
    resource: Resource,
    /// The setting, dotted from the root.
    path: String,
    line: u32,
}

/// What the agent and its sources take.
pub(crate) struct Resources<'a> {
    plan: &'a Plan,
    taken: Vec<Taken>,
}

impl<'a> Resources<'a> {
    /// What the agent itself takes.
    pub(crate) fn of(plan: &'a Plan) -> Self {
        let taken = plan.agent.admin.iter().map(|address| Taken {
            resource: Resource::Listen { setting: "admin", address: address.clone() },
            path: "agent.admin".to_owned(),
            line: plan.agent.admin_line,
        });
        Self { plan, taken: taken.collect() }
    }

    /// What this source takes too.
    pub(crate) fn add(&mut self, plan: &SourcePlan, source: &dyn Source) {
        let component = &plan.component;
        self.taken.extend(source.resources().into_iter().map(|resource| {
            let setting = resource.setting();
            let line = component.settings.get(setting).map_or(component.kind_line, |it| it.line);
            let path = format!("{}.{setting}", component.path);
            Taken { resource, path, line }
        }));
    }

    /// Each that an earlier one has taken already.
    pub(crate) fn clashes(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        for (at, later) in self.taken.iter().enumerate() {
            let mut earlier = self.taken[..at].iter();
            if let Some(first) = earlier.find(|it| it.resource.clashes_with(&later.resource)) {
                let address = first.resource.address();
                let place = match first.line {
                    0 => first.path.clone(),
                    line => format!("{} (line {line})", first.path),
                };
                let problem =
                    format!("`{place}` listens on {address} already; give it a port of its own");
                let path = later.path.clone();
                let error = SettingsError { path, line: later.line, problem };
                found.push(ConfigError::at(&self.plan.file, "", error));
            }
        }
        found
    }
}

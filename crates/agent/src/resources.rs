//! Two components that want the same thing, which only one can have: an error of the configuration,
//! with both places.

use config::{ConfigError, Plan, SourcePlan};
use pipeline::{Place, Resource, SettingsError, SettingsErrorKind, Source};

/// A used resource, and its setting.
struct UsedResource {
    resource: Resource,
    /// The setting, dotted from the root.
    path: String,
    place: Place,
}

/// Resources of the agent and its sources.
pub(crate) struct Resources<'a> {
    plan: &'a Plan,
    taken: Vec<UsedResource>,
}

impl<'a> Resources<'a> {
    /// Returns the resources of the agent itself.
    pub(crate) fn from_plan(plan: &'a Plan) -> Self {
        let agent = &plan.agent;
        let taken = [
            ("admin", &agent.admin, &agent.admin_place),
            ("flume_metrics", &agent.flume_metrics, &agent.flume_metrics_place),
        ];
        let taken = taken.into_iter().filter_map(|(setting, address, place)| {
            let resource = Resource::Listen { setting, address: address.clone()? };
            Some(UsedResource { resource, path: format!("agent.{setting}"), place: place.clone() })
        });
        Self { plan, taken: taken.collect() }
    }

    /// Adds the resources of this source.
    pub(crate) fn add(&mut self, plan: &SourcePlan, source: &dyn Source) {
        let component = &plan.component;
        self.taken.extend(source.resources().into_iter().map(|resource| {
            let setting = resource.setting();
            let place =
                component.settings.get(setting).map_or(&component.kind_place, |it| &it.place);
            let place = place.clone();
            let path = format!("{}.{setting}", component.path);
            UsedResource { resource, path, place }
        }));
    }

    /// Each that an earlier one has taken already.
    pub(crate) fn conflicts(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        for (at, later) in self.taken.iter().enumerate() {
            let mut earlier = self.taken[..at].iter();
            if let Some(first) = earlier.find(|it| it.resource.clashes_with(&later.resource)) {
                let address = first.resource.address();
                let place = match first.place.is_known() {
                    false => first.path.clone(),
                    true => format!("{} ({})", first.path, first.place),
                };
                let problem = format!("`{place}` already listens on {address}; use another port");
                let kind = SettingsErrorKind::Invalid;
                let error = SettingsError::new(kind, later.place.clone(), problem);
                found.push(ConfigError::at(&self.plan.file, &later.path, error));
            }
        }
        found
    }
}

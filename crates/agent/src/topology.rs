//! From a plan to components: everything is built before anything starts, and building does no I/O.

use std::path::Path;
use std::sync::Arc;

use components::Catalogue;
use config::{ComponentPlan, ConfigError, ConfigErrors, GroupPlan, Plan, SourcePlan};
use pipeline::{
    BuildContext, Channel, ChannelSelector, Entry, Env, Interceptor, Metrics, SinkProcessor, Source,
};

use crate::group::NamedSink;

/// What the agent is made of, built and not started.
pub(crate) struct Topology {
    pub(crate) channels: Vec<BuiltChannel>,
    pub(crate) sources: Vec<BuiltSource>,
    pub(crate) groups: Vec<BuiltGroup>,
}

pub(crate) struct BuiltChannel {
    pub(crate) name: Arc<str>,
    pub(crate) channel: Arc<dyn Channel>,
}

pub(crate) struct BuiltSource {
    pub(crate) name: Arc<str>,
    pub(crate) source: Box<dyn Source>,
    pub(crate) interceptors: Vec<Box<dyn Interceptor>>,
    pub(crate) selector: Box<dyn ChannelSelector>,
    pub(crate) required: Vec<String>,
    pub(crate) optional: Vec<String>,
}

pub(crate) struct BuiltGroup {
    pub(crate) name: Arc<str>,
    pub(crate) processor: Box<dyn SinkProcessor>,
    pub(crate) channel: String,
    pub(crate) sinks: Vec<NamedSink>,
}

impl Topology {
    /// Builds every component of `plan`.
    ///
    /// # Errors
    /// Every setting that is wrong, with its place in the file.
    pub(crate) fn build(
        plan: &Plan,
        catalogue: &Catalogue,
        env: &Env,
        metrics: &Metrics,
    ) -> Result<Self, ConfigErrors> {
        let mut builder = Builder {
            file: &plan.file,
            data_dir: &plan.agent.data_dir,
            env,
            metrics,
            errors: Vec::new(),
        };
        let channels = plan.channels.iter().filter_map(|channel| {
            let built = builder.component(catalogue.channels, &channel.component, "channels")?;
            let name = channel.component.name.as_str().into();
            Some(BuiltChannel { name, channel: Arc::from(built) })
        });
        let channels = channels.collect();
        let sources = plan.sources.iter().filter_map(|source| builder.source(catalogue, source));
        let sources = sources.collect();
        let groups = plan.groups.iter().filter_map(|group| builder.group(catalogue, group));
        let groups = groups.collect();
        ConfigErrors::check(builder.errors)?;
        Ok(Self { channels, sources, groups })
    }

    /// The channel of this name.
    pub(crate) fn channel(&self, name: &str) -> Arc<dyn Channel> {
        let found = self.channels.iter().find(|channel| &*channel.name == name);
        found.expect("a plan names only channels that it has").channel.clone()
    }
}

struct Builder<'a> {
    file: &'a str,
    data_dir: &'a Path,
    env: &'a Env,
    metrics: &'a Metrics,
    errors: Vec<ConfigError>,
}

impl Builder<'_> {
    /// Builds one component; a problem is noted and the rest goes on, so that all are told at once.
    fn component<R: ?Sized>(
        &mut self,
        table: &[Entry<R>],
        plan: &ComponentPlan,
        role: &str,
    ) -> Option<Box<R>> {
        let cx = BuildContext {
            name: plan.name.as_str().into(),
            directory: self.data_dir.join(role).join(&plan.name),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
        };
        match plan.build(table, &cx) {
            Ok(built) => Some(built),
            Err(errors) => {
                let at = |error| ConfigError::at(self.file, &plan.path, error);
                self.errors.extend(errors.into_iter().map(at));
                None
            }
        }
    }

    fn source(&mut self, catalogue: &Catalogue, plan: &SourcePlan) -> Option<BuiltSource> {
        let source = self.component(catalogue.sources, &plan.component, "sources");
        let interceptors: Vec<_> = plan
            .interceptors
            .iter()
            .map(|plan| self.component(catalogue.interceptors, plan, "interceptors"))
            .collect();
        let selector = self.component(catalogue.selectors, &plan.selector, "selectors");
        Some(BuiltSource {
            name: plan.component.name.as_str().into(),
            source: source?,
            interceptors: interceptors.into_iter().collect::<Option<_>>()?,
            selector: selector?,
            required: plan.channels.clone(),
            optional: plan.optional_channels.clone(),
        })
    }

    fn group(&mut self, catalogue: &Catalogue, plan: &GroupPlan) -> Option<BuiltGroup> {
        let processor = self.component(catalogue.processors, &plan.processor, "groups");
        let mut sinks = Vec::new();
        for sink in &plan.sinks {
            let built = self.component(catalogue.sinks, sink, "sinks");
            sinks.push(
                built.map(|built| NamedSink { name: sink.name.as_str().into(), sink: built }),
            );
        }
        Some(BuiltGroup {
            name: plan.name.as_str().into(),
            processor: processor?,
            channel: plan.channel.clone(),
            sinks: sinks.into_iter().collect::<Option<_>>()?,
        })
    }
}

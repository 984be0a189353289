//! From a plan to components: everything is built before anything starts, and building does no I/O.

mod batch_fit;
mod kept;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use config::{ChannelPlan, ComponentPlan, ConfigError, ConfigErrors, GroupPlan, Plan, SourcePlan};
use metrics::Metrics;
use peers::{FloorBoard, LedgerBoard, NextHop, RoutingBoard, Seat};
use pipeline::settings::Value;
use pipeline::{
    BuildContext, Catalogue, Channel, Entry, Env, Extensions, Interceptor, PartNames, PlainText,
    RequiredChannels, Role, Settings, Sink, Source, Traces,
};

use batch_fit::batch_fit_problem;
pub use kept::KeptParts;

use crate::boards::Boards;
use crate::built::{BuiltChannel, BuiltGroup, BuiltSource};
use crate::choices::{self, effects};
use crate::dead_letters;
use crate::group::NamedSink;
use crate::intake::{BuiltInterceptor, FedChannel};
use crate::limits;
use crate::parts;
use crate::plain_text;
use crate::resources::Resources;
use crate::routing;
use crate::status::PlainTextStatus;
use crate::traces::Exporter;

/// The parts of an agent, built and not started.
pub struct Topology {
    /// Channels, in the order of the configuration.
    pub channels: Vec<BuiltChannel>,
    /// Sources, in the same order.
    pub sources: Vec<BuiltSource>,
    /// Groups, in the same order.
    pub groups: Vec<BuiltGroup>,
    /// The settings of the dead letters.
    pub dead_letters: dead_letters::Config,
    /// Plain text that leaves this host, as permitted by the configuration.
    pub plain_text: Vec<PlainTextStatus>,
    /// Records steps of sampled batches.
    pub traces: Traces,
    /// The exporter of traces, if configured.
    pub exporter: Option<Exporter>,
}

impl Topology {
    /// Builds every component of `plan`.
    ///
    /// # Errors
    /// Every setting that is wrong, with its place in the file.
    pub fn build(
        plan: &Plan,
        catalogue: Catalogue,
        env: &Env,
        metrics: &Metrics,
    ) -> Result<Self, ConfigErrors> {
        let built = Self::rebuild(plan, catalogue, env, metrics, &KeptParts::default())?;
        built.announce_channels();
        Ok(built)
    }

    /// As [`Topology::build`], with the channels that stay, and the values shared along them. Also
    /// builds sources and groups that stay, to query them; they do not touch the running ones.
    ///
    /// # Errors
    /// As [`Topology::build`].
    pub fn rebuild(
        plan: &Plan,
        catalogue: Catalogue,
        env: &Env,
        metrics: &Metrics,
        kept: &KeptParts,
    ) -> Result<Self, ConfigErrors> {
        let aside = Metrics::default();
        let mut builder = Builder {
            file: &plan.file,
            data_dir: &plan.agent.data_dir,
            env,
            metrics,
            catalogue,
            errors: Vec::new(),
            plain_text: plain_text::of_agent(plan),
        };
        let agent_floors = kept.floors();
        let channels = plan.channels.iter();
        let channels: Vec<BuiltChannel> = channels
            .filter_map(|channel| builder.channel(channel, &agent_floors, plan, kept))
            .collect();
        let mut resources = Resources::from_plan(plan);
        let sources = plan.sources.iter().filter_map(|source| {
            let stays = kept.sources.contains(&*source.component.name);
            builder.metrics = if stays { &aside } else { metrics };
            let built = builder.source(source)?;
            resources.add(source, &*built.source);
            let refusal = built
                .selector
                .free_choice()
                .and_then(|choice| choices::refusal(&plan.file, source, &*built.source, choice));
            builder.errors.extend(refusal.or_else(|| effects::refusal(&plan.file, source, &built)));
            Some(built)
        });
        let mut sources: Vec<BuiltSource> = sources.collect();
        builder.errors.extend(resources.conflicts());
        let groups = plan.groups.iter().filter_map(|group| {
            let channel = channels.iter().find(|channel| *channel.name == *group.channel);
            let stays = kept.groups.contains(&*group.name);
            builder.metrics = if stays { &aside } else { metrics };
            builder.group(group, channel.filter(|_| !stays))
        });
        let groups: Vec<BuiltGroup> = groups.collect();
        for source in &mut sources {
            source.naming = parts::naming(source, &groups);
            source.routing = routing::for_source(source, &groups);
        }
        let dead_letters = dead_letters::Config::read(&plan.dead_letters);
        let dead_letters = dead_letters.unwrap_or_else(|error| {
            builder.errors.push(ConfigError::at(&plan.file, "dead_letters", error));
            dead_letters::Config::default()
        });
        builder.errors.extend(batch_fit_problem(plan, &sources, &channels));
        let exporter = Exporter::from_plan(plan, env, metrics).unwrap_or_else(|error| {
            builder.errors.push(ConfigError::at(&plan.file, "agent.traces", error));
            None
        });
        ConfigErrors::check(builder.errors)?;
        let (traces, plain_text) = (kept.traces.clone(), builder.plain_text);
        Ok(Self { channels, sources, groups, dead_letters, plain_text, traces, exporter })
    }

    /// All channels of the agent are these.
    fn announce_channels(&self) {
        if let Some(first) = self.channels.first() {
            let channels = self.channels.iter().map(|built| &built.channel);
            first.boards.floors.set_channels(channels, false);
        }
    }

    /// The channel of this name.
    pub fn channel(&self, name: &str) -> Arc<dyn Channel> {
        self.built(name).channel.clone()
    }

    /// Returns these channels, as a source feeds them; those in `naming` rename their parts.
    pub(crate) fn feeds(&self, names: &[String], naming: &BTreeSet<String>) -> Vec<FedChannel> {
        let fed = names.iter().map(|name| {
            let (names, splits) = (PartNames::new(name), naming.contains(name));
            let BuiltChannel { name, channel, boards, .. } = self.built(name);
            let (name, channel) = (name.clone(), channel.clone());
            FedChannel { name, channel, boards: boards.clone(), names, splits }
        });
        fed.collect()
    }

    /// The size limits of the downstream peers of each channel, by the channel's name.
    pub fn limits(&self) -> limits::Boards {
        self.channels
            .iter()
            .map(|built| (built.name.clone(), built.boards.limits.clone()))
            .collect()
    }

    /// The built channel of this name.
    pub fn built(&self, name: &str) -> &BuiltChannel {
        let found = self.channels.iter().find(|channel| &*channel.name == name);
        found.expect("a plan names only channels that it has")
    }
}

/// Names of the groups that take from this channel.
fn consumers(groups: &[GroupPlan], channel: &str) -> Vec<Arc<str>> {
    let of_it = groups.iter().filter(|group| group.channel == channel);
    of_it.map(|group| group.name.as_str().into()).collect()
}

struct Builder<'a> {
    file: &'a str,
    data_dir: &'a Path,
    env: &'a Env,
    metrics: &'a Metrics,
    catalogue: Catalogue,
    errors: Vec<ConfigError>,
    plain_text: Vec<PlainTextStatus>,
}

impl Builder<'_> {
    /// Builds one component, with the values shared along its channel and in its group. Records a
    /// problem and continues, so that all problems are reported together.
    fn component<R: Role + ?Sized>(
        &mut self,
        plan: &ComponentPlan,
        role: &str,
        along: &Extensions,
    ) -> Option<Box<R>> {
        let cx = self.context(plan, role, along);
        let built = self.built(plan, &cx)?;
        let role = role.strip_suffix('s').unwrap_or(role);
        match plain_text::judge((self.file, role), plan, &cx.plain_text) {
            Ok(shown) => self.plain_text.extend(shown),
            Err(errors) => self.errors.extend(errors),
        }
        Some(built)
    }

    /// The catalogue's entry of a component that was built.
    fn entry<R: Role + ?Sized>(&self, plan: &ComponentPlan) -> Option<&'static Entry<R>> {
        self.catalogue.find(&plan.kind).ok()
    }

    fn context(&self, plan: &ComponentPlan, role: &str, along: &Extensions) -> BuildContext {
        BuildContext {
            name: plan.name.as_str().into(),
            directory: self.data_dir.join(role).join(&plan.name),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            catalogue: self.catalogue,
            extensions: along.clone(),
            plain_text: PlainText::default(),
        }
    }

    fn built<R: Role + ?Sized>(
        &mut self,
        plan: &ComponentPlan,
        cx: &BuildContext,
    ) -> Option<Box<R>> {
        match plan.build(cx) {
            Ok(built) => Some(built),
            Err(errors) => {
                let at = |error| ConfigError::at(self.file, &plan.path, error);
                self.errors.extend(errors.into_iter().map(at));
                None
            }
        }
    }

    /// A channel, or the one that stays in its place.
    fn channel(
        &mut self,
        channel: &ChannelPlan,
        agent_floors: &FloorBoard,
        whole: &Plan,
        kept: &KeptParts,
    ) -> Option<BuiltChannel> {
        let plan = &channel.component;
        let name: Arc<str> = plan.name.as_str().into();
        let (channel_built, boards) = match kept.channels.get(&name) {
            Some((channel, boards)) => (channel.clone(), boards.clone()),
            None => {
                let known = self.data_dir.join("ledgers").join(&plan.name);
                let ledgers = LedgerBoard::with_file(self.env.clone(), known);
                let boards =
                    Boards::new(self.env, agent_floors, ledgers, &whole.agent, &kept.traces);
                let built = self.component::<dyn Channel>(plan, "channels", &boards.shared())?;
                self.metrics.begin_channel(&plan.name, self.entry::<dyn Channel>(plan)?.anomalies);
                (Arc::from(built), boards)
            }
        };
        Some(BuiltChannel {
            name,
            kind: plan.kind.clone(),
            digest: channel.digest(),
            boards,
            consumers: consumers(&whole.groups, &plan.name),
            channel: channel_built,
        })
    }

    fn source(&mut self, plan: &SourcePlan) -> Option<BuiltSource> {
        // Sources do not need the boards of the channels.
        let (none, shown) = (&Extensions::default(), Extensions::default());
        let source = self.component(&plan.component, "sources", &shown);
        let build = |plan: &ComponentPlan| {
            let interceptor = self.component(plan, "interceptors", none)?;
            Some(BuiltInterceptor { kind: plan.kind.as_str().into(), interceptor })
        };
        let interceptors: Vec<_> = plan.interceptors.iter().map(build).collect();
        let along = Extensions::default().with(RequiredChannels(Some(plan.channels.len())));
        let selector = self.component(&plan.selector, "selectors", &along);
        let name = &plan.component.name;
        self.metrics.begin_source(name, self.entry::<dyn Source>(&plan.component)?.anomalies);
        for it in &plan.interceptors {
            self.metrics.begin_interceptor(name, self.entry::<dyn Interceptor>(it)?.letters);
        }
        Some(BuiltSource {
            name: plan.component.name.as_str().into(),
            kind: plan.component.kind.clone(),
            digest: plan.digest(),
            source: source?,
            interceptors: interceptors.into_iter().collect::<Option<_>>()?,
            selector: selector?,
            senders: shown.get(),
            tenants: shown.get(),
            files: shown.get(),
            refusals: shown.get(),
            required: plan.channels.clone(),
            optional: plan.optional_channels.clone(),
            naming: BTreeSet::new(),
            routing: None,
        })
    }

    fn group(&mut self, plan: &GroupPlan, channel: Option<&BuiltChannel>) -> Option<BuiltGroup> {
        // A failed channel is reported already; a group that stays has no built channel.
        let boards = channel.map(|built| built.boards.clone()).unwrap_or_default();
        let along = boards.shared().with(RoutingBoard::default());
        let sinks: Vec<_> = plan.sinks.iter().map(|sink| self.sinks(sink, &along)).collect();
        let mut processor = plan.processor.clone();
        if let Some(names) = processor.settings.take("sinks") {
            // As often as a sink has members, so that both count the same.
            let of = |(sink, built): (&ComponentPlan, &Option<Vec<_>>)| {
                let name = Settings::at(Value::Text(sink.name.clone()), names.place.clone());
                vec![name; built.as_ref().map_or(1, Vec::len)]
            };
            let all = plan.sinks.iter().zip(&sinks).flat_map(of);
            processor.settings.set("sinks", Settings::list(all));
        }
        let processor = self.component(&processor, "groups", &along);
        let sinks: Option<Vec<_>> = sinks.into_iter().collect();
        let mut built = sinks.iter().flatten().flatten();
        if built.any(|named| named.sink.extensions().find::<NextHop>().is_none()) {
            boards.limits.accept_any();
        }
        Some(BuiltGroup {
            name: plan.name.as_str().into(),
            digest: plan.digest(),
            kind: plan.processor.kind.clone(),
            processor: processor?,
            channel: plan.channel.clone(),
            sinks: sinks?.into_iter().flatten().collect(),
        })
    }

    /// The members that a sink is: one, or as many as it has seats.
    fn sinks(&mut self, plan: &ComponentPlan, along: &Extensions) -> Option<Vec<NamedSink>> {
        let first = self.component::<dyn Sink>(plan, "sinks", along)?;
        let letters = self.entry::<dyn Sink>(plan)?.letters;
        let named = |name, sink| NamedSink { name, kind: plan.kind.clone(), letters, sink };
        let Some(seat) = first.extensions().find::<Seat>() else {
            self.metrics.begin_sink(&plan.name, letters);
            return Some(vec![named(plan.name.as_str().into(), first)]);
        };
        let name = |seat: &Seat| Arc::from(format!("{}-{}", plan.name, seat.index()));
        let board = seat.board().clone();
        let mut sinks = vec![named(name(&seat), first)];
        for seat in board.seats().skip(1) {
            let cx = self.context(plan, "sinks", &along.with(seat.clone()));
            let cx = BuildContext { name: name(&seat), ..cx };
            let sink = self.built(plan, &cx)?;
            sinks.push(named(cx.name, sink));
        }
        Some(sinks)
    }
}

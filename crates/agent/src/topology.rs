//! From a plan to components: everything is built before anything starts, and building does no I/O.

use std::path::Path;
use std::sync::Arc;

use config::{ComponentPlan, ConfigError, ConfigErrors, GroupPlan, Plan, SourcePlan};
use pipeline::settings::Value;
use pipeline::{
    BuildContext, Catalogue, Channel, ChannelSelector, Env, FloorBoard, Interceptor, LedgerBoard,
    LimitBoard, Metrics, OutletBoard, Role, Routing, RoutingBoard, Seat, Settings, Sink,
    SinkProcessor, Source,
};

use crate::dead_letters;
use crate::group::NamedSink;
use crate::resources::Resources;
use crate::routing;

/// What the agent is made of, built and not started.
pub(crate) struct Topology {
    pub(crate) channels: Vec<BuiltChannel>,
    pub(crate) sources: Vec<BuiltSource>,
    pub(crate) groups: Vec<BuiltGroup>,
    pub(crate) dead_letters: dead_letters::Config,
}

pub(crate) struct BuiltChannel {
    pub(crate) name: Arc<str>,
    /// What is known along it of epochs that hold nothing any more.
    pub(crate) floors: FloorBoard,
    /// Whether what it holds can leave it.
    pub(crate) outlet: OutletBoard,
    /// What the peers behind it take at most.
    pub(crate) limits: LimitBoard,
    /// The commit ledgers behind it.
    pub(crate) ledgers: LedgerBoard,
    pub(crate) channel: Arc<dyn Channel>,
}

pub(crate) struct BuiltSource {
    pub(crate) name: Arc<str>,
    pub(crate) source: Box<dyn Source>,
    pub(crate) interceptors: Vec<Box<dyn Interceptor>>,
    pub(crate) selector: Box<dyn ChannelSelector>,
    pub(crate) required: Vec<String>,
    pub(crate) optional: Vec<String>,
    /// How its batches are sent into datasets.
    pub(crate) routing: Option<Routing>,
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
        catalogue: Catalogue,
        env: &Env,
        metrics: &Metrics,
    ) -> Result<Self, ConfigErrors> {
        let mut builder = Builder {
            file: &plan.file,
            data_dir: &plan.agent.data_dir,
            env,
            metrics,
            catalogue,
            errors: Vec::new(),
        };
        let (agent_floors, alone) = (FloorBoard::default(), RoutingBoard::default());
        let channels = plan.channels.iter().filter_map(|channel| {
            let (floors, limits) = (agent_floors.of_another_channel(), LimitBoard::default());
            let plan = &channel.component;
            let known = builder.data_dir.join("ledgers").join(&plan.name);
            let ledgers = LedgerBoard::kept_in(env.clone(), known);
            let along =
                Along { floors: &floors, limits: &limits, ledgers: &ledgers, routing: &alone };
            let built = builder.component(plan, "channels", along)?;
            metrics.begin_channel(&plan.name, &plan.kind);
            let name = plan.name.as_str().into();
            let outlet = OutletBoard::default();
            Some(BuiltChannel { name, floors, outlet, limits, ledgers, channel: Arc::from(built) })
        });
        let channels: Vec<BuiltChannel> = channels.collect();
        agent_floors.know_channels(channels.iter().map(|built| &built.channel));
        let mut resources = Resources::of(plan);
        let sources = plan.sources.iter().filter_map(|source| {
            let built = builder.source(source)?;
            resources.add(source, &*built.source);
            Some(built)
        });
        let mut sources: Vec<BuiltSource> = sources.collect();
        builder.errors.extend(resources.clashes());
        let groups = plan.groups.iter().filter_map(|group| {
            let channel = channels.iter().find(|channel| *channel.name == *group.channel);
            builder.group(group, channel)
        });
        let groups: Vec<BuiltGroup> = groups.collect();
        sources.iter_mut().for_each(|source| source.routing = routing::of(source, &groups));
        let dead_letters = dead_letters::Config::read(&plan.dead_letters);
        let dead_letters = dead_letters.unwrap_or_else(|error| {
            builder.errors.push(ConfigError::at(&plan.file, "dead_letters", error));
            dead_letters::Config::default()
        });
        builder.errors.extend(unfit(plan, &sources, &channels));
        ConfigErrors::check(builder.errors)?;
        Ok(Self { channels, sources, groups, dead_letters })
    }

    /// The channel of this name.
    pub(crate) fn channel(&self, name: &str) -> Arc<dyn Channel> {
        self.built(name).channel.clone()
    }

    /// What is known along the channel of this name: of epochs that hold nothing any more, of what
    /// the peers behind it take at most, whether what it holds can leave it, and by which ledgers
    /// it is committed.
    pub(crate) fn boards(&self, name: &str) -> (FloorBoard, LimitBoard, OutletBoard, LedgerBoard) {
        let BuiltChannel { floors, limits, outlet, ledgers, .. } = self.built(name);
        (floors.clone(), limits.clone(), outlet.clone(), ledgers.clone())
    }

    /// Whether what the channel of this name holds can leave it.
    pub(crate) fn outlet(&self, name: &str) -> OutletBoard {
        self.built(name).outlet.clone()
    }

    fn built(&self, name: &str) -> &BuiltChannel {
        let found = self.channels.iter().find(|channel| &*channel.name == name);
        found.expect("a plan names only channels that it has")
    }
}

/// A channel that no usual batch of a source fits: it would try for ever.
fn unfit(plan: &Plan, sources: &[BuiltSource], channels: &[BuiltChannel]) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for built in channels {
        let most = built.channel.batch_max();
        let is_fed = |source: &&BuiltSource| {
            source.required.iter().chain(&source.optional).any(|name| **name == *built.name)
        };
        let fed_by = sources.iter().filter(is_fed);
        let Some(source) = fed_by.max_by_key(|source| source.source.batch_bytes()) else {
            continue;
        };
        let (name, bytes) = (&source.name, source.source.batch_bytes());
        let planned = plan.channels.iter().find(|planned| *planned.component.name == *built.name);
        if let Some(planned) = planned.map(|planned| &planned.component).filter(|_| bytes > most) {
            let problem = format!(
                "a batch of source `{name}` has up to {bytes} bytes, and the largest that fits has \
                 {most}; raise `capacity`, or make the batches of the source smaller"
            );
            let error = planned.settings.invalid("capacity", &problem);
            errors.push(ConfigError::at(&plan.file, &planned.path, error));
        }
    }
    errors
}

/// What a component shares with others along its channel and in its group.
#[derive(Clone, Copy)]
struct Along<'a> {
    floors: &'a FloorBoard,
    limits: &'a LimitBoard,
    ledgers: &'a LedgerBoard,
    routing: &'a RoutingBoard,
}

struct Builder<'a> {
    file: &'a str,
    data_dir: &'a Path,
    env: &'a Env,
    metrics: &'a Metrics,
    catalogue: Catalogue,
    errors: Vec<ConfigError>,
}

impl Builder<'_> {
    /// Builds one component; a problem is noted and the rest goes on, so that all are told at once.
    fn component<R: Role + ?Sized>(
        &mut self,
        plan: &ComponentPlan,
        role: &str,
        along: Along<'_>,
    ) -> Option<Box<R>> {
        let cx = self.context(plan, role, along);
        self.built(plan, &cx)
    }

    fn context(
        &self,
        plan: &ComponentPlan,
        role: &str,
        Along { floors, limits, ledgers, routing }: Along<'_>,
    ) -> BuildContext {
        BuildContext {
            name: plan.name.as_str().into(),
            directory: self.data_dir.join(role).join(&plan.name),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            catalogue: self.catalogue,
            floors: floors.clone(),
            limits: limits.clone(),
            ledgers: ledgers.clone(),
            routing: routing.clone(),
            seat: None,
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

    fn source(&mut self, plan: &SourcePlan) -> Option<BuiltSource> {
        // What feeds channels has no business with what is forgotten behind them.
        let none = Along {
            floors: &FloorBoard::default(),
            limits: &LimitBoard::default(),
            ledgers: &LedgerBoard::default(),
            routing: &RoutingBoard::default(),
        };
        let source = self.component(&plan.component, "sources", none);
        let interceptors: Vec<_> = plan
            .interceptors
            .iter()
            .map(|plan| self.component(plan, "interceptors", none))
            .collect();
        let selector = self.component(&plan.selector, "selectors", none);
        self.metrics.begin_source(&plan.component.name, &plan.component.kind);
        Some(BuiltSource {
            name: plan.component.name.as_str().into(),
            source: source?,
            interceptors: interceptors.into_iter().collect::<Option<_>>()?,
            selector: selector?,
            required: plan.channels.clone(),
            optional: plan.optional_channels.clone(),
            routing: None,
        })
    }

    fn group(&mut self, plan: &GroupPlan, channel: Option<&BuiltChannel>) -> Option<BuiltGroup> {
        // A channel that could not be built is told of already.
        let of = |built: &BuiltChannel| {
            (built.floors.clone(), built.limits.clone(), built.ledgers.clone())
        };
        let (floors, limits, ledgers) = channel.map(of).unwrap_or_default();
        let routing = &RoutingBoard::default();
        let along = Along { floors: &floors, limits: &limits, ledgers: &ledgers, routing };
        let sinks: Vec<_> = plan.sinks.iter().map(|sink| self.sinks(sink, along)).collect();
        let mut processor = plan.processor.clone();
        if let Some(names) = processor.settings.take("sinks") {
            // As often as a sink has members, so that both count the same.
            let of = |(sink, built): (&ComponentPlan, &Option<Vec<_>>)| {
                let name = Settings { value: Value::Text(sink.name.clone()), line: names.line };
                vec![name; built.as_ref().map_or(1, Vec::len)]
            };
            let all = plan.sinks.iter().zip(&sinks).flat_map(of).collect();
            processor.settings.set("sinks", Settings { value: Value::List(all), line: names.line });
        }
        let processor = self.component(&processor, "groups", along);
        let sinks: Option<Vec<_>> = sinks.into_iter().collect();
        Some(BuiltGroup {
            name: plan.name.as_str().into(),
            processor: processor?,
            channel: plan.channel.clone(),
            sinks: sinks?.into_iter().flatten().collect(),
        })
    }

    /// The members that a sink is: one, or as many as it has seats.
    fn sinks(&mut self, plan: &ComponentPlan, along: Along<'_>) -> Option<Vec<NamedSink>> {
        let first = self.component::<dyn Sink>(plan, "sinks", along)?;
        let Some(seat) = first.seat() else {
            self.metrics.begin_sink(&plan.name, &plan.kind);
            return Some(vec![NamedSink { name: plan.name.as_str().into(), sink: first }]);
        };
        let name = |seat: &Seat| Arc::from(format!("{}-{}", plan.name, seat.index()));
        let board = seat.board().clone();
        let mut sinks = vec![NamedSink { name: name(seat), sink: first }];
        for seat in board.seats().skip(1) {
            let cx = self.context(plan, "sinks", along);
            let cx = BuildContext { name: name(&seat), seat: Some(seat), ..cx };
            let sink = self.built(plan, &cx)?;
            sinks.push(NamedSink { name: cx.name, sink });
        }
        Some(sinks)
    }
}

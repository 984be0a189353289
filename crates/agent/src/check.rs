//! The guarantees of a plan, found by building it without any I/O.

use std::collections::BTreeMap;

use config::{ComponentPlan, ConfigError, ConfigErrors, GroupPlan, Plan};
use metrics::Metrics;
use peers::discovery::Discovery;
use pipeline::{Catalogue, Env, Guarantee, ResendMode, Routing};

use crate::built::BuiltGroup;
use crate::group::NamedSink;
use crate::status::PlainTextStatus;
use crate::topology::Topology;

/// The weakest promise on the way out of one sink, for `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Name of the sink.
    pub sink: String,
    /// The channel from which it takes.
    pub channel: String,
    /// Kind of that channel.
    pub channel_kind: String,
    /// The guarantee of that channel.
    pub channel_guarantee: Guarantee,
    /// The guarantee of the sink.
    pub guarantee: Guarantee,
}

/// The guarantees of a valid plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Of each sink.
    pub promises: Vec<Promise>,
    /// The guarantee of each source, by name.
    pub sources: BTreeMap<String, Guarantee>,
    /// How each source's batches are routed into datasets, by its name; must be the same on all
    /// collectors of a group. Without sources that forward to other agents.
    pub routings: Vec<(String, Routing)>,
    /// The lookup of each discovered sink, by its name.
    pub discoveries: Vec<(String, Discovery)>,
    /// Sources that cannot report progress, by the channel whose reports they hold back. Without
    /// channels that lead to no receipts.
    pub silent: BTreeMap<String, Vec<String>>,
    /// Settings that may be intended, but exceed the disk or are not safe.
    pub warnings: Vec<String>,
}

/// A plan with the problems of its names and its graph.
pub type Draft = (Plan, Vec<ConfigError>);

/// Builds everything that `plan` names, without any I/O, and returns its guarantees. Reads only the
/// size and free space of the disk.
///
/// # Errors
/// Every invalid setting.
pub fn check(plan: &Plan, catalogue: Catalogue, env: &Env) -> Result<Checked, ConfigErrors> {
    let topology = Topology::build(plan, catalogue, env, &Metrics::default())?;
    let kind = |name: &str| {
        let channel = plan.channels.iter().find(|channel| channel.component.name == name);
        channel.map(|channel| channel.component.kind.clone()).unwrap_or_default()
    };
    let (mut promises, mut discoveries) = (Vec::new(), Vec::new());
    // A group of a channel that does not exist is among the problems of the graph.
    let is_known = |group: &&BuiltGroup| {
        plan.channels.iter().any(|channel| channel.component.name == *group.channel)
    };
    for group in topology.groups.iter().filter(is_known) {
        for (name, named) in named_sinks(plan, group) {
            promises.push(Promise {
                sink: name.clone(),
                channel: group.channel.clone(),
                channel_kind: kind(&group.channel),
                channel_guarantee: topology.channel(&group.channel).guarantee(),
                guarantee: named.sink.guarantee(),
            });
            if let Some(seat) = named.seat() {
                discoveries.push((name, seat.board().discovery().clone()));
            }
        }
    }
    let routings = topology.sources.iter().filter_map(|source| {
        let routing = source.routing.as_ref()?;
        Some((source.name.to_string(), routing.clone()))
    });
    let of_disk = topology.channels.iter().flat_map(|built| built.channel.warnings());
    let plain = topology.plain_text.iter().map(|it| {
        let PlainTextStatus { component, setting, address } = it;
        format!(
            "{component}: `{setting}`: plain text leaves this host over {address}: others can read \
             and change it; set the table `tls` and remove `insecure`, or ignore this if you \
             accept it"
        )
    });
    let warnings = of_disk.chain(plain).collect();
    let sources = topology.sources.iter();
    let sources = sources.map(|built| (built.name.to_string(), built.source.guarantee())).collect();
    let silent = silent_sources(plan, &topology);
    Ok(Checked { promises, sources, routings: routings.collect(), discoveries, silent, warnings })
}

/// Returns the sources that hold reports of progress back, by channel, where receipts may need
/// them: if the channel leads to other agents, or to a sink with receipts.
fn silent_sources(plan: &Plan, topology: &Topology) -> BTreeMap<String, Vec<String>> {
    let needs = |group: &&GroupPlan| {
        let is_needed =
            |it: &ComponentPlan| it.kind == "grpc" || it.settings.get("complete").is_some();
        group.sinks.iter().any(is_needed)
    };
    let needed: Vec<&String> = plan.groups.iter().filter(needs).map(|it| &it.channel).collect();
    let mut silent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for built in &topology.sources {
        let is_relay = built.source.resend_mode() == ResendMode::ByIdentity;
        if is_relay || built.source.reports_progress() {
            continue;
        }
        for channel in built.required.iter().filter(|channel| needed.contains(channel)) {
            silent.entry(channel.clone()).or_default().push(built.name.to_string());
        }
    }
    silent
}

/// Returns the plan with its guarantees, if it is sound and every component of it can be built.
///
/// # Errors
/// Every problem that was found: with the names, with the graph, with the components' settings.
pub fn checked(
    (mut plan, mut errors): Draft,
    catalogue: Catalogue,
    env: &Env,
) -> Result<(Plan, Checked), ConfigErrors> {
    let checked = check(&plan, catalogue, env).unwrap_or_else(|more| {
        errors.extend(more.0);
        Checked::default()
    });
    ConfigErrors::check(errors)?;
    plan.agent.data_dir = pipeline::env::resolved(&*env.disk, &plan.agent.data_dir);
    Ok((plan, checked))
}

/// Returns the sources that would resend events with `plan`, because their positions have another
/// name or are in another channel: the amount and the remedy. Reads the data directory, whose agent
/// may run.
///
/// # Errors
/// Every invalid setting.
pub fn resends(plan: &Plan, catalogue: Catalogue, env: &Env) -> Result<Vec<String>, ConfigErrors> {
    let topology = Topology::build(plan, catalogue, env, &Metrics::default())?;
    Ok(crate::resends::find(&topology, plan, env))
}

/// The sinks of a group by their names in the configuration: of a discovered one, its first seat.
fn named_sinks<'a>(
    plan: &Plan,
    group: &'a BuiltGroup,
) -> impl Iterator<Item = (String, &'a NamedSink)> {
    let planned = plan.groups.iter().find(|planned| *planned.name == *group.name);
    let names = planned.map_or(&[][..], |planned| &planned.sinks).iter();
    let is_first = |named: &&NamedSink| named.seat().is_none_or(|seat| seat.index() == 0);
    let names: Vec<String> = names.map(|sink| sink.name.clone()).collect();
    names.into_iter().zip(group.sinks.iter().filter(is_first))
}

//! The guarantee of each path from a source to a sink, and the component that limits it.

use agent::{Checked, Promise};
use config::{Plan, SourcePlan};
use pipeline::settings::Value;
use pipeline::{Guarantee, Settings};
use serde::{Serialize, Serializer};

/// A path of events through the agent.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Path {
    pub(super) source: String,
    pub(super) channel: String,
    pub(super) sink: String,
    #[serde(serialize_with = "by_name")]
    pub(super) guarantee: Guarantee,
    /// The component that limits the guarantee.
    pub(super) weakest: Option<String>,
}

/// Returns every path from a source to a sink, with its weakest guarantee.
pub(super) fn paths(plan: &Plan, checked: &Checked) -> Vec<Path> {
    let mut paths = Vec::new();
    for source in &plan.sources {
        // A checked plan has a promise for each source.
        let given = checked.sources[&source.component.name];
        let required = source.channels.iter().map(|channel| (channel, true));
        let optional = source.optional_channels.iter().map(|channel| (channel, false));
        for (channel, is_required) in required.chain(optional) {
            for promise in checked.promises.iter().filter(|promise| promise.channel == *channel) {
                paths.push(path(plan, (source, given), is_required, promise));
            }
        }
    }
    paths
}

fn path(
    plan: &Plan,
    (source, given): (&SourcePlan, Guarantee),
    is_required: bool,
    promise: &Promise,
) -> Path {
    let name = &source.component.name;
    let (held, why) = match (is_required, promise.channel_guarantee) {
        (false, _) => (Guarantee::BestEffort, "is optional: skipped when it is full"),
        (true, Guarantee::BestEffort) => (Guarantee::BestEffort, "drops events when it is full"),
        (true, Guarantee::AtLeastOnce) => {
            (Guarantee::AtLeastOnce, "is lost with its process: events are reread or resent")
        }
        (true, Guarantee::ExactlyOnce) => (Guarantee::ExactlyOnce, ""),
    };
    let guarantee = given.min(held).min(promise.guarantee);
    let weakest = if guarantee == Guarantee::ExactlyOnce {
        forgets_early(plan, &promise.sink).then(|| {
            format!(
                "sink {} has `retain = \"stored\"`: events are lost with the disk of the next \
                 agent",
                promise.sink
            )
        })
    } else if promise.guarantee == guarantee {
        Some(format!("sink {}", promise.sink))
    } else if held == guarantee {
        Some(format!("channel {} {why}", promise.channel))
    } else if guarantee == Guarantee::AtLeastOnce {
        Some(format!("source {name}: clients resend unanswered events under a new identity"))
    } else {
        Some(format!("source {name}: its protocol has no acknowledgements"))
    };
    Path {
        source: format!("{name} ({})", source.component.kind),
        channel: format!("{} ({})", promise.channel, promise.channel_kind),
        sink: promise.sink.clone(),
        guarantee,
        weakest,
    }
}

/// Returns whether the channel drops events as soon as they are on the next agent's disk.
fn forgets_early(plan: &Plan, sink: &str) -> bool {
    let sink = plan.groups.iter().flat_map(|group| &group.sinks).find(|plan| plan.name == sink);
    sink.and_then(|plan| text_setting(&plan.settings, "retain"))
        .is_some_and(|retain| retain == "stored")
}

/// Returns a text setting.
fn text_setting<'a>(settings: &'a Settings, setting: &str) -> Option<&'a str> {
    match &settings.get(setting)?.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// Serializes the guarantee for programs.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn by_name<S: Serializer>(guarantee: &Guarantee, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match guarantee {
        Guarantee::BestEffort => "best_effort",
        Guarantee::AtLeastOnce => "at_least_once",
        Guarantee::ExactlyOnce => "exactly_once",
    })
}

/// Returns the guarantee as shown in the report.
pub(super) fn guarantee_text(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::BestEffort => "best effort: events may be lost",
        Guarantee::AtLeastOnce => "at least once: events may be repeated",
        Guarantee::ExactlyOnce => "exactly once",
    }
}

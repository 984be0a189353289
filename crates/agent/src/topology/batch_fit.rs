//! Channels that are too small for their sources.

use config::{ConfigError, Plan};

use crate::built::{BuiltChannel, BuiltSource};

/// A channel that no usual batch of a source fits: it would try for ever.
pub(super) fn batch_fit_problem(
    plan: &Plan,
    sources: &[BuiltSource],
    channels: &[BuiltChannel],
) -> Vec<ConfigError> {
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
                "batches of source `{name}` have up to {bytes} bytes, and this channel accepts \
                 at most {most}; raise `capacity`, or make the batches of the source smaller"
            );
            let error = planned.settings.invalid("capacity", &problem);
            errors.push(ConfigError::at(&plan.file, &planned.path, error));
        }
    }
    errors
}

//! Decides which channels of a source rename the parts of a batch: see [`pipeline::PartNames`].
//!
//! Parts of one batch must not meet under one name: the second one would count as a repetition. A
//! channel that ends in a dataset keeps the name, because each sink has a separate ledger, and
//! agents of one group need the same names there. The destinations downstream of another agent are
//! unknown here. Therefore a channel that leads to an agent renames its parts if any other channel
//! could lead to the same destination.

use std::collections::BTreeSet;

use pipeline::DedupeScope;

use crate::built::{BuiltGroup, BuiltSource};

/// Returns the scopes of deduplication downstream of this channel.
pub(crate) fn scopes<'a>(
    channel: &str,
    groups: &'a [BuiltGroup],
) -> impl Iterator<Item = DedupeScope> + use<'a> {
    let channel = channel.to_owned();
    let groups = groups.iter().filter(move |group| group.channel == channel);
    groups.flat_map(|group| &group.sinks).map(|named| named.sink.dedupe_scope())
}

/// The channels of `source` that name their parts.
pub(crate) fn naming(source: &BuiltSource, groups: &[BuiltGroup]) -> BTreeSet<String> {
    let channels = || source.required.iter().chain(&source.optional);
    let knows =
        |channel: &&String| scopes(channel, groups).any(|scope| scope != DedupeScope::Nothing);
    if !source.selector.splits() || channels().filter(knows).count() < 2 {
        return BTreeSet::new();
    }
    let leads_on =
        |channel: &&String| scopes(channel, groups).any(|scope| scope == DedupeScope::NextAgent);
    channels().filter(leads_on).cloned().collect()
}

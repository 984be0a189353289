//! The last span of a sampled batch: the commit of its roll, with the files of its events.

use ledger::{Dataset, StagedFile};
use pipeline::traces::Attribute;
use pipeline::{Identity, IntervalSet, Ticket, Traces};
use tokio::time::Instant;

/// The sampled batches of a roll being committed.
pub(super) struct Traced<'a> {
    traces: &'a Traces,
    began: Instant,
    batches: Vec<(Ticket, Identity)>,
}

impl<'a> Traced<'a> {
    /// Selects the sampled batches, starting now. Without tracing, does nothing.
    pub(super) fn new(traces: &'a Traces, batches: &[(Ticket, Option<Identity>)]) -> Self {
        let batches = if traces.is_on() { batches } else { &[] };
        let named = batches.iter().filter_map(|(ticket, key)| Some((*ticket, (*key)?)));
        let sampled = named.filter(|(_, key)| traces.trace_id(*key).is_some()).collect();
        Self { traces, began: Instant::now(), batches: sampled }
    }

    /// Ends the spans; `in_files` contains the batches of each file, in order. `entry` is the
    /// number of the ledger entry.
    pub(super) fn end(
        self,
        dataset: &Dataset,
        files: &[StagedFile],
        in_files: &[IntervalSet],
        entry: Option<u64>,
    ) {
        let Self { traces, began, batches } = self;
        for (ticket, key) in batches {
            let of_it = files.iter().zip(in_files).filter(|(_, held)| held.contains(ticket));
            let paths: Vec<String> =
                of_it.map(|(file, _)| dataset.published(&file.target)).collect();
            // A repeated batch shares the result of the first one.
            if paths.is_empty() {
                continue;
            }
            let paths = ("aqueduct.files", Attribute::Texts(paths));
            let entry = entry.map(|entry| ("aqueduct.ledger.entry", Attribute::Number(entry)));
            traces.committed(key, began, || [paths].into_iter().chain(entry));
        }
    }
}

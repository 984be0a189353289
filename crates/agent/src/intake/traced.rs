//! The span of a put: from the moment at which the source passes the batch on until it is stored.
//!
//! The name of a batch decides whether it is sampled. If this put assigns the name, it is not known
//! before: while traces are on, the channel is asked for it.

use std::sync::Arc;

use pipeline::traces::TraceId;
use pipeline::{Batch, ChannelError, GivenName, Identity, PutTransaction};
use support::causes::chain;
use support::meter::Volume;
use tokio::time::Instant;

use super::FedChannel;

/// A put of a batch that is sampled, or may be.
pub(super) struct TracedPut {
    source: Arc<str>,
    began: Instant,
    name: Name,
}

enum Name {
    /// The batch had this one.
    Known(Identity),
    /// The channel assigns one.
    Given(GivenName),
}

impl TracedPut {
    /// Begins the span; `None` if the batch is certainly not sampled.
    pub(super) fn begin(
        to: &FedChannel,
        put: &mut dyn PutTransaction,
        part: &Batch,
        (source, began): (&Arc<str>, Instant),
    ) -> Option<Self> {
        let traces = &to.boards.traces;
        if !traces.is_on() || part.is_empty() {
            return None;
        }
        let name = match part.envelope.identity {
            Some(name) => traces.trace_id(name).map(|_| Name::Known(name))?,
            None => {
                let given = GivenName::default();
                put.name_into(given.clone());
                Name::Given(given)
            }
        };
        Some(Self { source: source.clone(), began, name })
    }

    /// Ends the span, with this error or successfully.
    pub(super) fn end(self, to: &FedChannel, volume: Volume, error: Option<&ChannelError>) {
        let Self { source, began, name } = self;
        let is_born = matches!(name, Name::Given(_));
        let name = match name {
            Name::Known(name) => name,
            // Without a name, nothing of it is stored.
            Name::Given(given) => match given.get() {
                Some(name) => to.channel.renamed(name).unwrap_or(name),
                None => return,
            },
        };
        let traces = &to.boards.traces;
        let Some(span) = traces.span(name, "put", (began, Instant::now())) else { return };
        let mut span = span
            .text("aqueduct.source", &*source)
            .text("aqueduct.channel", &*to.name)
            .number("aqueduct.events", volume.events)
            .number("aqueduct.bytes", volume.bytes);
        let is_part = !is_born && to.splits;
        span.is_root = is_born || is_part;
        if is_part {
            let origin = to.names.original(name.origin);
            span.part_of = Some(TraceId::from_identity(Identity { origin, ..name }));
        }
        traces.record(match error {
            Some(error) => span.failed(chain(error)),
            None => span,
        });
    }
}

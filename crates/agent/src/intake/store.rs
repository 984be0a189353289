//! A batch on its way into the channels: routed, put, committed and counted.

use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture, join_all};
use metrics::SourceLabel;
use pipeline::{Batch, BatchSize, ChannelError, IntakeError, Rest, Turn};
use support::causes::chain;
use support::meter::Volume;
use tokio::time::Instant;
use tracing::debug;

use super::AgentIntake;
use super::choice::Chosen;
use super::puts::{Committed, OpenPut, is_noop, volume};
use super::route::Parts;
use crate::status::BatchFlow;

/// The puts of a batch.
pub(super) enum Puts<'a> {
    /// Several required channels, each with its part.
    Each(Vec<OpenPut<'a>>),
    /// One of the required channels, with the part of each, and when the source passed the batch
    /// on.
    One(Chosen, Vec<Batch>, Instant),
}

impl Puts<'_> {
    /// The channels that the batch is put into at the same time.
    fn len(&self) -> usize {
        match self {
            Self::Each(puts) => puts.len(),
            Self::One(..) => 1,
        }
    }
}

impl AgentIntake {
    /// Runs interceptors and selector, and stores rejected events.
    pub(super) async fn route(&self, batch: Batch) -> Result<Parts, IntakeError> {
        let identity = batch.envelope.identity;
        let is_resendable = identity.is_some() || !batch.envelope.positions.is_empty();
        debug_assert!(!(self.route.is_free() && is_resendable), "the start refuses such a source");
        self.tap.pass(&batch);
        let routed = self.route.route(batch).await?;
        let settled = routed.settle(&self.source, &self.dead_letters, self.required.len());
        let mut parts = settled.await?;
        if let Some(identity) = identity {
            let required = self.required.iter().zip(&mut parts.required);
            for (fed, part) in required.chain(self.optional.iter().zip(&mut parts.optional)) {
                part.envelope.identity = Some(fed.name_for(identity));
            }
        }
        Ok(parts)
    }

    fn count_anomaly(&self, reason: &'static str, times: u64) {
        self.metrics.count_anomaly(&self.source, reason, times);
    }

    /// Puts the optional parts that fit right now; counts the events without room.
    pub(super) fn begin_optional(
        &self,
        parts: Vec<Batch>,
        given: Instant,
    ) -> (Vec<OpenPut<'_>>, u64) {
        let (mut puts, mut left_out) = (Vec::new(), 0);
        for (fed, mut part) in self.optional.iter().zip(parts) {
            if part.is_empty() {
                continue;
            }
            // Earlier batches may have been left out here.
            part.envelope.positions.iter_mut().for_each(|position| position.after = None);
            let is_open = fed.boards.opened.is_open();
            let begin = is_open.then(|| fed.channel.begin_put(part.size()).now_or_never());
            match begin.flatten() {
                Some(Ok(put)) => {
                    puts.push(OpenPut::new(fed, put, part, (&self.source, given)));
                }
                _ => {
                    fed.boards.inflow.failed(part.len() as u64);
                    left_out += part.len() as u64;
                }
            }
        }
        if left_out > 0 {
            self.count_anomaly("optional_channel_full", left_out);
        }
        (puts, left_out)
    }

    /// Stores a batch in all channels, or in `only` these required ones. Reserves room with the
    /// `turn`, if given.
    pub(super) async fn store(
        &self,
        batch: Batch,
        only: Option<&[usize]>,
        turn: Option<BoxFuture<'_, Turn>>,
    ) -> Result<(), IntakeError> {
        let began = Instant::now();
        let _step = self.under_way.begin(began);
        let given = volume(&batch);
        let Parts { kept, rejected, required, optional } = self.route(batch).await?;
        // Not earlier: a turn must not last as long as the interceptors.
        let turn = OptionFuture::from(turn).await;
        let free = if only.is_none() && kept > 0 { self.route.order() } else { None };
        let puts = if let Some(order) = free {
            let size = required.first().map(|part| part.size()).unwrap_or_default();
            Puts::One(self.choose(order, size).await?, required, began)
        } else {
            let mut begun = Vec::new();
            for (index, part) in required.into_iter().enumerate() {
                let wanted = only.is_none_or(|only| only.contains(&index));
                if wanted && !is_noop(&part) {
                    let fed = &self.required[index];
                    let put = fed.begin_put(part.size()).await?;
                    begun.push(OpenPut::new(fed, put, part, (&self.source, began)));
                }
            }
            Puts::Each(begun)
        };
        drop(turn);
        let passage = BatchFlow { given, kept, rejected, ..BatchFlow::default() };
        match only {
            None => {
                let optional = self.begin_optional(optional, began);
                self.commit(puts, optional, passage, true).await
            }
            Some(_) => self.commit(puts, (Vec::new(), 0), passage, false).await,
        }
    }

    /// Commits all puts of a batch; `Ok` if the required channels have stored theirs. Such a batch
    /// counts as accepted, unless `is_new` is false.
    pub(super) async fn commit(
        &self,
        puts: Puts<'_>,
        (mut optional, optional_full): (Vec<OpenPut<'_>>, u64),
        passage: BatchFlow,
        is_new: bool,
    ) -> Result<(), IntakeError> {
        let several = optional.len() + puts.len() > 1;
        if several {
            optional.iter_mut().for_each(|begun| begun.put.concurrent());
        }
        let (required, optional) = tokio::join!(
            self.commit_required(puts, several),
            join_all(optional.into_iter().map(OpenPut::commit)),
        );
        let (now, mut passage) = (Instant::now(), BatchFlow { optional_full, ..passage });
        let puts = required.len();
        let (lacking, failure) = self.add_up(required, now, &mut passage);
        let outcome = match failure {
            None => Ok(()),
            Some(source) if lacking.len() < puts => {
                Err(IntakeError::Partly { rest: rest(lacking, passage), source })
            }
            Some(error) => Err(error.into()),
        };
        let mut failed = 0;
        for (to, volume, result) in optional {
            match result {
                Ok(()) => passage.stored += to.boards.inflow.stored(now, volume),
                Err(_) => {
                    failed += 1;
                    passage.optional_failed += volume.events;
                }
            }
        }
        if failed > 0 {
            self.count_anomaly("optional_channel_failed", failed);
        }
        if outcome.is_ok() && is_new {
            self.count(now, passage);
        } else {
            self.locked().not_accepted(passage.stored);
        }
        outcome
    }

    /// Stores the remaining parts of a batch that some required channels have, and then counts the
    /// batch as accepted.
    pub(super) async fn store_rest(&self, left: Rest) -> Result<(), IntakeError> {
        let began = Instant::now();
        let _step = self.under_way.begin(began);
        let mut puts = Vec::new();
        for (at, part) in &left.parts {
            let fed = &self.required[*at];
            match fed.begin_put(part.size()).await {
                Ok(put) => puts.push(OpenPut::new(fed, put, part.clone(), (&self.source, began))),
                // Nothing is stored before there is room for all.
                Err(source) => return Err(IntakeError::Partly { rest: Box::new(left), source }),
            }
        }
        let Rest { given, kept, rejected, stored, .. } = left;
        let given = Volume { events: given.events, bytes: given.bytes };
        let mut passage = BatchFlow { given, kept, rejected, stored, ..BatchFlow::default() };
        let several = puts.len() > 1;
        let committed = self.commit_required(Puts::Each(puts), several).await;
        let now = Instant::now();
        let (lacking, failure) = self.add_up(committed, now, &mut passage);
        if let Some(source) = failure {
            self.locked().not_accepted(passage.stored - stored);
            return Err(IntakeError::Partly { rest: rest(lacking, passage), source });
        }
        // The batch is accepted now, with the parts that earlier attempts stored.
        self.locked().accepted_later(stored);
        self.count(now, passage);
        Ok(())
    }

    /// Adds stored parts to `passage`. Returns the parts that required channels lack, with their
    /// indexes, and the first failure.
    fn add_up(
        &self,
        puts: Vec<Committed<'_>>,
        now: Instant,
        passage: &mut BatchFlow,
    ) -> (Vec<(usize, Batch)>, Option<ChannelError>) {
        let (mut lacking, mut failure) = (Vec::new(), None);
        for (to, volume, result) in puts {
            match result {
                Ok(()) => passage.stored += to.boards.inflow.stored(now, volume),
                Err((error, part)) => {
                    let at = self.required.iter().position(|fed| std::ptr::eq(fed, to));
                    lacking.extend(at.map(|at| (at, part)));
                    failure.get_or_insert(error);
                }
            }
        }
        (lacking, failure)
    }

    /// Commits the puts of the required channels.
    async fn commit_required<'a>(&'a self, puts: Puts<'a>, several: bool) -> Vec<Committed<'a>> {
        match puts {
            // Every commit runs to its end, also when another one has failed.
            Puts::Each(mut puts) => {
                if several {
                    puts.iter_mut().for_each(|begun| begun.put.concurrent());
                }
                join_all(puts.into_iter().map(OpenPut::commit)).await
            }
            Puts::One(chosen, parts, given) => {
                vec![self.put_to_first_with_room(chosen, &parts, given, several).await]
            }
        }
    }

    /// Notes why a batch is not in every required channel. Counts it if it has just been `given`:
    /// the rest of a batch was counted before.
    pub(super) fn note_failure(
        &self,
        given: Option<Volume>,
        stored: Result<(), IntakeError>,
    ) -> Result<(), IntakeError> {
        stored.inspect_err(|error| {
            let mut flow = self.locked();
            given.into_iter().for_each(|given| flow.failed(given));
            if !matches!(error, IntakeError::Stopping) {
                // It is shown in one line.
                flow.refused(Instant::now(), chain(error).replace(char::is_control, " "));
            }
        })
    }

    fn count(&self, now: Instant, passage: BatchFlow) {
        let Volume { events, bytes } = passage.given;
        debug!(source = %self.source, events, bytes, "batch accepted");
        let label = SourceLabel { source: self.source.to_string() };
        self.metrics.source_events.get_or_create(&label).inc_by(events);
        self.metrics.source_bytes.get_or_create(&label).inc_by(bytes);
        self.locked().accepted(now, passage);
    }
}

fn rest(parts: Vec<(usize, Batch)>, passage: BatchFlow) -> Box<Rest> {
    let BatchFlow { given, kept, rejected, stored, .. } = passage;
    let given = BatchSize { events: given.events, bytes: given.bytes };
    Box::new(Rest { parts, given, kept, rejected, stored })
}

//! The intake: the way from one source into its channels.
//!
//! ```text
//!   batch ─► interceptors, in order ─► selector ─► part for channel 0 ─► put ┐
//!                                                  part for channel 1 ─► put ├─ commit all, at once
//!                                                  emptied, to the rest ─► put ┘
//! ```
//!
//! # Invariants
//!
//! 1. Every required channel gets every batch, with or without events: its identity and the
//!    source's positions are then known to all of them, or the batch is asked for again.
//! 2. Room is taken channel by channel in the order of the configuration, so two sources that feed
//!    the same channels never wait for each other in a circle.
//! 3. An optional channel is never waited for, and its failure is counted and not passed on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;
use pipeline::metrics::{SourceLabel, SourceReason};
use pipeline::{
    Batch, BatchSize, Channel, ChannelSelector, Epoch, FloorBoard, Floors, Identity, Intake,
    IntakeError, Interceptor, IntervalSet, KeySet, Known, LedgerBoard, LedgerState, LimitBoard,
    Metrics, Origin, Outage, OutletBoard, Permit, PutTransaction, Routing,
};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::health::{Health, Standing};

/// Sets of committed identities that a receiver may lag behind before it has to ask.
const COMMITTED_BACKLOG: usize = 1024;

/// What is known along each required channel.
pub(crate) type Boards = Vec<(FloorBoard, LimitBoard, OutletBoard, LedgerBoard)>;

/// The way from one source into its channels.
pub(crate) struct AgentIntake {
    source: Arc<str>,
    interceptors: Vec<Box<dyn Interceptor>>,
    selector: Box<dyn ChannelSelector>,
    required: Vec<Arc<dyn Channel>>,
    optional: Vec<Arc<dyn Channel>>,
    /// Of the required channels alone: that a batch is committed says nothing of optional ones.
    boards: Vec<FloorBoard>,
    /// Of the required channels alone, too.
    outlets: Vec<OutletBoard>,
    /// What the peers behind the required channels take at most.
    limits: Vec<LimitBoard>,
    /// The commit ledgers behind the required channels.
    ledgers: Vec<LedgerBoard>,
    routing: Option<Routing>,
    metrics: Metrics,
    /// Only where several channels have to agree on what is committed.
    agreed: Option<broadcast::Sender<Arc<KeySet>>>,
    /// Hears that the source is open.
    health: (Health, Standing),
}

impl AgentIntake {
    /// An intake for the source of this standing. Selections are by index: the required channels first.
    pub(crate) fn new(
        health: (Health, Standing),
        interceptors: Vec<Box<dyn Interceptor>>,
        selector: Box<dyn ChannelSelector>,
        (required, boards): (Vec<Arc<dyn Channel>>, Boards),
        routing: Option<Routing>,
        optional: Vec<Arc<dyn Channel>>,
        metrics: Metrics,
    ) -> Self {
        let (boards, limits, outlets, ledgers) = boards.into_iter().collect();
        let agreed = (required.len() > 1).then(|| broadcast::channel(COMMITTED_BACKLOG).0);
        Self {
            source: health.1.name().clone(),
            interceptors,
            selector,
            required,
            optional,
            boards,
            outlets,
            limits,
            ledgers,
            routing,
            metrics,
            agreed,
            health,
        }
    }

    /// Says which identities are committed in every required channel, until `stop`. There is
    /// nothing to do where there is one channel: then that channel says it itself.
    pub(crate) async fn agree_on_committed(self: Arc<Self>, stop: CancellationToken) {
        let Some(agreed) = &self.agreed else { return };
        let follow = self.required.iter().map(|channel| {
            let mut settled = channel.watch_settled();
            let this = &self;
            async move {
                loop {
                    let keys = match settled.recv().await {
                        Ok(keys) => this.committed_everywhere(&keys),
                        // An empty set says that something was missed: ask.
                        Err(RecvError::Lagged(_)) => KeySet::default(),
                        Err(RecvError::Closed) => return,
                    };
                    // Nobody may be listening now; who comes later asks first.
                    let _ = agreed.send(Arc::new(keys));
                }
            }
        });
        stop.run_until_cancelled(join_all(follow)).await;
    }

    fn committed_everywhere(&self, keys: &KeySet) -> KeySet {
        let mut everywhere = KeySet::default();
        for (origin, epoch, sequences) in keys.iter() {
            let settled = |set: IntervalSet, channel: &Arc<dyn Channel>| {
                set.intersection(&channel.settled(origin, epoch))
            };
            let sequences = self.required.iter().fold(sequences.clone(), settled);
            everywhere.insert_set(origin, epoch, &sequences);
        }
        everywhere
    }

    /// Runs interceptors and selector; the part of each channel, required ones first.
    fn route(&self, mut batch: Batch) -> Vec<Batch> {
        for interceptor in &self.interceptors {
            interceptor.intercept(&mut batch);
        }
        let mut parts = self.selector.select(&batch);
        parts.resize(self.required.len() + self.optional.len(), None);
        parts
            .into_iter()
            .map(|part| match part {
                Some(mut part) => {
                    part.identity = batch.identity;
                    part.positions.clone_from(&batch.positions);
                    part
                }
                None => batch.emptied(),
            })
            .collect()
    }

    fn count_odd(&self, reason: &'static str, times: u64) {
        let label = SourceReason { source: self.source.to_string(), reason };
        self.metrics.source_anomalies.get_or_create(&label).inc_by(times);
    }

    /// Puts the optional parts where there is room right now.
    fn begin_optional(&self, parts: Vec<Batch>) -> Vec<Box<dyn PutTransaction>> {
        let mut puts = Vec::new();
        for (channel, mut part) in self.optional.iter().zip(parts) {
            if part.is_empty() {
                continue;
            }
            // What came before may have been left out here.
            part.positions.iter_mut().for_each(|position| position.after = None);
            match channel.begin_put(part.size()).now_or_never() {
                Some(Ok(mut put)) => {
                    put.put(part);
                    puts.push(put);
                }
                _ => self.count_odd("optional_channel_full", part.len() as u64),
            }
        }
        puts
    }

    async fn store(&self, batch: Batch, only: Option<&[usize]>) -> Result<(), IntakeError> {
        let volume = Volume::of(&batch);
        let mut parts = self.route(batch);
        let optional = parts.split_off(self.required.len());
        let mut puts = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            let wanted = only.is_none_or(|only| only.contains(&index));
            if wanted && !says_nothing(&part) {
                let mut put = self.required[index].begin_put(part.size()).await?;
                put.put(part);
                puts.push(put);
            }
        }
        if only.is_none() {
            self.commit(puts, self.begin_optional(optional)).await?;
            self.count(volume);
        } else {
            self.commit(puts, Vec::new()).await?;
        }
        Ok(())
    }

    /// Commits all puts of a batch; `Ok` if those of the required channels are stored.
    async fn commit(
        &self,
        mut puts: Vec<Box<dyn PutTransaction>>,
        mut optional: Vec<Box<dyn PutTransaction>>,
    ) -> Result<(), IntakeError> {
        if puts.len() + optional.len() > 1 {
            puts.iter_mut().chain(&mut optional).for_each(|put| put.beside_others());
        }
        let (required, optional) = tokio::join!(
            // Every commit runs to its end, also when another one has failed.
            join_all(puts.into_iter().map(PutTransaction::commit)),
            join_all(optional.into_iter().map(PutTransaction::commit)),
        );
        let failed = optional.iter().filter(|result| result.is_err()).count() as u64;
        if failed > 0 {
            self.count_odd("optional_channel_failed", failed);
        }
        required.into_iter().collect::<Result<(), _>>()?;
        Ok(())
    }

    fn count(&self, volume: Volume) {
        let Volume { events, body_bytes } = volume;
        debug!(source = %self.source, events, bytes = body_bytes, "batch accepted");
        let label = SourceLabel { source: self.source.to_string() };
        self.metrics.source_events.get_or_create(&label).inc_by(events);
        self.metrics.source_bytes.get_or_create(&label).inc_by(body_bytes);
    }
}

/// What a batch counts for, before interceptors and selector.
#[derive(Clone, Copy)]
struct Volume {
    events: u64,
    body_bytes: u64,
}

impl Volume {
    fn of(batch: &Batch) -> Self {
        Self { events: batch.len() as u64, body_bytes: batch.body_bytes() }
    }
}

/// Whether there is nothing to store of this part.
fn says_nothing(part: &Batch) -> bool {
    part.is_empty() && part.identity.is_none() && part.positions.is_empty()
}

/// Room in every required channel: a put of each, in their order.
struct Reserved<'a> {
    intake: &'a AgentIntake,
    puts: Vec<Box<dyn PutTransaction>>,
}

#[async_trait]
impl Permit for Reserved<'_> {
    async fn commit(self: Box<Self>, batch: Batch) -> Result<(), IntakeError> {
        let Self { intake, puts } = *self;
        let volume = Volume::of(&batch);
        let mut parts = intake.route(batch);
        let optional = intake.begin_optional(parts.split_off(intake.required.len()));
        let filled = puts.into_iter().zip(parts).filter(|(_, part)| !says_nothing(part));
        let filled = filled.map(|(mut put, part)| {
            put.put(part);
            put
        });
        intake.commit(filled.collect(), optional).await?;
        intake.count(volume);
        Ok(())
    }
}

#[async_trait]
impl Intake for AgentIntake {
    fn opened(&self) {
        let (health, standing) = &self.health;
        health.source_opened(standing);
    }

    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        self.store(batch, None).await
    }

    async fn reserve(&self, size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        let mut puts = Vec::with_capacity(self.required.len());
        for channel in &self.required {
            puts.push(channel.begin_put(size).await?);
        }
        Ok(Box::new(Reserved { intake: self, puts }))
    }

    async fn accept_into(&self, batch: Batch, channels: &[usize]) -> Result<(), IntakeError> {
        self.store(batch, Some(channels)).await
    }

    fn positions(&self, source: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        self.required.iter().map(|channel| channel.positions(source)).collect()
    }

    fn stores_in_turn(&self) -> bool {
        self.required.iter().all(|channel| channel.stores_in_turn())
    }

    fn known(&self, origin: Origin, epoch: Epoch) -> Known {
        let in_all = |of: fn(&dyn Channel, Origin, Epoch) -> IntervalSet| {
            let mut sets = self.required.iter().map(|channel| of(&**channel, origin, epoch));
            let first = sets.next().unwrap_or_default();
            sets.fold(first, |all, set| all.intersection(&set))
        };
        Known {
            stored: in_all(|channel, origin, epoch| channel.stored(origin, epoch)),
            committed: in_all(|channel, origin, epoch| channel.settled(origin, epoch)),
        }
    }

    fn close_epochs(&self, floors: &Floors) {
        self.boards.iter().for_each(|board| board.hear(floors));
    }

    fn is_closed(&self, identity: Identity) -> bool {
        self.boards.iter().any(|board| board.is_closed(identity))
    }

    fn watch_committed(&self) -> broadcast::Receiver<Arc<KeySet>> {
        match &self.agreed {
            Some(agreed) => agreed.subscribe(),
            None => self.required[0].watch_settled(),
        }
    }

    fn is_full(&self) -> bool {
        self.required.iter().any(|channel| channel.is_full())
    }

    fn outage(&self) -> Option<Outage> {
        let outages = self.outlets.iter().filter_map(OutletBoard::outage);
        outages.min_by_key(|outage| outage.since)
    }

    fn batch_bytes_max(&self) -> Option<u64> {
        self.limits.iter().filter_map(LimitBoard::smallest).min()
    }

    fn ledgers(&self) -> Vec<LedgerState> {
        self.ledgers.iter().flat_map(LedgerBoard::all).collect()
    }

    fn routing(&self) -> Option<Routing> {
        self.routing.clone()
    }
}

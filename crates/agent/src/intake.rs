//! The intake: the path from one source into its channels.
//!
//! ```text
//!   batch ─► interceptors, in order ─► selector ─► part for channel 0 ──► put ┐
//!                 │                                part for channel 1 ──► put ├─ commit all
//!                 └─ rejects ─► dead letters       emptied, to the rest ► put ┘
//! ```
//!
//! # Invariants
//!
//! 1. Every required channel gets every batch, with or without events: all of them then know its
//!    identity and the source's positions, or the batch is requested again.
//! 2. Room is reserved channel by channel in the order of the configuration, so two sources that
//!    feed the same channels cannot deadlock.
//! 3. An optional channel is never waited for, and its failure is counted and not returned.
//! 4. With a free choice, which no batch with identity or positions has, a batch is put into one
//!    required channel. It is put into another one only when it is certain that the first has
//!    nothing of it.
//! 5. Events that an interceptor rejects are among the dead letters before the rest of their batch
//!    is in a channel.

mod choice;
mod names;
mod permit;
mod puts;
mod route;
mod store;
mod traced;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all, select_all};
use metrics::Metrics;
use peers::progress::Role;
use pipeline::env::Moment;
use pipeline::{
    Batch, BatchSize, Channel, ChannelSelector, Epoch, Floors, Identity, Intake, IntakeError,
    IntervalSet, KeySet, Known, LedgerState, Origin, Outage, PartNames, Permit, PositionIntake,
    Reached, RelayIntake, Rest, Routing, Turn,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::boards::Boards;
use crate::dead_letters::DeadLetters;
use crate::opened::NotOpen;
use crate::status::SourceFlow;
use crate::tap::Point;
use crate::under_way::StepsInProgress;

use permit::Reserved;
use puts::volume;
pub(crate) use route::BuiltInterceptor;
use route::Route;

/// Maximum lag of a receiver in sets of committed identities before it has to ask.
const COMMITTED_BACKLOG: usize = 1024;

/// A channel that a source feeds.
#[derive(Clone)]
pub(crate) struct FedChannel {
    /// Its name in the configuration.
    pub(crate) name: Arc<str>,
    /// The channel.
    pub(crate) channel: Arc<dyn Channel>,
    /// Values shared along it.
    pub(crate) boards: Boards,
    /// The names of its parts of batches from other agents.
    pub(crate) names: PartNames,
    /// True if new batches get these names.
    pub(crate) splits: bool,
}

/// The way from one source into its channels.
pub(crate) struct AgentIntake {
    source: Arc<str>,
    route: Route,
    dead_letters: Arc<DeadLetters>,
    /// Commits in optional channels are not reported.
    required: Vec<FedChannel>,
    optional: Vec<FedChannel>,
    routing: Option<Routing>,
    metrics: Metrics,
    /// Reports identities that are committed in every required channel, once there is a listener.
    agreed: OnceLock<broadcast::Sender<Arc<KeySet>>>,
    /// Something listens.
    listened: Notify,
    flow: Mutex<SourceFlow>,
    /// Batches that the source has handed over and that are not answered yet.
    under_way: StepsInProgress,
    /// The tap of batches that the source passes on.
    tap: Point,
}

impl AgentIntake {
    /// An intake for the source of this name. Selections are by index: the required channels first.
    pub(crate) fn new(
        source: Arc<str>,
        (interceptors, selector): (Vec<BuiltInterceptor>, Box<dyn ChannelSelector>),
        dead_letters: Arc<DeadLetters>,
        (required, optional): (Vec<FedChannel>, Vec<FedChannel>),
        routing: Option<Routing>,
        metrics: Metrics,
    ) -> Self {
        let flow = Mutex::new(SourceFlow::new(Instant::now()));
        let route = Route::new(interceptors, selector, required.len() + optional.len());
        let (agreed, listened) = (OnceLock::new(), Notify::new());
        let under_way = StepsInProgress::default();
        Self {
            source,
            route,
            dead_letters,
            required,
            optional,
            routing,
            metrics,
            agreed,
            listened,
            flow,
            under_way,
            tap: Point::default(),
        }
    }

    /// Announces on the boards of its channels that the source creates batches there.
    pub(crate) fn expect_progress(&self, role: Role) {
        self.required.iter().for_each(|fed| fed.boards.progress.expect(&self.source, role));
    }

    /// Removes the source from the boards of its channels, except of those that `successor` feeds.
    /// It must have ended.
    pub(crate) fn leave_progress(&self, successor: Option<&Self>) {
        let is_kept = |fed: &FedChannel| {
            let mut kept = successor.iter().flat_map(|it| &it.required);
            kept.any(|other| Arc::ptr_eq(&other.channel, &fed.channel))
        };
        for fed in self.required.iter().filter(|fed| !is_kept(fed)) {
            fed.boards.progress.leave(&self.source);
        }
        self.report_progress();
    }

    /// Reports the progress of its open channels on the boards of all of them.
    pub(crate) fn report_progress(&self) {
        for fed in &self.required {
            let Boards { progress, floors, opened, .. } = &fed.boards;
            let life = if opened.is_open() { fed.channel.own_epoch() } else { None };
            let Some(life) = life else { continue };
            // The batches of this life are in every channel of the source.
            let reports = progress.own(life, floors);
            self.required.iter().for_each(|fed| fed.boards.progress.set_own(&reports));
        }
    }

    /// Returns the tap of its events before the interceptors.
    pub(crate) fn tap(&self) -> &Point {
        &self.tap
    }

    /// Returns the totals since it was created.
    pub(crate) fn flow(&self) -> SourceFlow {
        self.locked().clone()
    }

    /// Names of the required channels.
    pub(crate) fn channels(&self) -> Vec<String> {
        self.required.iter().map(|fed| fed.name.to_string()).collect()
    }

    /// Names of the optional ones.
    pub(crate) fn optional_channels(&self) -> Vec<String> {
        self.optional.iter().map(|fed| fed.name.to_string()).collect()
    }

    /// The required channel with the put that has been waiting for room for longest, and since
    /// when.
    pub(crate) fn waits_for(&self) -> Option<(Arc<str>, Instant)> {
        let waits = self.required.iter();
        let waits = waits.filter_map(|fed| Some((fed.name.clone(), fed.boards.inflow.waiting()?)));
        waits.min_by_key(|(_, since)| *since)
    }

    /// Since when batches are with it and none has been answered, although neither a required
    /// channel nor the dead letters make them wait; `None`: all is answered, or waits for room.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        let waits = |fed: &FedChannel| {
            let Boards { inflow, opened, .. } = &fed.boards;
            !opened.is_open() || inflow.waiting().is_some() || fed.channel.status().intake_stopped
        };
        let since = self.under_way.stalled_since()?;
        let waits = self.dead_letters.wait_for_room() || self.required.iter().any(waits);
        (!waits).then_some(since)
    }

    /// The required channel that is not open yet, and why.
    pub(crate) fn not_open(&self) -> Option<(Arc<str>, NotOpen)> {
        let mut required = self.required.iter();
        required.find_map(|fed| Some((fed.name.clone(), fed.boards.opened.reason()?)))
    }

    /// Waits until every required channel is open; with a free choice, until one is. Cancel safe.
    pub(crate) async fn opened(&self) {
        let each = self.required.iter().map(|fed| fed.boards.opened.wait());
        if self.route.is_free() && !self.required.is_empty() {
            select_all(each.map(Box::pin)).await;
        } else {
            join_all(each).await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, SourceFlow> {
        // Each change is whole.
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports batches that are committed in every required channel, under their original names,
    /// until `stop`. Until there is a listener it follows no channel: most sources never listen.
    pub(crate) async fn merge_committed(self: Arc<Self>, stop: CancellationToken) {
        let begin = async {
            self.opened().await;
            self.listened.notified().await;
        };
        if stop.run_until_cancelled(begin).await.is_none() {
            return;
        }
        let follow = self.required.iter().map(|fed| {
            let mut settled = fed.channel.watch_settled();
            let this = &self;
            async move {
                // Earlier commits were not received.
                this.announce_committed(KeySet::default());
                loop {
                    match settled.recv().await {
                        Ok(keys) => this.committed_in(fed, &keys),
                        Err(RecvError::Lagged(_)) => this.announce_committed(KeySet::default()),
                        Err(RecvError::Closed) => return,
                    }
                }
            }
        });
        stop.run_until_cancelled(join_all(follow)).await;
    }

    /// Handles commits in one of the channels; an empty set: some were missed.
    fn committed_in(&self, fed: &FedChannel, keys: &KeySet) {
        // Without a listener nothing is computed; a later one asks first.
        if self.agreed.get().is_none_or(|agreed| agreed.receiver_count() == 0) {
            return;
        }
        let mut everywhere = KeySet::default();
        for (origin, epoch, sequences) in fed.original_keys(keys).iter() {
            let others = self.required.iter().filter(|other| !std::ptr::eq(*other, fed));
            let settled =
                |set: IntervalSet, fed: &FedChannel| set.intersection(&fed.settled(origin, epoch));
            everywhere.insert_set(origin, epoch, &others.fold(sequences.clone(), settled));
        }
        if keys.is_empty() || !everywhere.is_empty() {
            self.announce_committed(everywhere);
        }
    }

    /// Reports commits. An empty set means that some were missed: then listeners ask.
    fn announce_committed(&self, keys: KeySet) {
        if let Some(agreed) = self.agreed.get() {
            // There may be no receiver now; a later one asks first.
            let _ = agreed.send(Arc::new(keys));
        }
    }
}

#[async_trait]
impl Intake for AgentIntake {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        let given = volume(&batch);
        let stored = self.store(batch, None, None).await;
        self.note_failure(Some(given), stored)
    }

    async fn reserve(&self, size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        let room = self.room(size).await?;
        Ok(Box::new(Reserved { intake: self, room }))
    }

    fn batch_bytes_max(&self) -> Option<u64> {
        self.required.iter().filter_map(|fed| fed.boards.limits.smallest()).min()
    }
}

#[async_trait]
impl PositionIntake for AgentIntake {
    fn positions(&self, source: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        self.required.iter().map(|fed| fed.channel.positions(source)).collect()
    }

    async fn accept_into(&self, batch: Batch, channels: &[usize]) -> Result<(), IntakeError> {
        let stored = self.store(batch, Some(channels), None).await;
        self.note_failure(None, stored)
    }

    async fn accept_rest(&self, rest: Rest) -> Result<(), IntakeError> {
        self.note_failure(None, self.store_rest(rest).await)
    }

    fn stores_in_turn(&self) -> bool {
        self.required.iter().all(|fed| fed.channel.stores_in_turn())
    }

    fn stored_before(&self, moment: Moment) {
        for fed in &self.required {
            let Boards { progress, floors, .. } = &fed.boards;
            let Some(life) = fed.channel.own_epoch() else { continue };
            progress.stored(&self.source, moment, life, floors);
        }
        self.report_progress();
    }
}

impl RelayIntake for AgentIntake {
    fn accept_in_turn<'a>(
        &'a self,
        batch: Batch,
        turn: BoxFuture<'a, Turn>,
    ) -> BoxFuture<'a, Result<(), IntakeError>> {
        Box::pin(async move {
            let given = volume(&batch);
            let stored = self.store(batch, None, Some(turn)).await;
            self.note_failure(Some(given), stored)
        })
    }

    fn known(&self, origin: Origin, epoch: Epoch) -> Known {
        let in_all = |of: fn(&FedChannel, Origin, Epoch) -> IntervalSet| {
            let mut sets = self.required.iter().map(|fed| of(fed, origin, epoch));
            let first = sets.next().unwrap_or_default();
            sets.fold(first, |all, set| all.intersection(&set))
        };
        Known { stored: in_all(FedChannel::stored), committed: in_all(FedChannel::settled) }
    }

    fn close_epochs(&self, floors: &Floors) {
        self.required.iter().for_each(|fed| fed.close_epochs(floors));
    }

    fn observe_progress(&self, reports: &[(Origin, Reached)]) {
        self.required.iter().for_each(|fed| fed.observe_progress(reports));
    }

    fn is_closed(&self, identity: Identity) -> bool {
        self.required.iter().any(|fed| fed.is_closed(identity))
    }

    fn watch_committed(&self) -> broadcast::Receiver<Arc<KeySet>> {
        let agreed = self.agreed.get_or_init(|| broadcast::channel(COMMITTED_BACKLOG).0);
        let listener = agreed.subscribe();
        self.listened.notify_one();
        listener
    }

    fn dead_letters(&self, committed: &KeySet) -> Vec<(Identity, u64)> {
        self.letters_of(committed)
    }

    fn is_full(&self) -> bool {
        self.required.iter().any(|fed| fed.channel.is_full())
    }

    fn outage(&self) -> Option<Outage> {
        let outages = self.required.iter().filter_map(|fed| fed.boards.outlet.outage());
        outages.min_by_key(|outage| outage.since)
    }

    fn batch_bytes_taken(&self) -> Option<u64> {
        // The channels of an event are unknown before it arrives.
        let taken = self.required.iter().map(|fed| fed.boards.limits.largest());
        taken.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }

    fn ledgers(&self) -> Vec<LedgerState> {
        self.required.iter().flat_map(|fed| fed.boards.ledgers.all()).collect()
    }

    fn routing(&self) -> Option<Routing> {
        self.routing.clone()
    }
}

#[cfg(test)]
mod tests;

//! What the tenants of one run of a source share: memory, and turns for memory and channels.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::Metrics;
use peers::TenantBoard;
use peers::tenants::ReadTenants;
use pipeline::RelayIntake;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::turns::Turns;
use super::{BacklogLimits, InWork, Member, Peer, Registry, Tenants};
use crate::storing::units;

/// How often all that has a place in the channels is looked at: for what came again after it was
/// committed, and for what left the channels without a sink.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What the tenants of one run of a source share.
#[derive(Debug)]
pub struct Sharing {
    registry: Arc<Registry>,
    /// Bytes of all messages in work.
    in_flight_max: u64,
    /// The same, in [`units`].
    budget: Arc<Semaphore>,
    /// Turns to ask for a part of the budget.
    memory: Turns,
    /// Turns to ask for room in the channels.
    channels: Turns,
}

/// Memory for messages of a tenant, until it is dropped.
#[derive(Debug)]
pub struct Memory {
    permit: OwnedSemaphorePermit,
    in_work: InWork,
}

impl Memory {
    /// So many more.
    pub fn merge(&mut self, other: Self) {
        self.permit.merge(other.permit);
        self.in_work.merge(other.in_work);
    }

    /// Bytes of it, as the budget counts them.
    pub fn units(&self) -> u32 {
        self.permit.num_permits() as u32
    }

    /// Gives back what is more than so many bytes.
    pub fn keep(&mut self, bytes: u64) {
        let more = self.permit.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.permit.split(more));
        self.in_work.keep(bytes);
    }
}

impl Sharing {
    /// Of a source with these settings, shown on this board.
    pub fn new(
        (source, metrics): (&Arc<str>, &Metrics),
        settings: &Tenants,
        in_flight_max: u64,
        board: &TenantBoard,
    ) -> Arc<Self> {
        let settings = (settings.clone(), BacklogLimits::default());
        Self::with_backlogs((source, metrics), settings, in_flight_max, board)
    }

    /// The same, where what senders have in the channels has limits, too. What becomes of it has to
    /// be [followed](Sharing::follow).
    pub fn with_backlogs(
        (source, metrics): (&Arc<str>, &Metrics),
        settings: (Tenants, BacklogLimits),
        in_flight_max: u64,
        board: &TenantBoard,
    ) -> Arc<Self> {
        let registry = Registry::new((source, metrics), settings, in_flight_max);
        let shown: Arc<dyn ReadTenants> = registry.clone();
        board.show(Arc::downgrade(&shown));
        Arc::new(Self {
            registry,
            in_flight_max,
            budget: Arc::new(Semaphore::new(units(in_flight_max) as usize)),
            memory: Turns::default(),
            channels: Turns::default(),
        })
    }

    /// Bytes of all messages in work.
    pub fn in_flight_max(&self) -> u64 {
        self.in_flight_max
    }

    /// Frees the places of what is committed, by what is heard and what `intake` knows. Never
    /// returns.
    pub async fn follow(&self, intake: &dyn RelayIntake) {
        let backlog = &self.registry.backlog;
        if !self.registry.backlogs.is_set() {
            return std::future::pending().await;
        }
        let mut heard = intake.watch_committed();
        let committed = |origin, epoch| intake.known(origin, epoch).committed;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                keys = heard.recv() => match keys {
                    Ok(keys) if !keys.is_empty() => backlog.committed(&keys),
                    Ok(_) | Err(RecvError::Lagged(_)) => backlog.look(committed),
                    Err(RecvError::Closed) => return std::future::pending().await,
                },
                _ = look.tick() => backlog.look(committed),
            }
        }
    }

    /// A connection of `peer` is open until the answer is dropped.
    pub fn enter(&self, peer: &Peer) -> Arc<Member> {
        Arc::new(self.registry.enter(peer, Instant::now()))
    }

    /// Memory for a message of so many bytes, or all of it, in the turn of its tenant. Cancel safe.
    pub async fn memory(&self, member: &Member, bytes: u64) -> Memory {
        let _turn = self.memory.turn(member.turn, bytes).await;
        let bytes = bytes.min(self.in_flight_max);
        let permit = self.budget.clone().acquire_many_owned(units(bytes)).await;
        let permit = permit.expect("the budget is never closed");
        Memory { permit, in_work: member.in_work(bytes) }
    }

    /// The turn of a batch of so many bytes to ask for room in the channels. It ends when the
    /// answer is dropped. Cancel safe.
    pub fn channel_turn(
        &self,
        member: &Arc<Member>,
        bytes: u64,
    ) -> impl Future<Output = pipeline::Turn> + Send + 'static {
        let (turns, member) = (self.channels.clone(), member.clone());
        async move { Box::new(turns.turn(member.turn, bytes).await) as pipeline::Turn }
    }
}

/// A connection whose client is known with its first request: before that its certificate was not
/// seen, and what never ends its handshake is no connection of a tenant.
#[derive(Debug)]
pub struct Client {
    sharing: Arc<Sharing>,
    peer: Peer,
    member: OnceLock<Arc<Member>>,
}

impl Client {
    /// Of this connection.
    pub fn new(sharing: Arc<Sharing>, peer: Peer) -> Self {
        Self { sharing, peer, member: OnceLock::new() }
    }

    /// What it shares with others.
    pub fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// Waits until more may be read of it: what comes over its rate waits unread. Before its first
    /// request nothing is known of its tenant. Cancel safe.
    pub async fn pass(&self) {
        if let Some(member) = self.member.get() {
            member.pass(0).await;
        }
    }

    /// The place of its tenant, which it has from now on, as long as it is connected.
    pub fn member(&self) -> &Arc<Member> {
        self.member.get_or_init(|| self.sharing.enter(&self.peer))
    }
}

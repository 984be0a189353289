//! Resources that the tenants of one run of a source share: memory, and turns for memory and
//! channels.

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

/// Interval of the scan of all places: for batches that were resent after their commit, and for
/// batches that left the channels without a sink.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Resources that the tenants of one run of a source share.
#[derive(Debug)]
pub struct Sharing {
    registry: Arc<Registry>,
    /// Maximum bytes of all messages in work.
    in_flight_max: u64,
    /// The same amount in [`units`].
    budget: Arc<Semaphore>,
    /// Turns for taking a part of the budget.
    memory: Turns,
    /// Turns for taking room in the channels.
    channels: Turns,
}

/// Memory for messages of a tenant; released when dropped.
#[derive(Debug)]
pub struct Memory {
    permit: OwnedSemaphorePermit,
    in_work: InWork,
}

impl Memory {
    /// Adds `other` to it.
    pub fn merge(&mut self, other: Self) {
        self.permit.merge(other.permit);
        self.in_work.merge(other.in_work);
    }

    /// Returns its size in units of the budget.
    pub fn units(&self) -> u32 {
        self.permit.num_permits() as u32
    }

    /// Releases all but `bytes` bytes.
    pub fn keep(&mut self, bytes: u64) {
        let more = self.permit.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.permit.split(more));
        self.in_work.keep(bytes);
    }
}

impl Sharing {
    /// Creates the resources of a source with these settings, and shows them on this board.
    pub fn new(
        (source, metrics): (&Arc<str>, &Metrics),
        settings: &Tenants,
        in_flight_max: u64,
        board: &TenantBoard,
    ) -> Arc<Self> {
        let settings = (settings.clone(), BacklogLimits::default());
        Self::with_backlogs((source, metrics), settings, in_flight_max, board)
    }

    /// As [`Sharing::new`], with limits for the backlog in the channels too. Requires a running
    /// [`Sharing::follow`].
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

    /// Returns the maximum bytes of all messages in work.
    pub fn in_flight_max(&self) -> u64 {
        self.in_flight_max
    }

    /// Frees the places of committed batches, by events and by queries of `intake`. Never returns.
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

    /// Registers a connection of `peer`, which counts as open until the result is dropped.
    pub fn enter(&self, peer: &Peer) -> Arc<Member> {
        Arc::new(self.registry.enter(peer, Instant::now()))
    }

    /// Waits for the tenant's turn and takes memory for a message of `bytes` bytes, at most the
    /// whole budget. Cancel safe.
    pub async fn memory(&self, member: &Member, bytes: u64) -> Memory {
        let _turn = self.memory.turn(member.turn, bytes).await;
        let bytes = bytes.min(self.in_flight_max);
        let permit = self.budget.clone().acquire_many_owned(units(bytes)).await;
        let permit = permit.expect("the budget is never closed");
        Memory { permit, in_work: member.in_work(bytes) }
    }

    /// Returns a future of the tenant's turn to take room in the channels for a batch of `bytes`
    /// bytes. The turn ends when dropped. Cancel safe.
    pub fn channel_turn(
        &self,
        member: &Arc<Member>,
        bytes: u64,
    ) -> impl Future<Output = pipeline::Turn> + Send + 'static {
        let (turns, member) = (self.channels.clone(), member.clone());
        async move { Box::new(turns.turn(member.turn, bytes).await) as pipeline::Turn }
    }
}

/// A connection that is registered with its first request: its certificate is unknown before that,
/// and a connection without a complete handshake does not count for a tenant.
#[derive(Debug)]
pub struct Client {
    sharing: Arc<Sharing>,
    peer: Peer,
    member: OnceLock<Arc<Member>>,
}

impl Client {
    /// Creates the client of this connection.
    pub fn new(sharing: Arc<Sharing>, peer: Peer) -> Self {
        Self { sharing, peer, member: OnceLock::new() }
    }

    /// Returns the shared resources.
    pub fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// Waits until the rate of its tenant allows another read. Before its first request, the tenant
    /// is unknown and there is no wait. Cancel safe.
    pub async fn pass(&self) {
        if let Some(member) = self.member.get() {
            member.pass(0).await;
        }
    }

    /// Returns its membership in a tenant, which starts with the first call and ends with the
    /// connection.
    pub fn member(&self) -> &Arc<Member> {
        self.member.get_or_init(|| self.sharing.enter(&self.peer))
    }
}

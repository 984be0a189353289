//! Room that is reserved before there is a batch: in every required channel, or in the one that a
//! free choice has selected.

use async_trait::async_trait;
use pipeline::{Batch, BatchSize, ChannelError, IntakeError, Permit, PutTransaction};
use tokio::time::Instant;

use super::AgentIntake;
use super::choice::Chosen;
use super::puts::{OpenPut, is_noop, volume};
use super::route::Parts;
use super::store::Puts;
use crate::status::BatchFlow;

/// Room for a batch.
pub(super) enum Room {
    /// A put of each required channel, in their order.
    Each(Vec<Box<dyn PutTransaction>>),
    /// In one of them.
    One(Chosen),
}

/// Reserved room for a batch, and the source of the batch.
pub(super) struct Reserved<'a> {
    pub(super) intake: &'a AgentIntake,
    pub(super) room: Room,
}

impl AgentIntake {
    /// Waits for room for a batch of about this size.
    pub(super) async fn room(&self, size: BatchSize) -> Result<Room, ChannelError> {
        if let Some(order) = self.route.order() {
            return Ok(Room::One(self.choose(order, size).await?));
        }
        let mut puts = Vec::with_capacity(self.required.len());
        for fed in &self.required {
            puts.push(fed.begin_put(size).await?);
        }
        Ok(Room::Each(puts))
    }
}

impl Reserved<'_> {
    async fn fill(self, batch: Batch) -> Result<(), IntakeError> {
        let Self { intake, room } = self;
        let began = Instant::now();
        let _step = intake.under_way.begin(began);
        let given = volume(&batch);
        let Parts { kept, rejected, required, optional } = intake.route(batch).await?;
        let optional = intake.begin_optional(optional, began);
        let puts = match room {
            Room::One(chosen) if kept > 0 => Puts::One(chosen, required, began),
            Room::One(_) => Puts::Each(Vec::new()),
            Room::Each(puts) => {
                let filled = intake.required.iter().zip(puts).zip(required);
                let filled = filled.filter(|(_, part)| !is_noop(part));
                let begun = filled.map(|((fed, put), part)| {
                    OpenPut::new(fed, put, part, (&intake.source, began))
                });
                Puts::Each(begun.collect())
            }
        };
        let passage = BatchFlow { given, kept, rejected, ..BatchFlow::default() };
        intake.commit(puts, optional, passage, true).await
    }
}

#[async_trait]
impl Permit for Reserved<'_> {
    async fn commit(self: Box<Self>, batch: Batch) -> Result<(), IntakeError> {
        let (intake, given) = (self.intake, volume(&batch));
        let stored = self.fill(batch).await;
        intake.note_failure(Some(given), stored)
    }
}

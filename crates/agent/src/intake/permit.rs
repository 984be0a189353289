//! Room that is taken in every required channel before there is a batch.

use async_trait::async_trait;
use pipeline::{Batch, IntakeError, Permit, PutTransaction};

use super::AgentIntake;
use super::puts::{Begun, says_nothing, volume};
use super::route::Parts;
use crate::status::Passage;

/// Room in every required channel: a put of each, in their order.
pub(super) struct Reserved<'a> {
    pub(super) intake: &'a AgentIntake,
    pub(super) puts: Vec<Box<dyn PutTransaction>>,
}

impl Reserved<'_> {
    async fn fill(self, batch: Batch) -> Result<(), IntakeError> {
        let Self { intake, puts } = self;
        let given = volume(&batch);
        let Parts { kept, rejected, required, optional } = intake.route(batch).await?;
        let optional = intake.begin_optional(optional);
        let filled = intake.required.iter().zip(puts).zip(required);
        let filled = filled.filter(|(_, part)| !says_nothing(part));
        let filled = filled.map(|((fed, put), part)| Begun::new(fed, put, part)).collect();
        let passage = Passage { given, kept, rejected, ..Passage::default() };
        intake.commit(filled, optional, passage, true).await
    }
}

#[async_trait]
impl Permit for Reserved<'_> {
    async fn commit(self: Box<Self>, batch: Batch) -> Result<(), IntakeError> {
        let (intake, given) = (self.intake, volume(&batch));
        let stored = self.fill(batch).await;
        intake.note_failure(given, stored)
    }
}

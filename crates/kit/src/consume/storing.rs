//! The put under way, with its round.

use std::time::Duration;

use pipeline::{IntakeError, Rest, SourceContext};
use support::mutant;

use super::round::Round;
use crate::puts::{Part, Put, leave_out_stored};

/// A put under way, with the messages that are acknowledged after it.
pub(super) struct Storing<A> {
    pub(super) round: Round<A>,
    pub(super) put: Put,
}

impl<A> Storing<A> {
    /// Begins to store a round in every required channel.
    pub(super) fn begin(round: Round<A>, cx: &SourceContext) -> Self {
        let part = Part::Whole(round.batch.clone());
        let put = Put::begin(part, Duration::ZERO, cx.positions.clone(), &cx.stop);
        Self { round, put }
    }

    /// Begins to store the part that some channels lack of a round, after a pause.
    pub(super) fn again(round: Round<A>, rest: Rest, pause: Duration, cx: &SourceContext) -> Self {
        let put = Put::begin(Part::Rest(rest), pause, cx.positions.clone(), &cx.stop);
        Self { round, put }
    }

    /// Leaves out the channels whose positions show that they have the round after all.
    pub(super) fn leave_out_stored(&self, rest: &mut Rest, source: &str, cx: &SourceContext) {
        let intake = &*cx.positions;
        leave_out_stored(rest, &self.round.batch.envelope.positions, source, intake);
        if mutant!("consume_retried_everywhere") {
            let channels = 0..intake.positions(source).len();
            rest.parts = channels.map(|channel| (channel, self.round.batch.clone())).collect();
        }
    }
}

/// Waits for the end of the put, if there is one; otherwise forever. Cancel safe.
///
/// # Errors
/// Some required channel has not stored the round.
pub(super) async fn ended<A>(storing: &mut Option<Storing<A>>) -> Result<(), IntakeError> {
    match storing {
        Some(_) if mutant!("consume_acknowledged_before_stored") => Ok(()),
        Some(storing) => storing.put.ended().await,
        None => std::future::pending().await,
    }
}

//! Opens a log: rebuilds the [`State`] that another agent, or a dead process, left.
//!
//! ```text
//! 1 fence: shuts out every other owner, and decides its writes in progress
//! 2 the newest STATE summarises the frames before it; the frames after it are replayed
//! 3 a STATE of the next epoch: from here on the log is ours
//! ```

use std::sync::Arc;

use pipeline::env::unix_millis;
use pipeline::{BuildContext, Epoch, IntervalSet, Origin, OriginName};
use support::mutant;
use tracing::{error, info};

use super::frames;
use super::limits::Limits;
use super::log::{Failure, Log, LogError, READ_BYTES};
use super::state::State;

/// A log that is ours.
pub(super) struct Opened {
    pub(super) state: State,
    pub(super) origin: Origin,
    pub(super) epoch: Epoch,
    /// Tickets that no frame has.
    pub(super) lost: u64,
}

/// Takes over the log. Blocks.
///
/// # Errors
/// It failed, or the log belongs to another channel.
pub(super) fn open(
    log: &Arc<dyn Log>,
    cx: &BuildContext,
    limits: &Limits,
) -> Result<Opened, LogError> {
    log.fence()?;
    let (mut state, origin, last) = match log.state()? {
        None => (State::default(), cx.get::<OriginName>().origin(&cx.env), Epoch(0)),
        Some(bytes) => {
            let read = frames::read_state(&bytes).ok_or_else(|| foreign(&**log))?;
            let (origin, epoch) = (read.origin, Epoch(read.record.epoch));
            (State::restore(read), origin, epoch)
        }
    };
    let lost = replay(&**log, &mut state, origin, limits)?;
    let next = last.next(cx.env.entropy.next_u64());
    let epoch = if mutant!("remote_epoch_stays") && last != Epoch(0) { last } else { next };
    let below = state.release();
    state.uncovered = 0;
    let record = state.record(epoch, unix_millis(cx.env.clock.now()));
    let value = frames::state(origin, state.in_flight.next(), state.end, &record);
    log.store_state(&value).map_err(|failure| match failure {
        Failure::Nothing(error) | Failure::Unknown(error) => error,
    })?;
    // If it fails, it is retried with the next STATE.
    let _ = log.release(below);
    info!(channel = %cx.name, place = log.name(), epoch = epoch.0, events = state.events, lost,
        "channel opened");
    Ok(Opened { state, origin, epoch, lost })
}

fn foreign(log: &dyn Log) -> LogError {
    LogError::Unusable(format!(
        "{} contains records of another channel or of a newer program; set a topic that only this \
         channel uses, or use the newer program",
        log.name()
    ))
}

/// Replays the frames after the STATE; returns how many tickets no frame has.
fn replay(
    log: &dyn Log,
    state: &mut State,
    origin: Origin,
    limits: &Limits,
) -> Result<u64, LogError> {
    let mut lost = IntervalSet::EMPTY;
    loop {
        let read = log.read(state.end, READ_BYTES)?;
        if read.is_empty() {
            break;
        }
        for stored in read {
            let put = frames::read_put(origin, &stored.frame).ok_or_else(|| foreign(log))?;
            let at = (stored.place, stored.frame.len() as u64);
            let section = limits.section_bytes();
            if let Some(missing) = state.put(at, put.ticket, &put.record, section) {
                lost.insert_all(&missing);
            }
        }
    }
    if !lost.is_empty() {
        error!(place = log.name(), tickets = ?lost.runs(),
            "undelivered batches (numbers in `tickets`) are lost, because they are no longer in \
             the Kafka topic of the channel; check the retention and replication of the topic");
    }
    Ok(lost.count())
}

//! Stores events for which a client waits: in batches that the downstream agents accept, and only
//! if there is room for all of them within the time limit. Refused events are not stored later.

use std::time::Duration;

use peers::limits::{Cut, EVENT_OVERHEAD_BYTES};
use pipeline::{Batch, IntakeError, PositionIntake};
use support::mutant;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Pause before a batch is retried in the channels that lack it.
const RETRY: Duration = Duration::from_millis(100);

/// Reason why a client's events are not stored.
#[derive(Debug)]
pub(crate) enum NotStored {
    /// No room in time. They are not stored later either.
    Full,
    /// The agent is stopping. They are not stored later either.
    Stopping,
    /// The channels will never have room. They are not stored later either.
    Refused(IntakeError),
    /// A channel failed: the events may be stored or not.
    Failed(IntakeError),
}

/// Converts bytes to units of the budget: KiB, rounded up.
pub fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).max(1)
}

/// Stores a batch if there is room within `wait_max`, which it requests in its `turn`. Must run to
/// its end once it has been polled.
pub(crate) async fn store<T>(
    intake: &dyn PositionIntake,
    batch: Batch,
    (wait_max, turn): (Duration, impl Future<Output = T>),
    stop: &CancellationToken,
) -> Result<(), NotStored> {
    if stop.is_cancelled() {
        return Err(NotStored::Stopping);
    }
    let parts = match intake.batch_bytes_max() {
        Some(max) => parts(batch, max),
        None => vec![batch],
    };
    // Store nothing before there is room for everything.
    let reserving = async {
        let _turn = turn.await;
        let mut permits = Vec::with_capacity(parts.len());
        for part in &parts {
            permits.push(intake.reserve(part.size()).await?);
        }
        Ok::<_, IntakeError>(permits)
    };
    let permits = tokio::select! {
        biased;
        // Polled first: most often there is room, and the stop need not be awaited.
        reserved = timeout(wait_max, reserving) => match reserved {
            Ok(reserved) => reserved.map_err(NotStored::Refused)?,
            Err(_) => return Err(NotStored::Full),
        },
        () = stop.cancelled(), if !mutant!("serve_put_outwaits_stop") => {
            return Err(NotStored::Stopping);
        }
    };
    for (permit, part) in permits.into_iter().zip(parts) {
        let stored = permit.commit(part).await;
        complete(intake, stored, wait_max, stop).await.map_err(NotStored::Failed)?;
    }
    Ok(())
}

/// Retries a batch that only some channels have stored in the others, for `wait_max` at most.
async fn complete(
    intake: &dyn PositionIntake,
    mut stored: Result<(), IntakeError>,
    wait_max: Duration,
    stop: &CancellationToken,
) -> Result<(), IntakeError> {
    let began = Instant::now();
    while let Err(IntakeError::Partly { mut rest, source }) = stored {
        let is_stopping = stop.run_until_cancelled(sleep(RETRY)).await.is_none();
        if is_stopping || began.elapsed() >= wait_max {
            return Err(IntakeError::Partly { rest, source });
        }
        if mutant!("serve_retried_everywhere") {
            let channels = 0..intake.positions("").len();
            rest.parts = channels.map(|channel| (channel, rest.parts[0].1.clone())).collect();
        }
        stored = intake.accept_rest(*rest).await;
    }
    stored
}

/// Splits the events of a request into batches of at most `max` bytes, if single events permit.
fn parts(batch: Batch, max: u64) -> Vec<Batch> {
    if batch.size().bytes <= max {
        return vec![batch];
    }
    let most = Cut::within(max).body_bytes;
    let (mut part, mut filled) = (0, 0);
    let part_of = batch.iter().map(|event| {
        let headers = event.headers().map(|(_, value)| value.len() as u64 + 4);
        let bytes = event.body().len() as u64 + EVENT_OVERHEAD_BYTES + headers.sum::<u64>();
        if filled > 0 && filled + bytes > most {
            (part, filled) = (part + 1, 0);
        }
        filled += bytes;
        part
    });
    let part_of: Vec<usize> = part_of.collect();
    batch.split(&part_of).into_iter().map(Batch::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_over_the_limit_becomes_batches_within_it_in_order() {
        let lines: Vec<String> = (0..1000).map(|n| format!("{n:0>100}")).collect();
        let batch = Batch::of(&lines);
        assert_eq!(parts(batch.clone(), 1 << 20).len(), 1);
        let parts = parts(batch, 10 << 10);
        assert!(parts.len() > 10 && parts.iter().all(|part| part.size().bytes <= 10 << 10));
        let bodies = parts.iter().flat_map(|batch| batch.iter()).map(|event| event.body().to_vec());
        let bodies: Vec<Vec<u8>> = bodies.collect();
        assert!(bodies.iter().zip(&lines).all(|(body, line)| body == line.as_bytes()));
        assert_eq!(bodies.len(), lines.len());
    }
}

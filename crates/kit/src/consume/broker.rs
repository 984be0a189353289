//! Calls to the broker.

use std::time::Duration;

use pipeline::{Classify, ErrorClass, SourceError};
use support::mutant;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Arrived, Consume, not_received};

/// How long a stop waits for a broker, for the last answers and for the goodbye each.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);

/// Receives the next message if `reads`; otherwise keeps the connection alive. Cancel safe.
pub(super) async fn received<C: Consume>(
    consume: &mut C,
    link: &mut C::Link,
    reads: bool,
) -> Result<Arrived<C::Ack>, C::Error> {
    match reads {
        true => consume.next(link).await,
        false => Err(consume.idle(link).await),
    }
}

/// Waits for a call to the broker. Once the source must stop, a broker that hangs is waited for a
/// short time only.
pub(super) async fn answered<E>(
    stop: &CancellationToken,
    call: impl Future<Output = Result<(), E>>,
) -> Result<(), SourceError>
where
    E: Classify + std::error::Error + Send + Sync + 'static,
{
    let hangs = async {
        stop.cancelled().await;
        sleep(GOODBYE).await;
    };
    tokio::select! {
        biased;
        result = call => result.map_err(not_received),
        () = hangs => Err(SourceError {
            class: ErrorClass::Transient,
            message: format!("the broker did not answer within {GOODBYE:?} after the stop; the \
                              broker may deliver unacknowledged messages again; no action needed"),
            source: None,
        }),
    }
}

/// The acknowledgements of a round that is stored.
pub(super) fn acknowledged<A>(mut acks: Vec<A>) -> Vec<A> {
    if mutant!("consume_acknowledgement_forgotten") && acks.len() > 1 {
        acks.remove(0);
    }
    acks
}

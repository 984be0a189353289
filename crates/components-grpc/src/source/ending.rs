//! Reasons why a stream ends, and the final status for its sender.

use std::time::Duration;

use delivery::receiver::Violation;
use kit::tenants;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::allowance;
use super::binding::Foreign;
use super::incoming::Outbox;

/// Delay of the status for a sender that broke the protocol: it would otherwise reconnect and
/// repeat the violation immediately, at the expense of all others.
pub(super) const PENANCE: Duration = Duration::from_secs(2);

/// Reason why a stream ends.
pub(super) enum End {
    /// The sender has disconnected, or has received everything.
    Quiet,
    /// The sender gets this status.
    Told(Status),
}

impl From<wire::Malformed> for End {
    fn from(error: wire::Malformed) -> Self {
        Self::Told(Status::invalid_argument(error.to_string()))
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Told(Status::resource_exhausted(violation.to_string()))
    }
}

impl From<allowance::Over> for End {
    fn from(over: allowance::Over) -> Self {
        Self::Told(Status::resource_exhausted(over.to_string()))
    }
}

impl From<Foreign> for End {
    fn from(foreign: Foreign) -> Self {
        Self::Told(Status::permission_denied(foreign.to_string()))
    }
}

impl From<tenants::Over> for End {
    fn from(over: tenants::Over) -> Self {
        Self::Told(Status::resource_exhausted(over.to_string()))
    }
}

impl End {
    /// Returns the end after a message that cannot be read.
    pub(super) fn unreadable(status: Status) -> Self {
        match status.code() {
            // Detected by its length; the rest of the message is not received.
            Code::OutOfRange | Code::DeadlineExceeded => Self::Told(status),
            _ => Self::Quiet,
        }
    }
}

/// Sends the status after a delay, during which nothing is read from the sender.
pub(super) async fn tell(status: Status, outbox: &Outbox, stop: &CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = outbox.closed() => return,
        () = sleep(PENANCE) => {}
    }
    // If the receiver is gone, the status is not needed.
    let _ = outbox.send(Box::new(Err(status))).await;
}

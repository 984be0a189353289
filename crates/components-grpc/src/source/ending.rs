//! Why a stream ends, and what it says to its sender then.

use std::time::Duration;

use delivery::receiver::Violation;
use kit::tenants;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::allowance;
use super::binding::Foreign;
use super::incoming::Outbox;

/// How long a sender that broke the rules waits for the answer: it would be back at once, and
/// do it again, at the cost of all others.
pub(super) const PENANCE: Duration = Duration::from_secs(2);

/// Why a stream ends.
pub(super) enum End {
    /// The sender is gone, or has heard everything.
    Quiet,
    /// The sender gets the reason.
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
    /// What it means that no further message can be read.
    pub(super) fn unreadable(status: Status) -> Self {
        match status.code() {
            // Seen by its length; nothing more of the message is received.
            Code::OutOfRange | Code::DeadlineExceeded => Self::Told(status),
            _ => Self::Quiet,
        }
    }
}

/// Tells the sender what it did, after a while in which nothing more of it is read.
pub(super) async fn tell(status: Status, outbox: &Outbox, stop: &CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = outbox.closed() => return,
        () = sleep(PENANCE) => {}
    }
    // Without a receiver nothing is lost.
    let _ = outbox.send(Box::new(Err(status))).await;
}

//! Builds the receiver's messages.

use std::time::Duration;

use delivery::receiver::Reply;
use pipeline::{Identity, KeySet, RelayIntake};
use wire::keys;
use wire::v1::from_receiver::Message;
use wire::v1::{Busy, Committed, Draining, FromReceiver, Reason, Refused, Stored};

fn message(message: Message) -> FromReceiver {
    FromReceiver { message: Some(message) }
}

pub(super) fn reply(reply: &Reply, intake: &dyn RelayIntake) -> FromReceiver {
    message(match reply {
        Reply::Stored(set) => Message::Stored(Stored { keys: keys::encode(set) }),
        Reply::Committed(set) => Message::Committed(Committed {
            keys: keys::encode(set),
            dead_letters: keys::encode_dead_letters(&intake.dead_letters(set)),
        }),
    })
}

/// `keys` were rejected; empty: all puts wait for room.
pub(super) fn busy(retry_after: Duration, not_taken: &KeySet) -> FromReceiver {
    let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    message(Message::Busy(Busy { retry_after_ms, keys: keys::encode(not_taken) }))
}

pub(super) fn refused(identity: Identity, reason: Reason, detail: String) -> FromReceiver {
    let refused = Refused { identity: Some(identity.into()), reason: reason.into(), detail };
    message(Message::Refused(refused))
}

pub(super) fn draining() -> FromReceiver {
    message(Message::Draining(Draining {}))
}

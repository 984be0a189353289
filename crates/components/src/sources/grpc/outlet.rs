//! An agent that cannot store what it holds says so to its senders.
//!
//! ```text
//!   all sinks fail ──15 s──► UNABLE: said on every stream, before Welcome on a new one;
//!         ▲                    │     puts are taken as before
//!         └── one has stored ◄─┘
//! ```
//!
//! A sender then turns to other agents, and gives them what is not committed here either. Two
//! agents may hold a batch then; the ledger of the store tells the second one that it is committed.
//! A sender that keeps nothing once it is stored here (`retain = "stored"`) has nothing to send
//! again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peers::outlet::UNABLE_AFTER;
use pipeline::Outage;
use support::mutant;
use tracing::{info, warn};
use wire::v1::{FromReceiver, Outlet, from_receiver};

use super::Service;

/// Bytes of a cause that senders hear of.
const DETAIL_MAX: usize = 300;

/// What the conversations say: the cause, while this agent cannot store what it holds.
#[derive(Default)]
pub(super) struct Notice {
    cause: Mutex<Option<Arc<str>>>,
}

impl Notice {
    fn cause(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        // It is whole between two calls, also after a panic elsewhere.
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says otherwise, if it is; `true`: it was.
    fn say(&self, outage: Option<&Outage>) -> bool {
        let mut cause = self.cause();
        let changed = cause.is_some() != outage.is_some();
        if changed {
            *cause = outage.map(|outage| outage.cause.clone());
        }
        changed
    }

    /// Whether a stream that has said `failing` has to say otherwise.
    pub(super) fn is_otherwise(&self, failing: bool) -> bool {
        self.cause().is_some() != failing
    }

    /// What a stream says that has said `failing`, if that is so no more.
    pub(super) fn message_for(&self, failing: &mut bool) -> Option<FromReceiver> {
        let cause = self.cause();
        let changed = std::mem::replace(failing, cause.is_some()) != cause.is_some();
        changed.then(|| message(cause.as_deref()))
    }
}

fn message(cause: Option<&str>) -> FromReceiver {
    let detail = cause.unwrap_or_default();
    let detail = detail[..detail.floor_char_boundary(DETAIL_MAX)].to_owned();
    let outlet = Outlet { failing: cause.is_some(), detail };
    FromReceiver { message: Some(from_receiver::Message::Outlet(outlet)) }
}

impl Service {
    /// Looks whether what is held here can be stored; `true`: streams have to say otherwise.
    pub(super) fn look_at_outlet(&self) -> bool {
        let outage = self.cx.relay.outage();
        let lasts = outage.as_ref().map(|outage| outage.since.elapsed()).unwrap_or_default();
        let is_said = lasts >= UNABLE_AFTER && !mutant!("unable_not_said");
        let outage = outage.filter(|_| is_said);
        let changed = self.outlet.say(outage.as_ref());
        let source = &self.name;
        match outage {
            _ if !changed => {}
            Some(outage) => warn!(
                %source, cause = %outage.cause, lasts_seconds = lasts.as_secs(),
                "no sink stores what this agent holds: says so to its senders, which turn to \
                 others",
            ),
            None => info!(%source, "what this agent holds is stored again: says so to its senders"),
        }
        changed
    }
}

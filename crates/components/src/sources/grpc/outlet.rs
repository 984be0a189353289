//! An agent that cannot store what it holds says so to its senders.
//!
//! ```text
//!   all sinks fail ──15 s──► UNABLE: said on every stream, before Welcome on a new one;
//!         ▲                    │     puts are taken as before
//!         └── one has stored ◄─┘
//! ```
//!
//! A sender then turns to other agents, and gives them what is not committed here either. Two agents
//! may hold a batch then; the ledger of the store tells the second one that it is committed. A sender
//! that keeps nothing once it is stored here (`retain = "stored"`) has nothing to send again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use wire::v1::{FromReceiver, Outlet, from_receiver};

use super::Service;

/// How long all sinks may fail before senders hear of it.
const UNABLE_AFTER: Duration = Duration::from_secs(15);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes of a cause that senders hear of.
const DETAIL_MAX: usize = 300;

/// What the conversations say: the cause, while this agent cannot store what it holds.
#[derive(Default)]
pub(super) struct Notice {
    cause: watch::Sender<Option<Arc<str>>>,
}

impl Notice {
    /// For one stream.
    pub(super) fn subscribe(&self) -> Subscription {
        Subscription { cause: self.cause.subscribe() }
    }
}

/// One stream's view of it.
pub(super) struct Subscription {
    cause: watch::Receiver<Option<Arc<str>>>,
}

impl Subscription {
    /// What is said before Welcome, if there is anything.
    pub(super) fn first(&mut self) -> Option<FromReceiver> {
        self.cause.borrow_and_update().as_deref().map(|cause| message(Some(cause)))
    }

    /// Waits for a change, which is to be said; the source ends before it can fail. Cancel safe.
    pub(super) fn changed(&mut self) -> impl Future<Output = Result<(), RecvError>> {
        self.cause.changed()
    }

    /// What is to be said now.
    pub(super) fn now(&mut self) -> FromReceiver {
        message(self.cause.borrow_and_update().as_deref())
    }
}

fn message(cause: Option<&str>) -> FromReceiver {
    let detail = cause.unwrap_or_default();
    let detail = detail[..detail.floor_char_boundary(DETAIL_MAX)].to_owned();
    let outlet = Outlet { failing: cause.is_some(), detail };
    FromReceiver { message: Some(from_receiver::Message::Outlet(outlet)) }
}

/// Keeps the conversations informed, for ever.
pub(super) async fn watch(service: &Service) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let outage = service.cx.intake.outage();
        let lasts = outage.as_ref().map(|outage| outage.since.elapsed()).unwrap_or_default();
        let outage = outage.filter(|_| lasts >= UNABLE_AFTER);
        let changed = service.outlet.cause.send_if_modified(|said| {
            let changed = said.is_some() != outage.is_some();
            if changed {
                *said = outage.as_ref().map(|outage| outage.cause.clone());
            }
            changed
        });
        let source = &service.name;
        match outage {
            _ if !changed => {}
            Some(outage) => warn!(
                %source, cause = %outage.cause, lasts_seconds = lasts.as_secs(),
                "no sink stores what this agent holds: says so to its senders, which turn to others",
            ),
            None => info!(%source, "what this agent holds is stored again: says so to its senders"),
        }
    }
}

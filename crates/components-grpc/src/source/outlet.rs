//! An agent that cannot store what it holds reports that to its senders, with the cause.
//!
//! ```text
//!   all sinks fail ──15 s──► UNABLE: reported on every stream, before Welcome on a new one;
//!         ▲                    │     puts are accepted as before
//!         └── one has stored ◄─┘
//! ```
//!
//! A sender then uses other agents, and resends to them what is not committed here. Two agents may
//! hold a batch then; the ledger of the store tells the second one that it is committed. A sender
//! that keeps nothing once it is stored here (`retain = "stored"`) has nothing to resend.
//!
//! A relay passes on what the agent downstream of it reports, so that every sender learns the root
//! cause and which agent has the problem.

use std::sync::{Mutex, MutexGuard, PoisonError};

use peers::outlet::UNABLE_AFTER;
use pipeline::Outage;
use support::failure_log::FailureLog;
use support::mutant;
use tokio::time::Instant;
use tracing::{info, warn};
use wire::v1::{FromReceiver, Outlet, from_receiver};

use super::Service;

/// Bytes of a cause that senders get: enough for a long path and the reason after it.
const DETAIL_MAX: usize = 1_000;

/// What the conversations report: the outage, while this agent cannot store what it holds.
#[derive(Default)]
pub(super) struct Notice {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rises with each change.
    version: u64,
    outage: Option<Outage>,
    /// The causes that were reported.
    causes: FailureLog,
}

impl Notice {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole, also after a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the outage. Returns whether streams have to report a change: it began, it ended, or it
    /// has another cause. Causes that alternate are reported once a minute.
    fn set(&self, outage: Option<&Outage>, now: Instant) -> bool {
        let mut state = self.state();
        let changed = match outage {
            None => {
                state.causes = FailureLog::default();
                state.outage.is_some()
            }
            Some(outage) if state.outage.as_ref() == Some(outage) => false,
            Some(Outage { cause, agent, .. }) => {
                let address = agent.address.as_deref().unwrap_or_default();
                state.causes.should_log(now, &format!("{address} {cause}")).is_some()
            }
        };
        if changed {
            state.version += 1;
            state.outage = outage.cloned();
        }
        changed
    }

    /// Returns true if a stream that reported version `said` has to report a newer one.
    pub(super) fn is_newer_than(&self, said: u64) -> bool {
        self.state().version > said
    }

    /// The message for a stream that reported version `said`, if there is a newer one.
    pub(super) fn message_for(&self, said: &mut u64) -> Option<FromReceiver> {
        let state = self.state();
        let is_newer = state.version > std::mem::replace(said, state.version);
        is_newer.then(|| message(state.outage.as_ref()))
    }
}

fn message(outage: Option<&Outage>) -> FromReceiver {
    let outlet = outage.map_or_else(Outlet::default, |Outage { since, cause, agent }| Outlet {
        failing: true,
        detail: cause[..cause.floor_char_boundary(DETAIL_MAX)].to_owned(),
        since_ms_ago: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        agent: agent.address.as_deref().unwrap_or_default().to_owned(),
        page: agent.page.as_deref().unwrap_or_default().to_owned(),
    });
    FromReceiver { message: Some(from_receiver::Message::Outlet(outlet)) }
}

impl Service {
    /// Checks whether what is held here can be stored. Returns whether streams have to report a
    /// change.
    pub(super) fn look_at_outlet(&self) -> bool {
        let outage = self.cx.relay.outage();
        let lasts = outage.as_ref().map(|outage| outage.since.elapsed()).unwrap_or_default();
        let is_said = lasts >= UNABLE_AFTER && !mutant!("unable_not_said");
        let outage = outage.filter(|_| is_said);
        let changed = self.outlet.set(outage.as_ref(), Instant::now());
        let source = &self.name;
        match outage {
            _ if !changed => {}
            Some(outage) => warn!(
                %source, cause = %outage.cause, lasts_seconds = lasts.as_secs(),
                "the sinks of this agent cannot store events; asking senders to use another \
                 collector; fix `cause`",
            ),
            None => info!(%source, "stores events again; senders are notified"),
        }
        changed
    }
}

//! Decides which origins a sender may send: those that are bound to a name that its certificate or
//! token proves. A relay sends for others and is named in `relays`.
//!
//! ```text
//!   Hello: keys, floors ─┐
//!   Put: identity ───────┴─► origin bound to a name of the sender? ── no ─► the stream ends, or a
//!                                                                           warning
//! ```
//!
//! The check comes before anything else: a foreign origin is neither followed, nor closed, nor
//! stored. The origin itself contains the binding ([`Origin::bound`]), so each agent decides the
//! same, even for an origin that is new to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kit::tenants::Peer;
use metrics::Metrics;
use pipeline::Origin;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use support::log_rate::LogRate;
use thiserror::Error;
use tokio::time::Instant;
use tracing::warn;

/// Lines a minute about senders of foreign origins: those of before are not bound.
const LINES_A_MINUTE: u32 = 10;

/// What becomes of an origin that is not bound to a name of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origins {
    /// Accepts it.
    Off,
    /// Accepts, counts and logs it.
    Warn,
    /// Closes the stream with the reason.
    Require,
}

/// The sender may not send this origin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the origin {origin} (the identity of a channel) does not belong to the name of its sender \
     ({names}), which may impersonate another agent. If the sender's channel is older than its \
     name, wait until the channel is empty, stop that agent, and run `aqueduct channel renew \
     DATA_DIR/channels/CHANNEL --name NAME` on its host; if the sender relays for other agents, \
     add its name to `relays` of this source"
)]
pub(super) struct Foreign {
    origin: Origin,
    names: String,
}

/// Decides which sender may send which origin.
#[derive(Debug)]
pub(super) struct Binding {
    source: Arc<str>,
    metrics: Metrics,
    origins: Origins,
    relays: BTreeSet<String>,
    rate: LogRate,
}

impl Binding {
    /// Creates it from these settings of `source`.
    pub(super) fn new(
        source: &Arc<str>,
        metrics: &Metrics,
        (origins, relays): (Origins, &[String]),
    ) -> Self {
        let relays = relays.iter().map(|name| name.to_ascii_lowercase()).collect();
        let (source, metrics) = (source.clone(), metrics.clone());
        Self { source, metrics, origins, relays, rate: LogRate::new(LINES_A_MINUTE) }
    }

    /// Checks that `peer` may send these origins. `warned` makes a stream log the problem only
    /// once.
    ///
    /// # Errors
    /// Fails if it may not, and the settings reject it.
    pub(super) fn check(
        &self,
        peer: &Peer,
        mut spoken: impl Iterator<Item = Origin>,
        warned: &mut bool,
    ) -> Result<(), Foreign> {
        let names = peer.names.all();
        let is_relay = || names.iter().any(|name| self.relays.contains(&**name));
        if self.origins == Origins::Off || *warned || is_relay() {
            return Ok(());
        }
        let is_own = |origin: &Origin| names.iter().any(|name| origin.is_bound_to(name));
        let Some(origin) = spoken.find(|origin| !is_own(origin)) else { return Ok(()) };
        self.metrics.count_anomaly(&self.source, "foreign_origin", 1);
        let names = match names {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let foreign = Foreign { origin, names };
        if self.origins == Origins::Require {
            return Err(foreign);
        }
        *warned = true;
        if let Some(left_out) = self.rate.allow(Instant::now()) {
            let source = &self.source;
            warn!(
                %source, %peer, problem = %foreign, left_out,
                "accepting batches whose origin (the identity of a channel) does not belong to the \
                 sender's name; to reject them, set `origins = \"require\"`; to accept the \
                 sender without this warning, follow `problem`"
            );
        }
        Ok(())
    }
}

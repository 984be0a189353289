//! `kafka`: a topic as the channel. Acknowledged events survive the loss of the agent's host:
//! another agent opens the topic and continues with the same identities.
//!
//! ```text
//!   puts ─► leader: one transaction ─► topic, one partition: frame │ frame │ marker │ frame │ …
//!                      └─► state topic (compacted): the newest STATE
//! ```
//!
//! It is a [remote](::channel::remote) channel, which contains the rules; this module contains its
//! log.
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `topics` | checks and creates the topics; deletes records |
//! | `admin` | the admin client, recreated from time to time |
//! | `rights` | the permissions required on brokers with access control |
//! | `log` | the log: a transactional producer and assigned consumers |
//! | `consumer` | reads a partition to its end |
//! | `parts` | splits values over the record size limit: pure |
//!
//! # Invariants
//!
//! 1. All agents use one `transactional.id` per topic: the last one that calls `init_transactions`
//!    is the owner. The brokers reject pending writes of all others; no clock is involved.
//! 2. After an unknown outcome, the producer is dropped. The next one calls `init_transactions`,
//!    after which every earlier transaction is committed or aborted.
//! 3. Reads return only committed records, up to the end that a broker reports after the call.

mod admin;
mod config;
mod consumer;
mod log;
mod parts;
mod rights;
mod topics;

use std::sync::Arc;

use ::channel::remote::{Log, LogConnector, LogError, Remote};
use pipeline::{BuildContext, BuildError, Channel, Component};

use crate::client;
pub use config::Config;
use config::Target;
use log::TopicLog;

impl Component for Config {
    const KIND: &'static str = "kafka";
    const ANOMALIES: &[&str] = &[
        "duplicate_event",
        "unknown_outcome",
        "lost_to_another_owner",
        "lost_its_log",
        "lost_batch",
    ];
    type Role = dyn Channel;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Channel>, BuildError> {
        let (target, limits) = self.target(cx)?;
        client::name_plain_text(&target.producer, cx);
        Ok(Box::new(Remote::new(cx, limits, Arc::new(Topics(Arc::new(target))))))
    }
}

/// Opens the topics.
struct Topics(Arc<Target>);

impl LogConnector for Topics {
    fn connect(&self) -> Result<Arc<dyn Log>, LogError> {
        Ok(Arc::new(TopicLog::connect(self.0.clone())?))
    }

    fn probe(&self) -> Result<String, LogError> {
        topics::inspect(&self.0)
    }
}

//! `kafka`: a topic as the channel. What it has said yes to survives the host of the agent: another
//! agent opens the topic and goes on, under the same identities.
//!
//! ```text
//!   puts ─► leader: one transaction ─► topic, one partition: frame │ frame │ marker │ frame │ …
//!                      └─► state topic (compacted): the newest STATE
//! ```
//!
//! It is a [remote](::channel::remote) channel, where the rules are; here is its log.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `topics` | whether the topics are as they have to be; makes them; deletes records |
//! | `admin` | the client that does so, made anew now and then |
//! | `rights` | what brokers with access control have to allow |
//! | `log` | the log: a transactional producer and assigned consumers |
//! | `consumer` | reads a partition to its end |
//! | `parts` | values over the size of a record, as several: pure |
//!
//! # Invariants
//!
//! 1. One `transactional.id` for a topic: the last one to call `init_transactions` is the owner.
//!    The brokers refuse what the others still have on its way; no clock decides.
//! 2. After an outcome that was not heard of, the producer goes, and the next one begins with
//!    `init_transactions`: after it, whatever was begun is committed or aborted.
//! 3. Only what is committed is read, to the end that a broker names after the call.

mod admin;
mod config;
mod consumer;
mod log;
mod parts;
mod rights;
mod topics;

use std::sync::Arc;

use ::channel::remote::{Log, LogError, Remote, Way};
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

/// The way to the topics.
struct Topics(Arc<Target>);

impl Way for Topics {
    fn connect(&self) -> Result<Arc<dyn Log>, LogError> {
        Ok(Arc::new(TopicLog::connect(self.0.clone())?))
    }

    fn probe(&self) -> Result<String, LogError> {
        topics::look(&self.0)
    }
}

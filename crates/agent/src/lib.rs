//! The agent: builds a plan into components, runs them, and stops them in order.
//!
//! ```text
//!   Plan ─► check ─► Topology::build ─► open_channels ─► Running::start ─► status::gather
//!                     without I/O          │ later, if      │                 Snapshot
//!                                          ▼ without room   ▼
//!   Source::run ─► intake ─► channel ─► group ─► member ─► Sink::write
//! ```
//!
//! The crate `control` changes a running agent, `admin` serves its pages, `program` is the process
//! around all three. This crate knows none of them.
//!
//! # Invariants
//!
//! 1. Building does no I/O and starts nothing: a plan can be checked, and compared with a running
//!    agent.
//! 2. Other code uses a running component only through its handle in [`running::Running`].
//! 3. Parts stop in the direction of the flow: sources, then groups, then channels.
//!
//! | module | from a plan to components |
//! |---|---|
//! | `check` | the guarantees and the problems of a plan |
//! | `topology`, `built` | all components, built and not started |
//! | `boards` | the values that sources and sinks share along a channel |
//! | `choices`, `parts`, `resources`, `routing`, `plain_text` | rules for connected parts |
//! | `resends` | sources that would resend events with a plan |
//! | `probe` | tries destinations before a start |
//!
//! | module | the running agent |
//! |---|---|
//! | `data_dir` | the lock on the data directory |
//! | `opening`, `opened` | channels open, some of them later |
//! | `running` | a handle for each source, channel and group |
//! | `source` | runs one source, with retries |
//! | `intake` | the path from a source into its channels |
//! | `group` | the consumer of a channel, with its sinks |
//! | `dead_letters` | events that can never be delivered |
//! | `limits` | the largest batch of downstream agents, kept on disk |
//! | `failure`, `error` | why an agent has to stop |
//!
//! | module | its state |
//! |---|---|
//! | `status` | the document of the whole agent, with findings |
//! | `health`, `recent_failures` | failures of sources and sinks |
//! | `held`, `actor` | parts that an operator has stopped |
//! | `scrape`, `account`, `tap`, `traces` | metrics, accounts, events and spans on request |
//!
//! `checked`, `stderr`, `under_way` and `version` are small machines without knowledge of the rest.

pub mod account;
pub mod actor;
pub mod boards;
pub mod built;
mod check;
pub mod checked;
mod choices;
mod data_dir;
pub mod dead_letters;
mod error;
pub mod failure;
mod group;
pub mod health;
pub mod held;
mod intake;
pub mod limits;
pub mod opened;
pub mod opening;
mod parts;
mod plain_text;
mod probe;
pub mod recent_failures;
pub mod resends;
mod resources;
mod routing;
pub mod running;
pub mod scrape;
mod source;
pub mod status;
pub mod stderr;
pub mod tap;
pub mod topology;
pub mod traces;
mod under_way;
mod version;

pub use check::{Checked, Draft, Promise, check, checked, resends};
pub use data_dir::DataDir;
pub use error::AgentError;
pub use probe::{Probed, probe};
pub use support::causes::chain;

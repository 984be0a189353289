//! Every channel against its contract: conformance, models, crashes, damage, full disks.
//!
//! One program for all of them, so that they are linked once.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run outside the world that `Env` is, and end at the first failure"
)]

mod again;
mod common;
mod conformance;
mod copies;
mod crash;
mod damage;
mod disk_full;
mod driver;
mod encryption;
mod floors;
mod golden;
mod hostile;
mod index_dir;
mod inspect;
mod mend;
mod model;
mod overflow;
mod put_back;
mod real_disk;
mod remote;
mod rotation;
mod spill;
mod spill_model;
mod threads;

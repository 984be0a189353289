//! Changes and observes a running agent: reloads, stopped parts, drains; snapshots, liveness, the
//! service manager, and the audit log.
//!
//! ```text
//!   SIGHUP, changed files ──┐
//!   POST /reload ───────────┼─► Reloads ─► Reloader ─► difference of digests ─► agent::running
//!   POST /stop /start /drain┘                │  └─► file `held`                    │
//!                                            └─► audit log                        ▼
//!   service manager, log, pages ◄──────────────────────────────────── Monitor: Snapshot
//! ```
//!
//! # Invariants
//!
//! 1. One change runs at a time. The same comparison rolls back a change that fails half-way.
//! 2. The file of stopped parts is written before a part stops: no restart starts it.
//! 3. A change is in the audit log before its answer is sent.
//! 4. Observation needs no lock of the flow: a snapshot never makes an event wait.
//!
//! | module | contents |
//! |---|---|
//! | `configuration` | the running plan, and the comparison with its file |
//! | `reload` | requests for changes, and the task that executes them |
//! | `fleet` | reports to a fleet server; its configuration, checked, applied and kept |
//! | `held` | the file of the parts that an operator has stopped |
//! | `audit` | one line for each requested change |
//! | `monitor` | readiness, metrics, accounts and snapshots |
//! | `certificates`, `findings`, `liveness` | parts of a snapshot |
//! | `service` | states for systemd, and its watchdog |

pub mod audit;
mod certificates;
pub mod configuration;
mod findings;
pub mod fleet;
pub mod held;
pub mod liveness;
pub mod monitor;
pub mod reload;
pub mod service;

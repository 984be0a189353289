//! Plug-ins as WebAssembly modules: the interceptor `wasm`. A module runs within the process of the
//! agent, and can reach nothing but the batch that it gets.
//!
//! ```text
//!   interceptor ─► Plugin ─► Loaded: compiled module ◄─ cache ◄─ file of the module
//!                    │           │
//!                    │           ▼ one instance for each batch, in a thread for blocking work
//!                    │        host functions ─► reads: events of the batch
//!                    │           │
//!                    │           └────────────► writes: Staged ─► checked, then applied
//!                    └─ time limit, pause after a failure
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `cache` | compiled modules below the data directory |
//! | `load` | file ─► checked, compiled module |
//! | `call` | one batch in one instance, within its limits |
//! | `interrupt` | ends a call |
//! | `host` | the functions that a module can import |
//! | `staged` | the writes of a call, checked and applied as a whole (pure) |
//! | `plugin` | a module that is loaded again after a failure, with a back-off |
//! | `error` | what a plug-in did wrong, and the remedy |
//! | [`interceptor`] | the component |
//!
//! # Invariants
//!
//! 1. A module names events by their index in the batch. It cannot repeat, reorder or add events,
//!    because the contract has no call for that. An event is lost only if the module drops it.
//! 2. The writes of a call are applied only after it has returned the number of events, and after
//!    all of them were checked. After a fault nothing of the call remains.
//! 3. Each batch has an instance of its own. Neither a value of an earlier batch, nor a damaged
//!    memory, nor unreleased memory reaches the next one.
//! 4. A module has no clock, no randomness, no files and no network, and its floating-point
//!    results do not depend on the processor. Together with 3 its result depends on the batch
//!    and the settings only, so it is always pure.
//! 5. Time, memory, output, header names and log lines of a call are limited.
//!
//! docs/plugins.md documents the contract for authors of modules, and its cost.

mod cache;
mod call;
mod config;
mod error;
mod host;
pub mod interceptor;
mod interrupt;
mod load;
mod plugin;
mod staged;
#[cfg(test)]
mod tests;

use pipeline::component::entry;
use pipeline::{Entry, Group, Interceptor};

/// Version of the contract.
pub const VERSION: i32 = 1;

static INTERCEPTORS: &[Entry<dyn Interceptor>] = &[entry::<interceptor::Config>()];

/// All components, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("wasm"),
    interceptors: INTERCEPTORS,
    ..Group::EMPTY
};

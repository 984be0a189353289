//! Goal: whatever a module does, no event is lost, none is repeated by the agent, and the error
//! names the cause.
//!
//! Method: modules as text, which misbehave in their second batch, are replaced by an honest one
//! after the first or second failure, as an operator replaces a file. Modules in Rust and C are
//! built and run by `tests/tests/system/plugins_wasm.rs`.

mod interceptor;
mod modules;
#[cfg(feature = "mutants")]
mod planted;

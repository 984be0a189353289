//! Goal: whatever a plug-in does, no event is lost, none is repeated by the agent, and the error
//! names the cause.
//!
//! Method: scripted plug-ins at the other end of the contract, in this process and with paused
//! time. A plug-in misbehaves once or a few times, and its successor is honest. Processes, signals
//! and memory are tested in `aqueduct-env`, and Python plug-ins in `tests/tests/system/plugins.rs`.

mod encoder;
mod interceptor;
mod peer;
#[cfg(feature = "mutants")]
mod planted;
mod selector;
mod sink;
mod source;

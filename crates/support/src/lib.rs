//! Small utilities that the crates of Aqueduct share. They know nothing about events.
//!
//! | module | contents |
//! |---|---|
//! | [`backoff`] | pauses between attempts |
//! | [`causes`] | an error with its causes, in one line |
//! | [`compression`] | zstd frames |
//! | [`hex`] | bytes as hexadecimal digits |
//! | [`loopback`] | free addresses of this machine for tests, benchmarks and the demo |
//! | [`log_rate`] | a limit for log lines of one kind |
//! | [`meter`] | totals, and rates of the last ten seconds |
//! | [`mutants`] | planted bugs that tests must find; not in a release |
//! | [`notice`] | waiting for a change without missing it |
//! | [`pool`] | large buffers that are reused |
//! | [`failure_log`] | decides when repeated failures are logged |
//! | [`text`] | bytes as text |

pub mod backoff;
pub mod causes;
pub mod compression;
pub mod failure_log;
pub mod hex;
pub mod log_rate;
pub mod loopback;
pub mod meter;
pub mod mutants;
pub mod notice;
pub mod pool;
pub mod text;

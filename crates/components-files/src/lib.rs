//! The sources that read files of a disk: `tail_dir` and `spool_dir`.
//!
//! ```text
//!   files that grow      ─► tail_dir  ─┐
//!                                      ├─► events, each with its position ─► channels
//!   files that are finished ─► spool_dir ─┘
//! ```
//!
//! Both keep their positions in the channels, so that each line is there once. Lines that are one
//! event are joined by `kit::multiline`; compression and charsets are those of `formats`.

pub mod spool_dir;
pub mod tail_dir;

use std::time::Duration;

use pipeline::component::entry;
use pipeline::{Entry, Group, Source};

/// Minimum interval between reports of progress.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<spool_dir::Config>(), entry::<tail_dir::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group =
    Group { package: env!("CARGO_PKG_NAME"), sources: SOURCES, ..Group::EMPTY };

//! Defaults of the settings.

use std::time::Duration;

use pipeline::units::{ByteSize, Period};
use pipeline::{Choice, Decoder};

pub(super) fn include_pattern() -> String {
    ".*".to_owned()
}

pub(super) fn ignore_pattern() -> String {
    String::new()
}

pub(super) fn poll_delay() -> Period {
    Period(Duration::from_millis(500))
}

pub(super) fn settle() -> Period {
    Period(Duration::from_secs(2))
}

pub(super) fn completed_suffix() -> String {
    ".COMPLETED".to_owned()
}

pub(super) fn failed_suffix() -> String {
    ".FAILED".to_owned()
}

pub(super) fn decoder() -> Choice<dyn Decoder> {
    Choice::from_kind("lines")
}

pub(super) fn charset() -> String {
    "UTF-8".to_owned()
}

pub(super) fn line_max() -> ByteSize {
    ByteSize::mib(1)
}

pub(super) fn file_max() -> ByteSize {
    ByteSize::mib(64)
}

pub(super) fn batch_events() -> usize {
    10_000
}

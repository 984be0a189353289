//! Metrics that are updated on request: contents of the channels, resource usage of the process.

use metrics::{ChannelLabel, GroupLabel, Metrics, PartLabel, VersionLabel};
use pipeline::{ChannelStatus, Env};

use crate::held::{Holds, Part};
use crate::stderr;
use crate::version::VERSION;

/// Shows the program's version.
pub fn version(metrics: &Metrics) {
    let version = VersionLabel { version: VERSION };
    metrics.build_info.get_or_create(&version).set(1);
}

/// Updates the metrics of these channels.
pub fn channels<'a>(metrics: &Metrics, channels: impl Iterator<Item = (&'a str, ChannelStatus)>) {
    for (name, status) in channels {
        let label = ChannelLabel { channel: name.to_owned() };
        metrics.channel_events.get_or_create(&label).set(gauge(status.events));
        metrics.channel_bytes.get_or_create(&label).set(gauge(status.bytes));
        metrics.channel_capacity.get_or_create(&label).set(gauge(status.capacity_bytes));
        metrics.channel_reserve.get_or_create(&label).set(gauge(status.reserve_bytes));
        let stopped = i64::from(status.intake_stopped);
        metrics.channel_intake_stopped.get_or_create(&label).set(stopped);
        let until_full = status.until_full.map_or(f64::INFINITY, |left| left.as_secs_f64());
        metrics.channel_until_full.get_or_create(&label).set(until_full);
        metrics.channel_in_flight.get_or_create(&label).set(gauge(status.unsettled_events));
        let oldest = status.oldest_uncommitted.unwrap_or_default();
        metrics.channel_oldest.get_or_create(&label).set(oldest.as_secs_f64());
    }
}

/// Removes the metrics of a channel that no longer exists.
pub fn forget_channel(metrics: &Metrics, name: &str) {
    let label = ChannelLabel { channel: name.to_owned() };
    metrics.channel_events.remove(&label);
    metrics.channel_bytes.remove(&label);
    metrics.channel_capacity.remove(&label);
    metrics.channel_reserve.remove(&label);
    metrics.channel_intake_stopped.remove(&label);
    metrics.channel_until_full.remove(&label);
    metrics.channel_in_flight.remove(&label);
    metrics.channel_oldest.remove(&label);
}

/// Removes the metrics of a group that no longer exists.
pub fn forget_group(metrics: &Metrics, name: &str) {
    metrics.group_unable_since.remove(&GroupLabel { group: name.to_owned() });
}

/// Shows since when parts are held that were not `before`.
pub fn held(metrics: &Metrics, before: &Holds, after: &Holds) {
    let label = |part: &Part| PartLabel { part: part.to_string() };
    for part in before.keys().filter(|part| !after.contains_key(*part)) {
        metrics.part_held_since.remove(&label(part));
    }
    for (part, hold) in after {
        metrics.part_held_since.get_or_create(&label(part)).set(hold.since_unix_seconds());
    }
}

/// Updates the metrics of the process.
pub fn process(metrics: &Metrics, env: &Env) {
    let Some(used) = env.blocking.usage() else { return };
    metrics.process_start_time.set(used.started);
    // A counter can only be increased; two concurrent readers may add the same, but not the third
    // one.
    let counted = metrics.process_cpu.get();
    metrics.process_cpu.inc_by((used.cpu.as_secs_f64() - counted).max(0.0));
    metrics.process_resident.set(gauge(used.resident_bytes));
    metrics.process_open_fds.set(gauge(used.open_files));
    metrics.process_max_fds.set(used.open_files_max.map_or(-1, gauge));
}

/// Brings up to date how many log lines were lost.
pub fn log(metrics: &Metrics) {
    let counted = metrics.log_dropped.get();
    metrics.log_dropped.inc_by(stderr::dropped().saturating_sub(counted));
}

/// The value of a gauge.
pub fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

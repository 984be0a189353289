//! What is read back from disks: segments of the durable channel, and a file channel of Flume.

/// A segment of the durable channel.
pub(super) fn frames(input: &[u8]) -> usize {
    let (records, events) = channel::testkit::read_segment(input);
    records + events
}

/// A log, a checkpoint or in-flight events of a file channel of Flume.
pub(super) fn flume_channel(input: &[u8]) -> usize {
    flume_channel::fuzzed::read(input)
}

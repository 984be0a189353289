//! Messages of a plug-in.

/// A frame of a plug-in: its values are counted before they are decoded.
pub(super) fn plugin(input: &[u8]) -> usize {
    components_process::fuzzed::read(input).unwrap_or(0)
}

//! Data read back from disks: segments of the durable channel, a Flume file channel, and systemd's
//! journal as printed by journalctl.

use components::sources::journald::export::{Entry, Export, Kept, Malformed};

use super::settings_and_stream;

/// A segment of the durable channel.
pub(super) fn frames(input: &[u8]) -> usize {
    let (records, events) = channel::testkit::read_segment(input);
    records + events
}

/// A log, a checkpoint or the in-flight events of a Flume file channel.
pub(super) fn flume_channel(input: &[u8]) -> usize {
    flume_channel::fuzzed::read(input)
}

/// The journal's export format, complete or only the message, in one piece and in many.
pub(super) fn journal(input: &[u8]) -> usize {
    let (choice, piece, stream) = settings_and_stream(input);
    let kept = match choice & 1 {
        0 => Kept::All,
        _ => Kept::Named(vec!["MESSAGE".to_owned()]),
    };
    let value_max = [1 << 20, 8][choice / 2 % 2];
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| -> (Vec<Entry>, Option<Malformed>) {
        let (mut export, mut entries) = (Export::new(kept.clone(), value_max), Vec::new());
        for mut piece in pieces {
            loop {
                match export.next(&mut piece) {
                    Ok(Some(entry)) => entries.push(entry),
                    Ok(None) => break,
                    Err(malformed) => return (entries, Some(malformed)),
                }
            }
        }
        (entries, None)
    };
    let whole = read(&mut [stream].into_iter());
    assert_eq!(whole, read(&mut stream.chunks(piece)), "the same in one piece and in many");
    for entry in &whole.0 {
        let kept = entry.fields().map(|(_, value)| value.len()).sum::<usize>();
        assert!(kept <= 2 * value_max, "{kept} bytes of values");
    }
    whole.0.len()
}

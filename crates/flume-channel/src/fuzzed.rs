//! A fuzz target: reads any bytes as a file of a channel.

use crate::checkpoint::{self, State, Unsnappy};
use crate::record::{Format, Pointer, Record, Step, read as read_record, resume};
use crate::replay::Replay;

/// Reads `input` as selected by its first byte: a log of format 2 or 3, a checkpoint (its metadata
/// first, with a length in one byte), a compressed one, or in-flight events. Returns the number of
/// records or events.
pub fn read(input: &[u8]) -> usize {
    let Some((kind, rest)) = input.split_first() else { return 0 };
    let numbers = |bytes: &[u8]| bytes.len() as u64 / 8;
    let queue = |state: Result<State, _>| state.map_or(0, |state: State| state.queue.len());
    match kind % 5 {
        0 => log(rest, Format::V2),
        1 => log(rest, Format::V3),
        2 => {
            let Some((length, rest)) = rest.split_first() else { return 0 };
            let (meta, mut file) = rest.split_at(usize::from(*length).min(rest.len()));
            let numbers = numbers(file);
            let meta = (!meta.is_empty()).then_some(meta);
            queue(checkpoint::read(&mut file, numbers, meta))
        }
        3 => {
            let Ok(mut stream) = Unsnappy::new(rest) else { return 0 };
            queue(checkpoint::read(&mut stream, 1029 + 100, None))
        }
        _ => checkpoint::in_flight(rest).map_or(0, |open| open.len()),
    }
}

/// Every record of a log, as it is replayed.
fn log(bytes: &[u8], format: Format) -> usize {
    let mut replay = Replay::of(State::default());
    let (mut at, mut records) = (0, 0);
    loop {
        let rest = &bytes[at..];
        match read_record(rest, format) {
            Step::Record(record, len) => {
                apply(&mut replay, at, &record);
                records += 1;
                at += len;
            }
            Step::Removed(len) => at += len,
            Step::End | Step::More(_) => break,
            Step::Damaged { len, .. } => match len.or_else(|| resume(rest, format)) {
                Some(len) => at += len,
                None => break,
            },
        }
    }
    let (waiting, _) = replay.finish();
    assert!(waiting.len() <= records, "an event waits because it was put");
    records
}

fn apply(replay: &mut Replay, at: usize, record: &Record) {
    if let Some(at) = i32::try_from(at).ok().and_then(|at| Pointer::new(1, at)) {
        replay.apply(at, record);
    }
}

//! Reads from the channels which files an earlier run followed, and the position of each channel.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::file::{File, Mark, Stage};
use super::flume_positions::FlumePositions;
use super::identity::{Fingerprint, Position};

/// How long a position is kept without its file: the directory may be mounted late.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

/// Returns the files of the positions in the required channels. If a channel has no position of a
/// file, the file is read for that channel from its beginning; if the channel has no position at
/// all, from Flume's offset.
pub(super) fn recover(
    source: &str,
    known: &[Vec<(Bytes, Bytes)>],
    flume: Option<&FlumePositions>,
    now: Instant,
) -> Vec<File> {
    let mut by_key: BTreeMap<&Bytes, Vec<Option<Position>>> = BTreeMap::new();
    let (mut places, mut lens) = (BTreeMap::new(), BTreeMap::new());
    for (channel, positions) in known.iter().enumerate() {
        for (key, value) in positions {
            let Some((position, place)) = Position::decode(value) else {
                tracing::warn!(
                    source,
                    "cannot decode a file position in the channel; the file is treated as new, so \
                     its events may be stored twice; another version of this program wrote it; no \
                     action needed"
                );
                continue;
            };
            by_key.entry(key).or_insert_with(|| vec![None; known.len()])[channel] = Some(position);
            places.insert(key, place);
            if let Some(len) = Position::file_len(value) {
                let longest = lens.entry(key).or_insert(len);
                *longest = len.max(*longest);
            }
        }
    }
    for standing in by_key.values_mut().filter(|_| flume.is_some()) {
        let furthest = standing.iter().flatten().max_by_key(|position| position.offset).cloned();
        let Some(furthest) = furthest else { continue };
        let Some(offset) = flume.and_then(|flume| flume.offset_in(&furthest)) else { continue };
        let (tail, skipping) = (Fingerprint::default(), false);
        let at_flume = Position { offset, skipping, tail, ..furthest };
        for (one, positions) in standing.iter_mut().zip(known) {
            if positions.is_empty() {
                *one = Some(at_flume.clone());
            }
        }
    }
    let file = |(key, standing): (&Bytes, Vec<_>)| {
        let place = places.remove(key).unwrap_or_default();
        let len_when_read = lens.remove(key);
        file(key, &standing, place, now).map(|file| File { len_when_read, ..file })
    };
    by_key.into_iter().filter_map(file).collect()
}

fn file(key: &Bytes, standing: &[Option<Position>], place: PathBuf, now: Instant) -> Option<File> {
    let offset = |position: &Option<Position>| position.as_ref().map_or(0, |at| at.offset);
    let furthest = standing.iter().max_by_key(|position| offset(position))?.clone()?;
    let lowest = standing.iter().min_by_key(|position| offset(position))?;
    let (from, skipping, tail) = match lowest {
        Some(lowest) => (lowest.offset, lowest.skipping, lowest.tail),
        None => (0, false, Fingerprint::default()),
    };
    let mark = |position: &Option<Position>| Mark {
        offset: offset(position),
        skipping: position.as_ref().is_some_and(|at| at.skipping),
    };
    let alike = from == furthest.offset;
    let marks = if alike { Vec::new() } else { standing.iter().map(mark).collect() };
    let position = Position { offset: from, skipping, tail, ..furthest };
    let stage = Stage::Lost { until: now + FORGET_AFTER, searched: false };
    let mut file = File::at(key.clone(), position, place, marks, stage, now);
    file.missing_since = Some(now);
    Some(file)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn position(offset: u64) -> Position {
        let tail = Fingerprint::new(offset.to_string().as_bytes());
        let head = Fingerprint::new(b"head");
        Position { device: 1, inode: 2, offset, skipping: false, head, tail, path: "/a".into() }
    }

    fn known(offsets: &[Option<u64>]) -> Vec<Vec<(Bytes, Bytes)>> {
        let entry =
            |offset: u64| (Bytes::from_static(b"k"), position(offset).encode(Path::new("/a")));
        offsets.iter().map(|offset| offset.map(entry).into_iter().collect()).collect()
    }

    #[test]
    fn reading_goes_on_where_the_last_channel_stands() {
        for (offsets, from, marks) in [
            (vec![Some(7), Some(7)], 7, vec![]),
            (vec![Some(7), Some(5)], 5, vec![7, 5]),
            (vec![None, Some(5)], 0, vec![0, 5]),
        ] {
            let files = recover("s", &known(&offsets), None, Instant::now());
            assert_eq!(files.len(), 1);
            let found: Vec<u64> = files[0].marks.iter().map(|mark| mark.offset).collect();
            assert_eq!((files[0].position.offset, found), (from, marks));
            let tail = if from == 0 { Fingerprint::default() } else { position(from).tail };
            assert_eq!(files[0].position.tail, tail);
        }
    }

    #[test]
    fn a_position_that_cannot_be_read_is_passed_over() {
        let odd = vec![vec![(Bytes::from_static(b"k"), Bytes::from_static(b"\xff"))]];
        assert!(recover("s", &odd, None, Instant::now()).is_empty());
    }
}

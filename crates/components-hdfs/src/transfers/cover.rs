//! Selects the bytes of parts that make a whole file. Pure.
//!
//! Parts may overlap, because batches can be resent with other boundaries: after an agent lost its
//! state, or when downstream agents now accept only smaller batches. Overlapping bytes are always
//! equal.

/// A part: its first byte, and the end (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The bytes of a part that go into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) part: Part,
    /// Bytes of the part to skip.
    pub(super) skip: u64,
    pub(super) bytes: u64,
}

/// Returns the slices of a file of `size` bytes, in order, from as few parts as possible.
///
/// # Errors
/// The first byte that no part has.
pub(super) fn cover(parts: &[Part], size: u64) -> Result<Vec<Slice>, u64> {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable();
    let (mut slices, mut at, mut next) = (Vec::new(), 0, 0);
    while at < size {
        // Among the parts with this byte, take the one that reaches furthest.
        let mut best: Option<Part> = None;
        while let Some(part) = sorted.get(next).filter(|part| part.from <= at) {
            if part.to > best.map_or(at, |best| best.to) {
                best = Some(*part);
            }
            next += 1;
        }
        let Some(part) = best else { return Err(at) };
        let to = part.to.min(size);
        slices.push(Slice { part, skip: at - part.from, bytes: to - at });
        at = to;
    }
    Ok(slices)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An implementation to check.
    type Decide = fn(&[Part], u64) -> Result<Vec<Slice>, u64>;

    /// Checks an implementation byte by byte. Returns the error.
    fn wrong(decide: Decide, parts: &[Part], size: u64) -> Option<String> {
        let has = |byte: u64| parts.iter().any(|part| part.from <= byte && byte < part.to);
        let missing = (0..size).find(|byte| !has(*byte));
        let slices = match (decide(parts, size), missing) {
            (Err(at), Some(missing)) if at == missing => return None,
            (Ok(slices), None) => slices,
            (answer, missing) => return Some(format!("{answer:?}, missing {missing:?}")),
        };
        // Each part contains its own offsets as bytes, and so does the reassembled file.
        let bytes = slices.iter().flat_map(|it| {
            let from = it.part.from + it.skip;
            (from..from + it.bytes).map(move |byte| (byte, byte < it.part.to))
        });
        let file: Vec<(u64, bool)> = bytes.collect();
        let expected: Vec<(u64, bool)> = (0..size).map(|byte| (byte, true)).collect();
        let of_parts = slices.iter().all(|it| parts.contains(&it.part));
        (file != expected || !of_parts).then(|| format!("{slices:?}"))
    }

    fn parts() -> impl Strategy<Value = (Vec<Part>, u64)> {
        let part = (0_u64..12, 1_u64..6).prop_map(|(from, bytes)| Part { from, to: from + bytes });
        (prop::collection::vec(part, 0..10), 0_u64..12)
    }

    proptest! {
        #[test]
        fn parts_make_each_byte_of_a_file_once_or_name_the_first_that_is_missing(
            (parts, size) in parts(),
        ) {
            prop_assert_eq!(wrong(cover, &parts, size), None);
        }
    }

    /// Wrong: treats overlapping parts as adjacent.
    fn overlapped(parts: &[Part], size: u64) -> Result<Vec<Slice>, u64> {
        let slices = cover(parts, size)?;
        let all = |it: Slice| Slice { skip: 0, bytes: it.part.to - it.part.from, ..it };
        Ok(slices.into_iter().map(all).collect())
    }

    /// Wrong: misses a missing byte between two parts.
    fn over_a_gap(parts: &[Part], size: u64) -> Result<Vec<Slice>, u64> {
        cover(parts, size).or_else(|at| {
            let filled: Vec<Part> =
                parts.iter().copied().chain([Part { from: at, to: at + 1 }]).collect();
            cover(&filled, size)
        })
    }

    /// Wrong: assumes that parts are sorted by offset, and that none contains another.
    fn last_wins(parts: &[Part], size: u64) -> Result<Vec<Slice>, u64> {
        let mut sorted = parts.to_vec();
        sorted.sort_unstable();
        let mut at = 0;
        let mut slices = Vec::new();
        for part in sorted {
            if part.from > at || at >= size {
                break;
            }
            let to = part.to.min(size);
            slices.push(Slice { part, skip: at - part.from, bytes: to.saturating_sub(at) });
            at = to;
        }
        if at < size { Err(at) } else { Ok(slices) }
    }

    #[test]
    fn planted_bugs_of_a_decision_are_found() {
        for (name, bug) in [
            ("overlapped", overlapped as Decide),
            ("over_a_gap", over_a_gap),
            ("last_wins", last_wins),
        ] {
            let mut runner = proptest::test_runner::TestRunner::deterministic();
            let found = runner.run(&parts(), |(parts, size)| {
                prop_assert_eq!(wrong(bug, &parts, size), None);
                Ok(())
            });
            assert!(found.is_err(), "{name} is not found");
        }
    }
}

//! Where a run starts, from the positions in the channels. Pure.
//!
//! ```text
//!   put      4     5     6     7
//!   c0   ────┼─────┼─────┤                 has put 6
//!   c1   ────┼─────┤                       has put 5: it lacks put 6
//!                  └──►──┤ read into c1 only, up to the position of c0
//!                        └──────► read into both
//! ```
//!
//! While `c1` catches up it keeps its number, 5, because its puts have other bounds than those of
//! `c0`. So it also stores the number that it reads up to. If `c0` is removed before, nothing tells
//! how far `c1` is in comparison with the others, and the source stops.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{ErrorClass, SourceError, SourcePosition};
use support::mutant;

/// The positions of a source in a channel: keys and values.
pub type Known = Vec<(Bytes, Bytes)>;

/// Key of the number of the last put.
const NUMBER: Bytes = Bytes::from_static(b"put");

/// Key of the number up to which a channel catches up.
const AIM: Bytes = Bytes::from_static(b"catching up to");

/// How a source continues when its channels have different positions, after a kill between two of
/// them or with a new channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// It reads exactly the events between two positions, into the channels that lack them. A
    /// channel without a position gets all events.
    Exact,
    /// It starts at the earliest position, and the other channels store events again: at least
    /// once. A channel without a position starts at the position of the others.
    Repeat,
    /// It cannot: it needs exactly one required channel.
    OneChannel,
}

/// Where a run starts.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The positions at the start; empty: from the beginning.
    pub known: Known,
    /// Where the run ends: the positions of the channels that have more. Only with
    /// [`CatchUp::Exact`].
    pub until: Option<Known>,
}

/// A run, and its channels.
#[derive(Debug, Clone)]
pub(super) struct Leg {
    pub(super) start: Start,
    /// The channels that lack its events; `None`: all.
    pub(super) into: Option<Vec<usize>>,
    /// The number of the last put; `None` for a source that needs no order of its channels.
    pub(super) number: Option<u64>,
}

impl Leg {
    /// The next run of a source with these positions in its channels.
    ///
    /// # Errors
    /// The source cannot have so many channels.
    pub(super) fn new(
        kind: &str,
        mut channels: Vec<Known>,
        catch_up: CatchUp,
        number: impl Fn(&[(Bytes, Bytes)]) -> Option<u64>,
    ) -> Result<Self, SourceError> {
        if channels.is_empty() {
            let message = format!("the source `{kind}` needs a required channel for its position");
            return Err(SourceError { class: ErrorClass::Fatal, message, source: None });
        }
        if catch_up == CatchUp::OneChannel {
            let known = only(kind, channels)?;
            return Ok(Self { start: known.into(), into: None, number: None });
        }
        let mut numbers: Vec<Option<u64>> = channels.iter().map(|known| number(known)).collect();
        let (least, most) = (numbers.iter().min().copied(), numbers.iter().max().copied());
        let (least, most) = (least.flatten(), most.flatten());
        let last = channels.iter().map(|known| stored_number(known)).max();
        if catch_up == CatchUp::Repeat {
            // One put may have been in front of the first channel only.
            let is_new = least.is_none() && most > Some(1);
            let first = numbers.iter().flatten().min().copied().filter(|_| is_new).or(least);
            let at = numbers.iter().position(|number| *number == first).unwrap_or_default();
            return Ok(Self { start: channels.swap_remove(at).into(), into: None, number: last });
        }
        reachable(kind, &channels)?;
        if mutant!("follow_starts_at_latest") {
            numbers.fill(most);
        }
        let at_most = numbers.iter().position(|number| *number == most).unwrap_or_default();
        // One after the other: two that catch up may have the same number at different positions.
        let Some(behind) = numbers.iter().position(|number| *number < most) else {
            return Ok(Self {
                start: channels.swap_remove(at_most).into(),
                into: None,
                number: last,
            });
        };
        let (known, until) = (channels[behind].clone(), Some(channels[at_most].clone()));
        let number = Some(stored_number(&known));
        Ok(Self { start: Start { known, until }, into: Some(vec![behind]), number })
    }
}

/// Checks that the channel which another one catches up with still exists.
fn reachable(kind: &str, channels: &[Known]) -> Result<(), SourceError> {
    let last = channels.iter().map(|known| stored_number(known)).max();
    let is_stuck = |known: &Known| channels.len() > 1 && value(known, &AIM) > last;
    let Some(channel) = channels.iter().position(is_stuck) else { return Ok(()) };
    let message = format!(
        "required channel {channel} (counted from 0) of the source `{kind}` was catching up with \
         another channel, which is removed or empty now, so its position is unknown: configure \
         that channel again until this one has caught up, or keep only one required channel"
    );
    Err(SourceError { class: ErrorClass::Blocked, message, source: None })
}

impl From<Known> for Start {
    fn from(known: Known) -> Self {
        Self { known, until: None }
    }
}

/// Returns the number of the last put in a channel: 0 for none, and for a channel that catches up
/// from the beginning; 1 for a position of a version that did not store the number.
pub fn stored_number(known: &[(Bytes, Bytes)]) -> u64 {
    value(known, &NUMBER).unwrap_or(u64::from(!known.is_empty()))
}

fn value(known: &[(Bytes, Bytes)], key: &Bytes) -> Option<u64> {
    let (_, value) = known.iter().find(|(other, _)| other == key)?;
    value[..].try_into().ok().map(u64::from_le_bytes)
}

/// The position with the number of a put.
pub(super) fn numbered(source: &Arc<str>, number: u64) -> SourcePosition {
    position(source, NUMBER, Some(number))
}

/// The position of a channel that catches up to this number, or has.
pub(super) fn aimed(source: &Arc<str>, number: Option<u64>) -> SourcePosition {
    position(source, AIM, number)
}

fn position(source: &Arc<str>, key: Bytes, number: Option<u64>) -> SourcePosition {
    let value = number.map(|number| Bytes::copy_from_slice(&number.to_le_bytes()));
    SourcePosition { source: source.clone(), key, value, after: None }
}

/// Returns the positions of a source in its only channel.
///
/// # Errors
/// The source has no channel, or several, whose positions might differ.
pub fn only_channel(
    kind: &str,
    source: &str,
    cx: &pipeline::SourceContext,
) -> Result<Known, SourceError> {
    only(kind, cx.positions.positions(source))
}

fn only(kind: &str, mut channels: Vec<Known>) -> Result<Known, SourceError> {
    match (channels.pop(), channels.len()) {
        (Some(known), 0) => Ok(known),
        _ => {
            let message = format!(
                "the source `{kind}` needs exactly one required channel, which stores its \
                 position: make the others optional, or let several groups read from one channel"
            );
            Err(SourceError { class: ErrorClass::Fatal, message, source: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(number: Option<u64>) -> Known {
        let value = number.map(|number| Bytes::copy_from_slice(&number.to_le_bytes()));
        value.map(|value| (NUMBER, value)).into_iter().collect()
    }

    fn number(known: &[(Bytes, Bytes)]) -> Option<u64> {
        (!known.is_empty()).then(|| stored_number(known))
    }

    fn leg(numbers: &[Option<u64>], catch_up: CatchUp) -> Leg {
        let channels = numbers.iter().copied().map(known).collect();
        Leg::new("k", channels, catch_up, number).unwrap()
    }

    #[test]
    fn catches_up_one_channel_after_the_other() {
        for (numbers, start, until, into) in [
            (&[Some(6), Some(6)][..], Some(6), None, None),
            (&[Some(6), Some(5)], Some(5), Some(6), Some(vec![1])),
            (&[Some(6), Some(5), Some(9)], Some(6), Some(9), Some(vec![0])),
            (&[Some(9), Some(6), Some(6)], Some(6), Some(9), Some(vec![1])),
            (&[None, Some(6), None], None, Some(6), Some(vec![0])),
            (&[None, None], None, None, None),
        ] {
            let leg = leg(numbers, CatchUp::Exact);
            assert_eq!(leg.start.known, known(start), "{numbers:?}");
            assert_eq!(leg.start.until, until.map(|until| known(Some(until))), "{numbers:?}");
            assert_eq!((leg.into, leg.number), (into, start.or(Some(0))), "{numbers:?}");
        }
    }

    #[test]
    fn repeats_from_the_earliest_position_but_not_for_a_new_channel() {
        for (numbers, start) in [
            (&[Some(6), Some(5)][..], Some(5)),
            (&[None, Some(1)], None),
            (&[None, Some(6), Some(5)], Some(5)),
            (&[None, None], None),
        ] {
            let leg = leg(numbers, CatchUp::Repeat);
            assert_eq!(leg.start.known, known(start), "{numbers:?}");
            assert_eq!((leg.start.until, leg.into), (None, None), "{numbers:?}");
            assert_eq!(leg.number, numbers.iter().max().unwrap().or(Some(0)));
        }
    }

    #[test]
    fn stops_when_the_channel_that_another_one_catches_up_with_is_gone() {
        let aimed = (AIM, Bytes::copy_from_slice(&6_u64.to_le_bytes()));
        let behind = [known(Some(4)), vec![aimed]].concat();
        let leg = |others: &[Option<u64>]| {
            let others = others.iter().copied().map(known);
            let channels = others.chain([behind.clone()]).collect();
            Leg::new("k", channels, CatchUp::Exact, number)
        };
        assert_eq!(leg(&[Some(6), Some(5)]).unwrap().into, Some(vec![1]));
        assert_eq!(leg(&[]).unwrap().start.known, behind, "a single channel needs no order");
        for others in [&[Some(5)][..], &[Some(4), None]] {
            let error = leg(others).unwrap_err();
            assert_eq!(error.class, ErrorClass::Blocked);
            let channel = format!("required channel {} ", others.len());
            assert!(error.message.starts_with(&channel), "{error}");
        }
    }

    #[test]
    fn rejects_several_channels_where_one_is_needed() {
        let two = vec![known(None), known(None)];
        let error = Leg::new("k", two, CatchUp::OneChannel, number).unwrap_err();
        assert!(error.message.contains("exactly one required channel"), "{error}");
        let none = Leg::new("k", Vec::new(), CatchUp::Exact, number);
        assert_eq!(none.unwrap_err().class, ErrorClass::Fatal);
    }
}

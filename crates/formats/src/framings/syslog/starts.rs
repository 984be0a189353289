//! Finds the beginning of syslog messages. Pure.
//!
//! A count is a number, a blank, and the priority of its message: `123 <34>`.

use memchr::{memchr, memchr2};

/// Maximum number of digits in a count.
const COUNT_DIGITS_MAX: usize = 7;

/// Length of the longest priority: `<191>`.
const PRIORITY_BYTES: usize = 5;

/// Length of the longest count with its priority: `1234567 <191>`.
pub(super) const START_BYTES: usize = COUNT_DIGITS_MAX + 1 + PRIORITY_BYTES;

/// Type of a beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// A count: length of its digits and the blank, and its value.
    Counted { head: usize, bytes: usize },
    /// A priority.
    Priority,
    /// Anything else.
    Text,
    /// Too few bytes to decide.
    Unknown,
}

/// Returns the type of these bytes' beginning.
pub(super) fn start(bytes: &[u8]) -> Start {
    let head = bytes.iter().take(COUNT_DIGITS_MAX + 1);
    let digits = head.take_while(|byte| byte.is_ascii_digit()).count();
    let is_count = match (digits, bytes.get(digits)) {
        (0, None) => return Start::Unknown,
        (0, Some(_)) => {
            return match is_priority(bytes) {
                None => Start::Unknown,
                Some(true) => Start::Priority,
                Some(false) => Start::Text,
            };
        }
        (1..=COUNT_DIGITS_MAX, after) if bytes[0] != b'0' => match after {
            None => None,
            Some(b' ') => is_priority(&bytes[digits + 1..]),
            Some(_) => Some(false),
        },
        _ => Some(false),
    };
    match is_count {
        None => Start::Unknown,
        Some(true) => Start::Counted { head: digits + 1, bytes: value(&bytes[..digits]) },
        Some(false) => Start::Text,
    }
}

/// Returns whether these bytes begin with a priority; `None` if they are too few to decide.
fn is_priority(bytes: &[u8]) -> Option<bool> {
    if *bytes.first()? != b'<' {
        return Some(false);
    }
    let digits = bytes[1..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    match bytes.get(1 + digits) {
        None if digits <= 3 => None,
        Some(b'>') => Some((1..=3).contains(&digits)),
        _ => Some(false),
    }
}

fn value(digits: &[u8]) -> usize {
    digits.iter().fold(0, |value, digit| value * 10 + usize::from(digit - b'0'))
}

/// End of a message without a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boundary {
    /// At a line end at this offset.
    LineEnd(usize),
    /// At a count that begins at this offset.
    Count(usize),
}

/// Finds the first line end, and with `counts` the first count before it. The first `searched`
/// bytes must contain no line end and no priority.
pub(super) fn boundary(bytes: &[u8], searched: usize, counts: bool) -> Option<Boundary> {
    let end = memchr2(b'\n', 0, &bytes[searched..]).map(|end| searched + end);
    let line = &bytes[..end.unwrap_or(bytes.len())];
    if counts {
        let mut counted = priorities(line, searched).filter_map(|at| count_before(line, at));
        if let Some(at) = counted.next() {
            return Some(Boundary::Count(at));
        }
    }
    end.map(Boundary::LineEnd)
}

/// Iterates over the offsets of priorities.
fn priorities(bytes: &[u8], from: usize) -> impl Iterator<Item = usize> + '_ {
    let mut next = from;
    std::iter::from_fn(move || {
        let at = next + memchr(b'<', &bytes[next..])?;
        next = at + 1;
        Some(at)
    })
    .filter(move |at| is_priority(&bytes[*at..]) == Some(true))
}

/// Returns the beginning of the longest count before the priority at `priority`.
fn count_before(bytes: &[u8], priority: usize) -> Option<usize> {
    let digits_end = priority.checked_sub(1).filter(|blank| bytes[*blank] == b' ')?;
    let digits = bytes[..digits_end].iter().rev().take(COUNT_DIGITS_MAX);
    let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
    (digits_end - digits..digits_end).find(|at| bytes[*at] != b'0')
}

/// Finds a message inside a counted message whose count leads to the beginning of a third one: the
/// outer count may be wrong then. `in_head` limits the search to the last digits of the outer
/// count.
pub(super) fn inner_start(frame: &[u8], head: usize, in_head: bool) -> Option<usize> {
    let leads_to_start = |at: usize, priority: usize| {
        let end = priority + value(&frame[at..priority - 1]);
        frame.get(end..).is_some_and(|after| begins_message(after) == Some(true))
    };
    let last = if in_head { head } else { frame.len() };
    priorities(frame, head).take_while(|at| *at <= last).find_map(|priority| {
        let first = count_before(frame, priority)?;
        let mut counts = (first.max(1)..priority - 1).filter(|at| frame[*at] != b'0');
        counts.find(|at| leads_to_start(*at, priority))
    })
}

/// Returns whether a message begins here, after any line ends; `None` if the bytes are too few to
/// decide.
pub(super) fn begins_message(bytes: &[u8]) -> Option<bool> {
    let ends = bytes.iter().take_while(|byte| is_line_end(**byte)).count();
    match start(&bytes[ends..]) {
        Start::Counted { .. } | Start::Priority => Some(true),
        Start::Text => Some(false),
        Start::Unknown => None,
    }
}

/// Returns true if this byte separates messages.
pub(super) fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

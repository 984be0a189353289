//! Joins lines of followed files into events.
//!
//! | an event ends | |
//! |---|---|
//! | before a line that begins one | once that line has its LF |
//! | with the last part of a line of a container | where parts are joined |
//! | before a line with which it would exceed `bytes_max` or `lines_max` | that line begins the next event, and is counted |
//! | before a line over `line_max` | that line is a separate event, cut as usual |
//! | when its file has not grown for `timeout` | after its last line with LF; a later line begins another event |
//! | when its container stream has printed nothing for `timeout` | judged by the times of the lines, while the other stream continues |
//! | at the end of a rotated file | with a last line without LF, once that counts as a line |

use kit::multiline::Joining;
use kit::multiline::scan::{Events, Scan};
use memchr::memchr_iter;

use super::lines::{End, Limits, Lines, Piece};

/// Bytes that are read at a time: a batch or the longest event, with the line after it.
pub(super) fn read_bytes(joining: &Joining, limits: Limits) -> usize {
    let event = joining.bytes_max.max(limits.line_bytes) + 1;
    limits.batch_bytes.max(event) + limits.line_bytes + 1
}

/// The events that `data` begins with, which is not in the rest of a line that was cut.
pub(super) fn next_piece(joining: &Joining, data: &[u8], end: End, limits: Limits) -> Piece {
    let Limits { line_bytes, batch_bytes, batch_events } = limits;
    let mut scan = Scan::new(joining, data, batch_bytes);
    let is_over = |scan: &Scan<'_>| scan.is_over(batch_bytes, batch_events);
    for lf in memchr_iter(b'\n', data) {
        let line = lf - scan.at();
        if line > line_bytes || is_over(&scan) {
            break;
        }
        scan.push(line, line + 1);
    }
    let rest = data.len() - scan.at();
    let mut is_unended = false;
    match end {
        _ if is_over(&scan) => scan.end_quiet(),
        _ if rest > line_bytes => scan.end(),
        End::Open => scan.end_quiet(),
        End::Quiet | End::Cut => scan.end(),
        End::Line => {
            // The last line lacks its LF, and will not get it.
            if rest > 0 {
                scan.push(rest, rest);
                is_unended = true;
            }
            scan.end();
        }
    }
    if scan.at() == 0 {
        return super::lines::first_line(data, end, line_bytes);
    }
    match scan.events(batch_bytes, batch_events) {
        Some(events) => piece(&events, is_unended && events.bytes == data.len()),
        None => Piece::Nothing,
    }
}

/// Returns these events as a piece; `is_unended`: the last line lacks its LF.
fn piece(events: &Events<'_>, is_unended: bool) -> Piece {
    let Events { bytes, divided, .. } = *events;
    if !events.is_mixed && !is_unended {
        let lengths = events.iter().map(|event| event.text().len() as u32).collect();
        return Piece::Lines { lines: Lines::Measured(lengths), bytes, unended: false, divided };
    }
    let (mut text, mut starts, mut lengths) = (Vec::with_capacity(bytes + 1), vec![], vec![]);
    for event in events.iter() {
        let body = event.text();
        starts.push(event.start());
        lengths.push(body.len() as u32);
        text.extend_from_slice(&body);
        text.push(b'\n');
    }
    Piece::Made { text, lengths, starts, bytes, is_unended, divided }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::multiline::oracle::{self, LINE_MAX};

    #[test]
    fn an_event_over_what_the_next_agents_take_is_divided() {
        let limits = Limits { line_bytes: LINE_MAX, batch_bytes: 5, batch_events: 9 };
        let piece = next_piece(&oracle::joining(), b">a\nb\nc\n>d\n", End::Quiet, limits);
        let lines = Lines::Measured(vec![4]);
        assert_eq!(piece, Piece::Lines { lines, bytes: 5, unended: false, divided: 1 });
    }
}

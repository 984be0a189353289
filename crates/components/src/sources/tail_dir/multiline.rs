//! Lines that are one event, in files that are followed.
//!
//! | an event ends | |
//! |---|---|
//! | before a line that begins one | once that line has its LF |
//! | before a line with which it would have more than `bytes_max`, or more than `lines_max` lines | that line begins the next one, and is counted |
//! | before a line over `line_max` | which is an event by itself, cut as ever |
//! | when its file has not grown for `timeout` | with its last line that has an LF; what comes later is another event |
//! | at the end of a file that was rotated | with a last line without LF, when that is a line |

use memchr::memchr_iter;

use super::lines::{End, Limits, Lines, Piece};
use crate::sources::multiline::{Joining, Next, Open};

impl Joining {
    /// Bytes that are read at a time: the longest event, with the line behind it.
    pub(super) fn read_bytes(&self, limits: Limits) -> usize {
        let event = self.bytes_max.max(limits.line_bytes) + 1;
        limits.read_bytes().max(event + limits.line_bytes + 1)
    }

    /// The events that `data` begins with, which is not in the rest of a line that was cut.
    pub(super) fn next_piece(&self, data: &[u8], end: End, limits: Limits) -> Piece {
        let Limits { line_bytes, batch_bytes, batch_events } = limits;
        let mut open = Open::default();
        let mut lengths: Vec<u32> = Vec::new();
        let mut divided = 0;
        let mut line_at = 0;
        let mut is_long = false;
        let events = |lengths: Vec<u32>, bytes: usize, divided: u64| Piece::Lines {
            lines: Lines::Measured(lengths),
            bytes,
            unended: false,
            divided,
        };
        for lf in memchr_iter(b'\n', data) {
            let line = &data[line_at..lf];
            if line.len() > line_bytes {
                is_long = true;
                break;
            }
            let next = self.next(open, line, batch_bytes);
            if next != Next::Same {
                let start = line_at - open.bytes;
                if start > 0 && line_at > batch_bytes {
                    return events(lengths, start, divided);
                }
                lengths.push((open.bytes - 1) as u32);
                divided += u64::from(next == Next::Divided);
                open = Open::default();
                if lengths.len() == batch_events {
                    return events(lengths, line_at, divided);
                }
            }
            self.add(&mut open, line, line.len() + 1);
            line_at = lf + 1;
        }
        let rest = &data[line_at..];
        let (is_ended, next) = match end {
            _ if is_long || rest.len() > line_bytes => (true, Next::Another),
            End::Open => (false, Next::Same),
            End::Quiet | End::Cut => (true, Next::Another),
            End::Line if rest.is_empty() => (true, Next::Another),
            End::Line => {
                let next = self.next(open, rest, batch_bytes);
                (next != Next::Same, next)
            }
        };
        let start = line_at - open.bytes;
        let fits = start == 0 || line_at <= batch_bytes;
        if is_ended && open.lines > 0 && fits {
            lengths.push((open.bytes - 1) as u32);
            return events(lengths, line_at, divided + u64::from(next == Next::Divided));
        }
        if !lengths.is_empty() {
            return events(lengths, start, divided);
        }
        match open.lines {
            0 => super::lines::first_line(data, end, line_bytes),
            // Its last line lacks its LF, and will not get it.
            _ if end == End::Line => {
                let lines = Lines::Measured(vec![data.len() as u32]);
                Piece::Lines { lines, bytes: data.len(), unended: true, divided }
            }
            _ => Piece::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::multiline::oracle::{self, LINE_MAX};

    #[test]
    fn an_event_over_what_the_next_agents_take_is_divided() {
        let limits = Limits { line_bytes: LINE_MAX, batch_bytes: 5, batch_events: 9 };
        let piece = oracle::joining().next_piece(b">a\nb\nc\n>d\n", End::Quiet, limits);
        let lines = Lines::Measured(vec![4]);
        assert_eq!(piece, Piece::Lines { lines, bytes: 5, unended: false, divided: 1 });
    }
}

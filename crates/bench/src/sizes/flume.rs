//! When a `BucketWriter` of Flume 1.11 closes its file, according to its guide and its source.
//!
//! Each path has a writer. It checks `rollCount` and `rollSize` before it appends an event, and
//! closes its file if one of them is reached. A timer closes a file `rollInterval` after it was
//! opened, another one `idleTimeout` after its last events. A path without events has no file.
//! opened, another one `idleTimeout` after its last events. A path without events has no file.

use std::time::Duration;

/// `hdfs.rollInterval`, `hdfs.rollSize`, `hdfs.rollCount` and `hdfs.idleTimeout`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// `None`: 0 in the settings, never.
    pub(super) roll_interval: Option<Duration>,
    /// Bytes; 0: unlimited.
    pub(super) roll_size: u64,
    /// Events; 0: unlimited.
    pub(super) roll_count: u64,
    /// `None`: 0 in the settings, never.
    pub(super) idle_timeout: Option<Duration>,
}

impl Rules {
    /// Returns how many events of this length a new file accepts until one of its limits is
    /// reached.
    fn events_of_file(&self, event_bytes: u64) -> u64 {
        let by_size = (self.roll_size > 0).then(|| self.roll_size.div_ceil(event_bytes));
        let by_count = (self.roll_count > 0).then_some(self.roll_count);
        by_size.into_iter().chain(by_count).min().unwrap_or(u64::MAX)
    }
}

/// The writer of one path.
#[derive(Debug, Clone, Default)]
pub(super) struct Writer {
    opened: Duration,
    touched: Duration,
    events: u64,
    bytes: u64,
}

impl Writer {
    /// Writes events of one length at the time `at`; passes the size of each closed file to
    /// `ended`.
    pub(super) fn write(
        &mut self,
        rules: &Rules,
        at: Duration,
        events: u64,
        event_bytes: u64,
        ended: &mut impl FnMut(u64),
    ) {
        let over = rules.roll_interval.is_some_and(|limit| at >= self.opened + limit);
        let idle = rules.idle_timeout.is_some_and(|limit| at >= self.touched + limit);
        if over || idle {
            self.end(ended);
        }
        let (limit, mut events) = (rules.events_of_file(event_bytes), events);
        while events > 0 {
            if self.events >= limit {
                self.end(ended);
            }
            if self.events == 0 {
                self.opened = at;
            }
            let some = events.min(limit - self.events);
            self.events += some;
            self.bytes += some * event_bytes;
            events -= some;
        }
        self.touched = at;
    }

    /// Closes the open file, if any.
    pub(super) fn close(&self, ended: &mut impl FnMut(u64)) {
        if self.events > 0 {
            ended(self.bytes);
        }
    }

    fn end(&mut self, ended: &mut impl FnMut(u64)) {
        self.close(ended);
        (self.events, self.bytes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Rules =
        Rules { roll_interval: None, roll_size: 0, roll_count: 0, idle_timeout: None };

    fn files(rules: Rules, writes: &[(u64, u64)]) -> Vec<u64> {
        let (mut writer, mut files) = (Writer::default(), Vec::new());
        for (at, events) in writes {
            writer.write(&rules, Duration::from_secs(*at), *events, 500, &mut |bytes| {
                files.push(bytes);
            });
        }
        writer.close(&mut |bytes| files.push(bytes));
        files
    }

    #[test]
    fn each_setting_of_flume_ends_files() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(files(NEVER, &[(0, 5), (90_000, 5)]), [5_000]);
        let by_count = Rules { roll_count: 4, ..NEVER };
        assert_eq!(files(by_count, &[(0, 4), (1, 5)]), [2_000, 2_000, 500]);
        // The third event reaches 1,024 bytes, and is in the file.
        let by_size = Rules { roll_size: 1_024, ..NEVER };
        assert_eq!(files(by_size, &[(0, 7)]), [1_500, 1_500, 500]);
        let by_time = Rules { roll_interval: seconds(30), ..NEVER };
        assert_eq!(files(by_time, &[(5, 1), (20, 1), (34, 1), (35, 1)]), [1_500, 500]);
        let by_idle_time = Rules { idle_timeout: seconds(10), ..NEVER };
        assert_eq!(files(by_idle_time, &[(5, 1), (14, 1), (24, 1)]), [1_000, 500]);
    }
}

//! Estimates how many free files will be needed again: as many as were in use within a window.
//!
//! ```text
//!   free files   5 ┤    ┌──┐      ┌────┐
//!                3 ┤ ┌──┘  └──┐   │    └─
//!                2 ┤─┘        └───┘          the fewest within the window: two not needed
//!                  └─┼──────── window ──┤ now
//! ```
//!
//! A sink that commits large files of its store empties many segments together, and the channel
//! fills the same number until the next commit. Files whose blocks were written before are faster
//! to write than new ones, so the files that such a channel reuses stay. Only files that were free
//! during the whole window are surplus.
//!
//! Pure: the time is a parameter.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The fewest free files of late.
pub(crate) struct SegmentPool {
    window: Duration,
    /// Times since which at least this many files were free, in order of time and of number. The
    /// first one still applies at the beginning of the window.
    fewest: VecDeque<(Instant, usize)>,
}

impl SegmentPool {
    /// No file was free before `now`.
    pub(crate) fn new(window: Duration, now: Instant) -> Self {
        Self { window, fewest: VecDeque::from([(now, 0)]) }
    }

    /// The number of free files is `free` from `now` on.
    pub(crate) fn changed(&mut self, now: Instant, free: usize) {
        let mut since = now;
        while let Some((earlier, _)) = self.fewest.pop_back_if(|(_, before)| *before >= free) {
            since = earlier;
        }
        self.fewest.push_back((since, free));
    }

    /// Records the removal of a surplus file.
    pub(crate) fn parted(&mut self) {
        for (_, free) in &mut self.fewest {
            *free = free.saturating_sub(1);
        }
    }

    /// Returns how many files were free during the whole window that ends `now`.
    pub(crate) fn unneeded(&mut self, now: Instant) -> usize {
        while let Some((since, _)) = self.fewest.get(1)
            && now.duration_since(*since) >= self.window
        {
            self.fewest.pop_front();
        }
        self.fewest.front().map_or(0, |(_, free)| *free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn files_free_for_the_whole_window_are_surplus() {
        let began = Instant::now();
        let mut pool = SegmentPool::new(SECOND * 10, began);
        let at = |second| began + SECOND * second;
        pool.changed(at(1), 5);
        assert_eq!(pool.unneeded(at(10)), 0, "nothing is known of before");
        assert_eq!(pool.unneeded(at(11)), 5);
        pool.changed(at(12), 2);
        pool.changed(at(13), 4);
        assert_eq!(pool.unneeded(at(22)), 2);
        pool.parted();
        assert_eq!(pool.unneeded(at(22)), 1);
        assert_eq!(pool.unneeded(at(23)), 3, "one of the four is gone");
    }

    #[test]
    fn without_a_window_whatever_is_free_is_not_needed() {
        let began = Instant::now();
        let mut pool = SegmentPool::new(Duration::ZERO, began);
        for free in [1, 7, 3] {
            pool.changed(began, free);
            assert_eq!(pool.unneeded(began), free);
        }
    }

    #[test]
    fn it_answers_as_one_who_remembers_everything() {
        let (began, window) = (Instant::now(), 7);
        for mut random in 1..200_u64 {
            let mut pool = SegmentPool::new(SECOND * window, began);
            let mut all = vec![0; window as usize];
            for second in 1..60 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let free = (random >> 33) as usize % 9;
                let now = began + SECOND * second;
                pool.changed(now, free);
                all.push(free);
                // The value at the beginning of the window counts too.
                let expected = all.iter().rev().take(window as usize + 1).min();
                assert_eq!(Some(&pool.unneeded(now + SECOND - SECOND / 9)), expected);
            }
        }
    }
}

//! The latest failures of all components, which the live page lists even after recovery.
//!
//! The number of notices and their length are bounded. A repeated failure is one notice with a
//! count.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Maximum number of notices; the oldest one is dropped.
const NOTICES_MAX: usize = 50;

/// Maximum size of a text.
const TEXT_MAX: usize = 2_048;

/// A failure of a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoticeStatus {
    /// `source` or `sink`.
    pub role: String,
    /// Its name in the configuration.
    pub name: String,
    /// The failure; a long text is truncated.
    pub text: String,
    /// Number of consecutive repetitions.
    pub times: u64,
    /// The first time.
    pub first_seconds_ago: f64,
    /// The last time.
    pub last_seconds_ago: f64,
}

#[derive(Debug)]
struct Notice {
    role: &'static str,
    name: Arc<str>,
    text: String,
    times: u64,
    first: Instant,
    last: Instant,
}

/// The latest failures. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RecentFailures(Arc<Mutex<VecDeque<Notice>>>);

impl RecentFailures {
    fn notices(&self) -> MutexGuard<'_, VecDeque<Notice>> {
        // Each change is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A component has failed.
    pub fn add(&self, now: Instant, (role, name): (&'static str, &Arc<str>), text: &str) {
        let mut notices = self.notices();
        let text = cut(text, TEXT_MAX);
        let newest = notices.iter().position(|it| it.role == role && it.name == *name);
        let again = newest.filter(|at| notices[*at].text == text);
        let notice = match again.and_then(|at| notices.remove(at)) {
            Some(before) => Notice { times: before.times + 1, last: now, ..before },
            None => {
                let text = text.to_owned();
                Notice { role, name: name.clone(), text, times: 1, first: now, last: now }
            }
        };
        notices.push_front(notice);
        notices.truncate(NOTICES_MAX);
    }

    /// All, the newest first.
    pub fn read(&self, now: Instant) -> Vec<NoticeStatus> {
        let ago = |then: Instant| now.saturating_duration_since(then).as_secs_f64();
        let notices = self.notices();
        let all = notices.iter().map(|notice| NoticeStatus {
            role: notice.role.to_owned(),
            name: notice.name.to_string(),
            text: notice.text.clone(),
            times: notice.times,
            first_seconds_ago: ago(notice.first),
            last_seconds_ago: ago(notice.last),
        });
        all.collect()
    }
}

/// Returns the beginning of a text with at most `bytes` bytes.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(recent_failures: &RecentFailures) -> Vec<(String, u64)> {
        let notices = recent_failures.read(Instant::now());
        notices.into_iter().map(|it| (format!("{} {}", it.name, it.text), it.times)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_is_repeated_is_one_notice_with_its_first_and_last_time() {
        let (recent_failures, a, b) = (RecentFailures::default(), "a".into(), "b".into());
        for (name, text) in [(&a, "x"), (&b, "x"), (&a, "x"), (&a, "y"), (&a, "x"), (&b, "x")] {
            recent_failures.add(Instant::now(), ("sink", name), text);
            tokio::time::advance(tokio::time::Duration::from_secs(1)).await;
        }
        let expected = [("b x", 2), ("a x", 1), ("a y", 1), ("a x", 2)];
        assert_eq!(texts(&recent_failures), expected.map(|(text, times)| (text.to_owned(), times)));
        let newest = &recent_failures.read(Instant::now())[0];
        assert_eq!((newest.first_seconds_ago, newest.last_seconds_ago), (5.0, 1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn neither_many_failures_nor_long_ones_take_more_memory() {
        let (recent_failures, name) = (RecentFailures::default(), "a".into());
        for number in 0..1_000 {
            let text = format!("{number} {}", "é".repeat(1 << 19));
            recent_failures.add(Instant::now(), ("source", &name), &text);
        }
        let notices = recent_failures.read(Instant::now());
        assert_eq!(notices.len(), NOTICES_MAX);
        assert!(notices.iter().all(|notice| notice.text.len() <= TEXT_MAX));
        assert!(notices[0].text.starts_with("999 é"), "the newest ones are kept");
    }
}

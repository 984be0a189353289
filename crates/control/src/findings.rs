//! Follows findings from snapshot to snapshot: records when each one began, and logs when one
//! begins and ends.
//!
//! The log, `/status`, the live page and `top` show the same findings, because all of them read
//! snapshots.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent::status::words::seconds;
use agent::status::{Cause, Finding, Level};
use tokio::time::{Duration, Instant};
use tracing::{info, warn};

/// Time after which a finding is logged. Each start has some that last for seconds.
const LOG_AFTER: Duration = Duration::from_secs(10);

/// The findings of the last snapshot.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    known: Mutex<BTreeMap<(String, Cause), Known>>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    is_logged: bool,
}

impl Findings {
    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, Cause), Known>> {
        // The value is replaced as a whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the troubles of a snapshot. Those that do not know when they began get the
    /// time since they were first seen.
    pub(crate) fn note(&self, troubles: &mut [Finding], now: Instant) {
        let mut known = self.known();
        let mut before = std::mem::take(&mut *known);
        for finding in troubles {
            let key = (finding.component.clone(), finding.cause);
            let kept = before.remove(&key).or_else(|| known.remove(&key));
            let mut it = kept.unwrap_or(Known { since: now, is_logged: false });
            let lasts = now.duration_since(it.since);
            if finding.since_seconds_ago.is_none() {
                finding.since_seconds_ago = Some(lasts.as_secs_f64());
            }
            if !it.is_logged && lasts >= LOG_AFTER && finding.level > Level::Note {
                it.is_logged = true;
                log(finding);
            }
            known.insert(key, it);
        }
        for ((component, cause), it) in before.into_iter().filter(|(_, it)| it.is_logged) {
            let lasted_seconds = now.duration_since(it.since).as_secs();
            info!(component, problem = cause.heading(), lasted_seconds, "problem solved");
        }
    }
}

fn log(finding: &Finding) {
    let Finding { component, cause, brief, caused_by, remedy, runbook, agent, .. } = finding;
    let agent = agent.as_ref().map(|agent| agent.page.as_ref().unwrap_or(&agent.address));
    let since = seconds(finding.since_seconds_ago);
    warn!(
        component,
        problem = cause.heading(),
        reason = brief,
        since,
        caused_by,
        agent,
        remedy,
        runbook,
        "problem found",
    );
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        /// The lines that contain all of these.
        fn with(&self, parts: &[&str]) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
            lines.map(str::to_owned).collect()
        }
    }

    fn finding(component: &str, cause: Cause) -> Finding {
        Finding::new((Level::Bad, cause), component, format!("{component} is bad"), "")
    }

    #[test]
    fn a_trouble_is_logged_once_when_it_lasts_and_once_when_it_ends() {
        pipeline::testkit::log_side_by_side();
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        let _guard = tracing::subscriber::set_default(lines.finish());
        let (findings, began) = (Findings::default(), Instant::now());
        let note = |second: u64, mut troubles: Vec<Finding>| {
            findings.note(&mut troubles, began + Duration::from_secs(second));
            troubles.first().and_then(|it| it.since_seconds_ago)
        };
        let both = || vec![finding("sink k", Cause::Fails), finding("channel c", Cause::Fills)];
        assert_eq!(note(0, both()), Some(0.0));
        assert_eq!(note(5, vec![finding("sink k", Cause::Fails)]), Some(5.0));
        assert_eq!(log.with(&["problem"]), Vec::<String>::new());
        for second in [10, 15, 20] {
            assert_eq!(note(second, vec![finding("sink k", Cause::Fails)]), Some(second as f64));
        }
        let found = log.with(&["WARN", "problem found"]);
        assert_eq!(found.len(), 1, "{found:?}");
        for part in ["sink k", "runbook.html#a-source-a-sink-or-a-group-fails", "no restart"] {
            assert!(found[0].contains(part), "{part}: {found:?}");
        }
        assert_eq!(note(25, Vec::new()), None);
        assert_eq!(log.with(&["INFO", "problem solved", "sink k"]).len(), 1);
        assert_eq!(note(30, vec![finding("sink k", Cause::Fails)]), Some(0.0), "it is a new one");
    }
}

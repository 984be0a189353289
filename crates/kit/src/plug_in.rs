//! Shared code of the plug-ins of each kind: child processes and WebAssembly modules.

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline::env::Entropy;
use pipeline::{BuildError, Events, Interceptor, Rejects, RemoteInterceptor, Secret};
use serde_json::{Map, Value};
use support::backoff::jittered;
use tokio::time::{Instant, sleep_until};

/// Pauses before a new start: the first and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Maximum length of a reason that is shown and stored.
const REASON_MAX: usize = 1024;

/// The pause after failures of a plug-in. It grows with each consecutive failure.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pause {
    /// Consecutive failures.
    failures: u32,
    /// The end of the pause.
    until: Option<Instant>,
}

impl Pause {
    /// Waits until the pause has ended.
    pub async fn ended(self) {
        if let Some(until) = self.until {
            sleep_until(until).await;
        }
    }

    /// Begins the pause after a failure.
    pub fn begin(&mut self, entropy: &dyn Entropy) {
        self.failures = self.failures.saturating_add(1);
        let pause = jittered(PAUSE.0, PAUSE.1, self.failures, entropy.next_u64());
        self.until = Some(Instant::now() + pause);
    }
}

/// An interceptor whose batches wait for a plug-in.
pub struct Awaited<T> {
    plug_in: T,
    described: String,
}

impl<T> Awaited<T> {
    /// Creates the interceptor. `described` has everything that decides the results, without
    /// secrets.
    pub fn new(plug_in: T, described: String) -> Self {
        Self { plug_in, described }
    }
}

impl<T: RemoteInterceptor> Interceptor for Awaited<T> {
    /// Never used, because [`Interceptor::remote`] is. It loses no event.
    fn intercept(&self, events: &mut Events, rejects: &mut Rejects) {
        rejects.push(
            std::mem::take(events),
            "refused",
            "the plug-in was not asked; report this as a bug",
        );
    }

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        Some(format!("by plug-in {}", self.described))
    }

    fn body_effect(&self) -> Option<String> {
        self.routing_effect(None)
    }

    fn remote(&self) -> Option<&dyn RemoteInterceptor> {
        Some(&self.plug_in)
    }
}

/// Returns the settings of a plug-in with its secret ones, as JSON.
///
/// # Errors
/// A name is in both.
pub fn settings_json(
    mut settings: Map<String, Value>,
    secrets: BTreeMap<String, Secret>,
) -> Result<String, BuildError> {
    for (name, secret) in secrets {
        if settings.insert(name.clone(), secret.expose().into()).is_some() {
            let problem = format!("`{name}` is also in `settings`; remove one of them");
            return Err(BuildError::invalid("secret_settings", problem));
        }
    }
    Ok(Value::from(settings).to_string())
}

/// Cuts a reason of a plug-in, and makes it one line.
pub fn reason(text: &str) -> String {
    let mut end = text.len().min(REASON_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_short_line() {
        assert_eq!(reason("a\nb"), "a b");
        let long = format!("{}é", "x".repeat(REASON_MAX - 1));
        assert_eq!(reason(&long).len(), REASON_MAX - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_a_success_ends_them() {
        let (env, began) = (env::real(), Instant::now());
        let mut pause = Pause::default();
        pause.ended().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..9 {
            pause.begin(&*env.entropy);
            pause.ended().await;
        }
        assert!(began.elapsed() >= Duration::from_secs(6), "{:?}", began.elapsed());
    }
}

//! Pauses after failures: one row for each kind of failure, by default with the rules of X
//! (formerly Twitter). Pure.
//!
//! | kind | first pause | then | maximum |
//! |---|---|---|---|
//! | `network`: connection failed, ended or was silent | none | 250 ms more each | 16 s |
//! | `http`: a response without success | 5 s | doubled | 320 s |
//! | `limited`: 429, too many requests | 60 s | doubled | 320 s |
//!
//! If the server sends a retry time (`Retry-After`, `x-rate-limit-reset`), the pause is at least
//! that long.

use std::time::Duration;

use pipeline::BuildError;
use pipeline::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum pause that a server can request.
pub(crate) const SERVER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Maximum random extension of a pause, so that agents do not reconnect simultaneously.
const SPREAD: f64 = 0.1;

/// Pauses by kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pauses {
    /// The connection failed, was closed, or was idle.
    network: Linear,
    /// The server responded with an error status.
    http: Doubling,
    /// The server responded 429: too many requests.
    limited: Doubling,
}

/// Pauses that grow by the same step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Linear {
    /// Delay after the first failure.
    first: Period,
    /// Increase of the delay with each further failure.
    step: Period,
    /// Longest delay.
    limit: Period,
}

/// Pauses that double.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Doubling {
    /// Delay after the first failure.
    first: Period,
    /// Longest delay.
    limit: Period,
}

impl Default for Pauses {
    fn default() -> Self {
        let seconds = |seconds| Period(Duration::from_secs(seconds));
        let step = Period(Duration::from_millis(250));
        Self {
            network: Linear { first: seconds(0), step, limit: seconds(16) },
            http: Doubling { first: seconds(5), limit: seconds(320) },
            limited: Doubling { first: seconds(60), limit: seconds(320) },
        }
    }
}

impl Pauses {
    /// Validates the rows.
    ///
    /// # Errors
    /// A maximum is below its first pause, or a pause can remain zero.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let Self { network, http, limited } = self;
        for (row, first, limit) in [
            ("network", network.first, network.limit),
            ("http", http.first, http.limit),
            ("limited", limited.first, limited.limit),
        ] {
            if limit.0 < first.0 || limit.0.is_zero() {
                let problem = "must be greater than 0s and at least `first`";
                return Err(BuildError::invalid(format!("backoff.{row}.limit"), problem));
            }
        }
        if network.first.0.is_zero() && network.step.0.is_zero() {
            let problem = "must be greater than 0s if `first` is 0s: retries need a pause";
            return Err(BuildError::invalid("backoff.network.step", problem));
        }
        for (row, first) in [("http", http.first), ("limited", limited.first)] {
            if first.0.is_zero() {
                return Err(BuildError::invalid(
                    format!("backoff.{row}.first"),
                    "must be greater than 0s",
                ));
            }
        }
        Ok(())
    }
}

/// Kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryCause {
    /// The connection failed, was closed, or was idle.
    Network,
    /// The server responded with an error status.
    Http,
    /// 429.
    Limited,
}

/// Consecutive failures of each kind.
#[derive(Debug)]
pub(crate) struct Backoff {
    pauses: Pauses,
    failures: [u32; 3],
    /// Minimum pause, from the stream's field `retry`.
    least: Duration,
}

impl Backoff {
    /// Starts without failures.
    pub(crate) fn new(pauses: Pauses) -> Self {
        Self { pauses, failures: [0; 3], least: Duration::ZERO }
    }

    /// Resets the failures after a success.
    pub(crate) fn works(&mut self) {
        self.failures = [0; 3];
    }

    /// Sets the minimum pause requested by the server.
    pub(crate) fn asks(&mut self, pause: Duration) {
        self.least = pause.min(self.pauses.network.limit.0);
    }

    /// Returns the pause after another failure. `server` is the delay requested by the server;
    /// `random` is any 64 bits.
    pub(crate) fn failed(
        &mut self,
        retry_cause: RetryCause,
        server: Option<Duration>,
        random: u64,
    ) -> Duration {
        let before = &mut self.failures[retry_cause as usize];
        let times = *before;
        *before = before.saturating_add(1);
        let doubled = |row: &Doubling| {
            row.first
                .0
                .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
                .min(row.limit.0)
        };
        let pause = match retry_cause {
            RetryCause::Network => {
                let row = &self.pauses.network;
                let grown = row.first.0.saturating_add(row.step.0.saturating_mul(times));
                grown.min(row.limit.0).max(self.least)
            }
            RetryCause::Http => doubled(&self.pauses.http),
            RetryCause::Limited => doubled(&self.pauses.limited),
        };
        let pause = match (server, retry_cause) {
            // The server's time replaces the table: a reset may be sooner than a minute.
            (Some(server), RetryCause::Limited) => server.min(SERVER_MAX),
            (Some(server), _) => pause.max(server.min(SERVER_MAX)),
            (None, _) => pause,
        };
        pause + pause.mul_f64(SPREAD * random as f64 / u64::MAX as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn pauses_are_those_of_x() {
        let mut backoff = Backoff::new(Pauses::default());
        let mut after = |retry_cause| backoff.failed(retry_cause, None, 0).as_secs_f64();
        let network: Vec<f64> = (0..70).map(|_| after(RetryCause::Network)).collect();
        assert_eq!(network[..4], [0.0, 0.25, 0.5, 0.75]);
        assert_eq!(network[63..66], [15.75, 16.0, 16.0]);
        let http: Vec<f64> = (0..9).map(|_| after(RetryCause::Http)).collect();
        assert_eq!(http, [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 320.0, 320.0]);
        let limited: Vec<f64> = (0..5).map(|_| after(RetryCause::Limited)).collect();
        assert_eq!(limited, [60.0, 120.0, 240.0, 320.0, 320.0]);
        backoff.works();
        assert_eq!(backoff.failed(RetryCause::Http, None, 0), seconds(5.0));
    }

    #[test]
    fn waits_as_long_as_the_server_requests() {
        let mut backoff = Backoff::new(Pauses::default());
        let mut after = |retry_cause, server| backoff.failed(retry_cause, Some(seconds(server)), 0);
        assert_eq!(after(RetryCause::Limited, 7.0), seconds(7.0));
        assert_eq!(after(RetryCause::Limited, 900.0), seconds(900.0));
        assert_eq!(after(RetryCause::Http, 30.0), seconds(30.0));
        assert_eq!(after(RetryCause::Http, 1.0), seconds(10.0));
        assert_eq!(after(RetryCause::Http, 1e9), SERVER_MAX);
        backoff.asks(seconds(3.0));
        assert_eq!(backoff.failed(RetryCause::Network, None, 0), seconds(3.0));
        // No pause may overflow.
        for _ in 0..100 {
            backoff.failed(RetryCause::Http, None, u64::MAX);
        }
        assert_eq!(backoff.failed(RetryCause::Http, None, u64::MAX), seconds(352.0));
    }

    #[test]
    fn a_table_by_which_the_server_would_be_asked_without_end_is_refused() {
        let none = Period(Duration::ZERO);
        let mut pauses = Pauses::default();
        pauses.network.step = none;
        assert_eq!(pauses.check().err().map(|it| it.setting), Some("backoff.network.step".into()));
        let mut pauses = Pauses::default();
        pauses.limited.limit = none;
        assert_eq!(pauses.check().err().map(|it| it.setting), Some("backoff.limited.limit".into()));
        assert!(Pauses::default().check().is_ok());
    }
}

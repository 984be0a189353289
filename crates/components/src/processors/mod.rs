//! Sink processors: choose the next sink of a group.

mod balance;
pub mod failover;
pub mod load_balance;
mod penalty;
pub mod single;

use std::time::Duration;

use pipeline::component::entry;
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Entry, SinkProcessor};

use penalty::Pauses;

/// All processors.
pub static ALL: &[Entry<dyn SinkProcessor>] =
    &[entry::<failover::Config>(), entry::<load_balance::Config>(), entry::<single::Config>()];

/// Creates the pauses from two settings of a group.
fn pauses(min: Period, max: Period, cx: &BuildContext) -> Result<Pauses, BuildError> {
    if min.0.is_zero() {
        return Err(BuildError::invalid("backoff_min", "must be greater than 0s"));
    }
    if max < min {
        let problem = format!("must be at least `backoff_min`, which is {min}");
        return Err(BuildError::invalid("backoff_max", problem));
    }
    Ok(Pauses { base: min.0, limit: max.0, entropy: cx.env.entropy.clone() })
}

/// Pause after a first failure, unless the settings say otherwise.
fn default_backoff_min() -> Period {
    Period(Duration::from_secs(1))
}

/// Longest pause, unless the settings say otherwise.
fn default_backoff_max() -> Period {
    Period(Duration::from_secs(30))
}

/// The default of a flag that is on.
fn yes() -> bool {
    true
}

/// Checks that a group has at least `least` sinks.
fn check_members(sinks: &[String], least: usize) -> Result<(), BuildError> {
    if sinks.len() < least {
        let problem = format!("must name at least {least} sinks, not {}", sinks.len());
        return Err(BuildError::invalid("sinks", problem));
    }
    Ok(())
}

#[cfg(test)]
mod drive;

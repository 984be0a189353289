//! The settings of [`Requests`](super::Requests) that sinks share.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Options;
use crate::component::BuildError;
use crate::units::{Period, number, seconds};

/// Settings of requests, with the defaults of `in_flight_max` and, in seconds, of `timeout`. A sink
/// reads them as a part of its own ([`PART`](crate::settings::PART)).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "InFlight")]
pub struct InFlight<const BATCHES: usize, const SECONDS: u64> {
    /// Limit of batches in flight, each on its own connection unless the protocol shares one.
    #[serde(default = "number::<BATCHES>")]
    pub in_flight_max: usize,
    /// Whether batches of one origin are delivered in order: only one of them is in flight at a
    /// time.
    #[serde(default)]
    in_order: bool,
    /// Timeout of a batch, including the connection.
    #[serde(default = "seconds::<SECONDS>")]
    pub timeout: Period,
}

impl<const BATCHES: usize, const SECONDS: u64> InFlight<BATCHES, SECONDS> {
    /// Returns the options of the requests.
    ///
    /// # Errors
    /// `in_flight_max` is 0.
    pub fn options(&self) -> Result<Options, BuildError> {
        let Self { in_flight_max, in_order, timeout } = *self;
        if in_flight_max == 0 {
            return Err(BuildError::invalid("in_flight_max", "must be at least 1"));
        }
        Ok(Options { in_flight_max, in_order, timeout: timeout.0 })
    }
}

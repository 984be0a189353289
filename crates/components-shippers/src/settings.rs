//! Settings that both sources share.

use std::collections::BTreeMap;

use kit::serve::{Listening, Ports, Preset, describe};
use pipeline::units::{ByteSize, Period, mib, seconds};
use pipeline::{BuildContext, BuildError};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::client::{Limits, ROUND};
use crate::record::Mapping;

/// Anomalies of both sources.
pub(crate) const ANOMALIES: &[&str] =
    &["event_divided", "message_refused", "repeated_events", "tls_failed"];

/// Description of a shared setting.
pub(crate) const TENANTS: (&str, &str) = (
    "tenants",
    "Limits for each client: shares, connections, rates, sizes. Messages above a rate wait unread. \
     A connection above the limit, or with a message above the size, is closed.",
);

/// Settings of a source for shippers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound = "P: Preset")]
#[schemars(bound = "P: Preset", rename = "Shipping", transform = describe::<P>)]
pub(crate) struct Shipping<P> {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    listening: Listening<P>,
    /// Field that becomes the body of the event.
    #[serde(default)]
    body_field: Option<String>,
    /// Headers from fields: the name of the header, and the name of the field, with dots for nested
    /// fields.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Size limit of a message, before and after decompression.
    #[serde(default = "mib::<16>")]
    message_max: ByteSize,
    /// Timeout for receiving a message, and for sending a response.
    #[serde(default = "seconds::<30>")]
    message_timeout: Period,
}

impl<P> Shipping<P> {
    /// Creates the port, the limits of a connection, and the mapping of fields.
    ///
    /// # Errors
    /// A setting is invalid.
    pub(crate) fn build(
        self,
        (prefix, idle_timeout): (&'static str, Period),
        cx: &BuildContext,
    ) -> Result<(Ports, Limits, Mapping), BuildError> {
        let mapping = Mapping::new(prefix, self.body_field, &self.headers)?;
        let limits = Limits {
            message_max: self.message_max.0 as usize,
            message_timeout: self.message_timeout.0,
            idle_timeout: idle_timeout.0,
        };
        let port = self.listening.port(("message_max", self.message_max), ROUND, &[], cx)?;
        Ok((port, limits, mapping))
    }
}

//! The settings that sources with connections share. A source reads them as a part of its own
//! ([`PART`](pipeline::settings::PART)).

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use pipeline::units::{ByteSize, mib};
use pipeline::{BuildContext, BuildError};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use tls::ServerTls;

use super::{Limits, Ports};
use crate::tenants::Tenants;

/// Defaults and descriptions of the shared settings of one source.
pub trait Preset: fmt::Debug + Send + Sync + 'static {
    /// Default of `connections_max`.
    const CONNECTIONS_MAX: u32 = 1024;

    /// Names of settings, and their descriptions where the common ones are not precise enough.
    const TEXTS: &'static [(&'static str, &'static str)] = &[];
}

/// Settings of the connections of a source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound = "P: Preset")]
#[schemars(bound = "P: Preset", rename = "Connections", transform = describe::<P>)]
pub struct Connections<P> {
    /// Connection limit. Further connections wait to be accepted.
    #[serde(default = "connections_max::<P>")]
    pub connections_max: u32,
    /// TLS of the connections; clients must use it.
    #[serde(default)]
    pub tls: Option<ServerTls>,
    /// Limits for each client: shares, connections, rates, sizes.
    #[serde(default)]
    pub tenants: Tenants,
    #[serde(skip)]
    preset: PhantomData<P>,
}

/// Settings of a source with one port and a limit for the messages in memory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound = "P: Preset")]
#[schemars(bound = "P: Preset", rename = "Listening", transform = describe::<P>)]
pub struct Listening<P> {
    /// Address to listen on: `host:port`. Port 0 selects a free port.
    pub listen: String,
    /// Memory limit of the messages of all connections.
    #[serde(default = "mib::<64>")]
    pub in_flight_max: ByteSize,
    /// Settings of the connections.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    pub connections: Connections<P>,
}

fn connections_max<P: Preset>() -> u32 {
    P::CONNECTIONS_MAX
}

/// Replaces the descriptions of settings in a schema by those of the source. A transformation of
/// `schemars`.
pub fn describe<P: Preset>(schema: &mut Schema) {
    let properties = schema.get_mut("properties").and_then(|it| it.as_object_mut());
    let Some(properties) = properties else { return };
    for (name, text) in P::TEXTS {
        if let Some(setting) = properties.get_mut(*name).and_then(|it| it.as_object_mut()) {
            setting.insert("description".to_owned(), (*text).into());
        }
    }
}

impl<P> Listening<P> {
    /// Creates the port, for messages of this size, with the name of its setting, whose puts wait
    /// for this time. `protocols` are offered by ALPN.
    ///
    /// # Errors
    /// A setting is invalid.
    pub fn port(
        self,
        message_max: (&'static str, ByteSize),
        wait_max: Duration,
        protocols: &[&str],
        cx: &BuildContext,
    ) -> Result<Ports, BuildError> {
        let limits = Limits { message_max, in_flight_max: self.in_flight_max, wait_max };
        Ports::new(&[("listen", &self.listen)], self.connections, limits, protocols, cx)
    }
}

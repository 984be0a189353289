//! The settings that source, interceptor and sink share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kit::plug_in::settings_json;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Env, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::v1::Hello;
use crate::{VERSION, running::Role};

/// Size limits of a frame: room for a batch, and for its length in four bytes.
const FRAME_MAX: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize::mib(256));

/// Settings of a plug-in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shared {
    /// The program and its arguments. No shell is involved.
    command: Vec<String>,
    /// Settings of the plug-in itself, which it gets as JSON.
    #[serde(default)]
    settings: Map<String, Value>,
    /// Further settings of the plug-in whose values are never shown, such as a password.
    #[serde(default)]
    secret_settings: BTreeMap<String, Secret>,
    /// Time limit of an answer. A plug-in that exceeds it is killed and restarted.
    #[serde(default = "pipeline::units::seconds::<30>")]
    timeout: Period,
    /// Time limit from the start of the program until it is ready.
    #[serde(default = "pipeline::units::seconds::<30>")]
    start_timeout: Period,
    /// Size limit of a message to or from the plug-in, 64 KiB to 256 MiB.
    #[serde(default = "pipeline::units::mib::<16>")]
    frame_max: ByteSize,
    /// Limit of the data that each process of the plug-in has in memory (`RLIMIT_DATA`).
    #[serde(default = "pipeline::units::mib::<1024>")]
    memory_max: ByteSize,
}

/// A plug-in as its settings describe it.
pub(crate) struct Options {
    pub(crate) role: Role,
    /// Name of the component.
    pub(crate) name: Arc<str>,
    pub(crate) env: Env,
    pub(crate) command: Vec<String>,
    /// The command in one line.
    pub(crate) shown: Arc<str>,
    /// Command and settings, without secrets.
    pub(crate) described: String,
    /// Of the plug-in itself, as JSON.
    settings: String,
    pub(crate) timeout: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) frame_max: usize,
    pub(crate) memory_max: u64,
    /// Whether an interceptor or a selector may have another result for the same event.
    pub(crate) may_have_effect: bool,
    /// Channels of a selector.
    pub(crate) channels: Vec<String>,
}

impl Shared {
    /// Checks the settings.
    pub(crate) fn options(self, role: Role, cx: &BuildContext) -> Result<Options, BuildError> {
        if self.command.first().is_none_or(String::is_empty) {
            let problem = "must have a program and its arguments, such as [\"python3\", \
                           \"/etc/aqueduct/plugins/enrich.py\"]";
            return Err(BuildError::invalid("command", problem));
        }
        for (setting, period) in [("timeout", self.timeout), ("start_timeout", self.start_timeout)]
        {
            if period.0 < Duration::from_millis(1) {
                return Err(BuildError::invalid(setting, "must be at least 1ms"));
            }
        }
        let (least, most) = FRAME_MAX;
        if !(least..=most).contains(&self.frame_max) {
            let problem = format!("must be from {least} to {most}");
            return Err(BuildError::invalid("frame_max", problem));
        }
        let described = format!("{:?} with {}", self.command, Value::from(self.settings.clone()));
        Ok(Options {
            role,
            name: cx.name.clone(),
            env: cx.env.clone(),
            shown: self.command.join(" ").into(),
            described,
            command: self.command,
            settings: settings_json(self.settings, self.secret_settings)?,
            timeout: self.timeout.0,
            start_timeout: self.start_timeout.0,
            frame_max: usize::try_from(self.frame_max.0).unwrap_or(usize::MAX),
            memory_max: self.memory_max.0,
            may_have_effect: false,
            channels: Vec::new(),
        })
    }
}

impl Options {
    /// Returns the first message; `position` is that of a source.
    pub(crate) fn hello(&self, position: &[u8]) -> Hello {
        Hello {
            version: VERSION,
            role: self.role.name().to_owned(),
            name: self.name.to_string(),
            settings: self.settings.clone(),
            frame_max: self.frame_max as u64,
            position: position.to_vec().into(),
            channels: self.channels.clone(),
        }
    }
}

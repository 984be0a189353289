//! The settings of a plug-in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kit::plug_in::settings_json;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Env, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::host::Log;

/// Limits of `memory_max`: a few pages, and what a module can address.
const MEMORY_MAX: (ByteSize, ByteSize) = (ByteSize::mib(1), ByteSize::mib(4096));
/// Limits of `output_max`.
const OUTPUT_MAX: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize::mib(256));
/// Folder of the compiled modules of an agent, next to the folders of its interceptors. Their names
/// end with a number, so none is equal to it.
const COMPILED: &str = "wasm";

/// Settings of a plug-in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shared {
    /// File of the WebAssembly module.
    module: PathBuf,
    /// SHA-256 of the file in hexadecimal digits. A module with another digest does not run. Agents
    /// on the same path should have the same module.
    #[serde(default)]
    sha256: Option<String>,
    /// Settings of the plug-in itself, which it gets as JSON.
    #[serde(default)]
    settings: Map<String, Value>,
    /// Further settings of the plug-in whose values are never shown, such as a key.
    #[serde(default)]
    secret_settings: BTreeMap<String, Secret>,
    /// Time limit for a batch. A plug-in that exceeds it is stopped, and the batch is retried.
    #[serde(default = "pipeline::units::seconds::<10>")]
    timeout: Period,
    /// Limit of the memory of the plug-in for each batch, 1 MiB to 4 GiB.
    #[serde(default = "pipeline::units::mib::<64>")]
    memory_max: ByteSize,
    /// Limit of the headers and bodies that the plug-in writes for a batch, 64 KiB to 256 MiB.
    #[serde(default = "pipeline::units::mib::<16>")]
    output_max: ByteSize,
}

/// A plug-in as its settings describe it.
pub(crate) struct Options {
    pub(crate) env: Env,
    /// The file.
    pub(crate) module: PathBuf,
    /// The file, for messages.
    pub(crate) shown: Arc<str>,
    /// Digest that the file must have, in lower case.
    pub(crate) sha256: Option<String>,
    /// File, digest and settings, without secrets.
    pub(crate) described: String,
    /// Of the plug-in itself, as JSON.
    pub(crate) settings: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) memory_max: ByteSize,
    pub(crate) output_max: ByteSize,
    /// Folder of compiled modules.
    pub(crate) compiled: PathBuf,
    pub(crate) log: Arc<Log>,
}

impl Shared {
    /// Checks the settings.
    pub(crate) fn options(self, cx: &BuildContext) -> Result<Options, BuildError> {
        if self.module.as_os_str().is_empty() {
            let problem = "must be a file, such as \"/etc/aqueduct/plugins/levels.wasm\"";
            return Err(BuildError::invalid("module", problem));
        }
        let sha256 = self.sha256.map(|digest| digest.to_ascii_lowercase());
        let is_digest =
            |text: &String| text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
        if !sha256.as_ref().is_none_or(is_digest) {
            let problem = "must have 64 hexadecimal digits, as `sha256sum` prints them";
            return Err(BuildError::invalid("sha256", problem));
        }
        if self.timeout.0 < Duration::from_millis(1) {
            return Err(BuildError::invalid("timeout", "must be at least 1ms"));
        }
        for (setting, size, (least, most)) in [
            ("memory_max", self.memory_max, MEMORY_MAX),
            ("output_max", self.output_max, OUTPUT_MAX),
        ] {
            if !(least..=most).contains(&size) {
                let problem = format!("must be from {least} to {most}");
                return Err(BuildError::invalid(setting, problem));
            }
        }
        let digest = sha256.as_deref().unwrap_or("any digest");
        let settings = Value::from(self.settings.clone());
        let described = format!("{} ({digest}) with {settings}", self.module.display());
        let shown: Arc<str> = self.module.display().to_string().into();
        Ok(Options {
            env: cx.env.clone(),
            log: Arc::new(Log::new(shown.clone())),
            shown,
            module: self.module,
            sha256,
            described,
            settings: settings_json(self.settings, self.secret_settings)?.into(),
            timeout: self.timeout.0,
            memory_max: self.memory_max,
            output_max: self.output_max,
            compiled: cx.directory.with_file_name(COMPILED),
        })
    }
}

//! `wasm`: changes, drops or rejects events in a WebAssembly module.
//!
//! A batch waits for a thread, so this implements [`RemoteInterceptor`], which the intake awaits. A
//! failure fails the whole batch before any channel gets it, and its source retries.

use async_trait::async_trait;
use kit::plug_in::Awaited;
use pipeline::{
    BuildContext, BuildError, Component, Events, Interceptor, Rejects, RemoteInterceptor,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::Shared;
use crate::plugin::Plugin;

/// Settings of the `wasm` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shared: Shared,
}

impl Component for Config {
    const KIND: &'static str = "wasm";
    const LETTERS: &[&str] = &["refused"];
    const EXAMPLE: &str = r#"module = "/etc/aqueduct/plugins/levels.wasm""#;
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let options = self.shared.options(cx)?;
        let described = options.described.clone();
        Ok(Box::new(Awaited::new(Wasm { plugin: Plugin::new(options) }, described)))
    }
}

struct Wasm {
    plugin: Plugin,
}

#[async_trait]
impl RemoteInterceptor for Wasm {
    async fn intercept(
        &self,
        events: Events,
        rejects: &mut Rejects,
    ) -> Result<Events, Box<dyn std::error::Error + Send + Sync>> {
        if events.is_empty() {
            return Ok(events);
        }
        let staged = self.plugin.intercept(events.clone()).await?;
        Ok(staged.apply(events, rejects))
    }

    /// A module has no clock, no randomness and no state between batches.
    fn has_effect(&self) -> bool {
        false
    }
}

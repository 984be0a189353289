//! Modules as text, and a directory for them.

use std::fs;
use std::path::PathBuf;

use pipeline::testkit::build;
use pipeline::{BuildContext, Interceptor};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::interceptor::Config;

/// `output_max` of the plug-ins.
pub(super) const OUTPUT_MAX: usize = 64 << 10;

/// All functions of the agent that the modules use, a memory, and some texts in it.
const HEAD: &str = r#"
  (import "aqueduct" "settings" (func $settings (param i32 i32) (result i32)))
  (import "aqueduct" "body_len" (func $body_len (param i32) (result i32)))
  (import "aqueduct" "body" (func $body (param i32 i32 i32 i32) (result i32)))
  (import "aqueduct" "bodies" (func $bodies (param i32 i32 i32 i32 i32) (result i32)))
  (import "aqueduct" "header" (func $header (param i32 i32 i32 i32 i32) (result i32)))
  (import "aqueduct" "headers" (func $headers (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "aqueduct" "set_header" (func $set_header (param i32 i32 i32 i32 i32)))
  (import "aqueduct" "set_header_all" (func $set_header_all (param i32 i32 i32 i32)))
  (import "aqueduct" "set_headers" (func $set_headers (param i32 i32 i32 i32 i32 i32 i32)))
  (import "aqueduct" "remove_header" (func $remove_header (param i32 i32 i32)))
  (import "aqueduct" "set_body" (func $set_body (param i32 i32 i32)))
  (import "aqueduct" "drop_event" (func $drop_event (param i32)))
  (import "aqueduct" "refuse_event" (func $refuse_event (param i32 i32 i32)))
  (import "aqueduct" "log" (func $log (param i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "seen\00\00\00\00yes!host\ff\ffit is bad")
"#;

/// The honest function: it sets the header `seen` of all events to `yes`, and appends `!` to each
/// body, whose bytes it reads to 1024.
const HONEST: &str = r"
  (func $honest (param $events i32) (result i32) (local $event i32) (local $len i32)
    (call $set_header_all (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 3))
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $event) (local.get $events)))
      (local.set $len
        (call $body (local.get $event) (i32.const 0) (i32.const 1024) (i32.const 65536)))
      (i32.store8 (i32.add (i32.const 1024) (local.get $len)) (i32.const 33))
      (call $set_body
        (local.get $event) (i32.const 1024) (i32.add (local.get $len) (i32.const 1)))
      (local.set $event (i32.add (local.get $event) (i32.const 1)))
      (br $next)))
    (local.get $events))
";

/// Returns a module whose function for batches has this body. `$events` is the number of events.
pub(super) fn module(body: &str) -> Vec<u8> {
    module_of(1, HEAD, body)
}

/// As [`module`], for another version of the contract and with other imports and memory.
pub(super) fn module_of(version: i32, head: &str, body: &str) -> Vec<u8> {
    let honest = if head == HEAD { HONEST } else { "" };
    let text = format!(
        "(module {head} {honest}
           (func (export \"aqueduct_abi\") (result i32) (i32.const {version}))
           (func (export \"aqueduct_intercept\") (param $events i32) (result i32) {body}))"
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub(super) fn honest() -> Vec<u8> {
    module("(call $honest (local.get $events))")
}

/// As [`HEAD`], with a wrong version.
pub(super) fn other_version() -> Vec<u8> {
    module_of(7, HEAD, "(call $honest (local.get $events))")
}

/// A directory with a module.
pub(super) struct Place(pub(super) TempDir);

impl Place {
    pub(super) fn new(module: &[u8]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.install(module);
        place
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.path().join("plugin.wasm")
    }

    pub(super) fn compiled(&self) -> PathBuf {
        self.0.path().join("data/interceptors/wasm")
    }

    /// Replaces the module, as an operator does.
    #[expect(clippy::disallowed_methods, reason = "a test replaces a file")]
    pub(super) fn install(&self, module: &[u8]) {
        let new = self.0.path().join("new");
        fs::write(&new, module).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    /// Removes the module.
    #[expect(clippy::disallowed_methods, reason = "a test removes a file")]
    pub(super) fn remove(&self) {
        fs::remove_file(self.file()).unwrap();
    }

    /// Returns a plug-in, with further settings.
    pub(super) fn plugin(&self, further: &Value) -> Box<dyn Interceptor> {
        let mut settings = json!({
            "module": self.file(), "timeout": "2s", "memory_max": "1MiB",
            "output_max": "64KiB",
        });
        settings.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        build::<Config>(&settings, &self.context()).unwrap()
    }

    pub(super) fn context(&self) -> BuildContext {
        let directory = self.0.path().join("data/interceptors/app-0");
        BuildContext::alone("app-0", &directory, env::real())
    }
}

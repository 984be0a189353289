//! Measures the interceptor `wasm` next to the same work in the agent: events per second of CPU
//! time. docs/plugins.md has the figures.
//!
//! ```sh
//! cargo run --release -p aqueduct-components-wasm --example measure -- GUESTS
//! ```
//!
//! `GUESTS` has `access.wasm` and `levels.wasm`, built from `examples/plugins/wasm-rust`, and
//! `levels_c.wasm`, built from `examples/plugins/wasm-c`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program that measures"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use aqueduct_components_wasm::interceptor::Config;
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Env, Events, Interceptor, Rejects, Values};
use serde_json::json;

#[path = "../../../examples/plugins/wasm-rust/access_line.rs"]
mod access_line;

const BATCH: usize = 1000;
const ROUNDS: usize = 7;
/// CPU time of a subject in a round. The system counts it in steps of 10 ms.
const TIME: Duration = Duration::from_millis(500);

/// Sets the header `n` of each event to a text of four bytes, with one call for each event.
const EACH: &str = r#"
  (import "aqueduct" "set_header" (func $set (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "n")
  (func (export "aqueduct_abi") (result i32) (i32.const 1))
  (func (export "aqueduct_intercept") (param $events i32) (result i32) (local $event i32)
    (loop $next
      (i32.store (i32.const 8)
        (i32.or (i32.const 0x30303030) (i32.and (local.get $event) (i32.const 0x07070707))))
      (call $set (local.get $event) (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 4))
      (local.set $event (i32.add (local.get $event) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $event) (local.get $events))))
    (local.get $events))"#;

/// The same with one call for all events.
const COLUMN: &str = r#"
  (import "aqueduct" "set_headers" (func $set (param i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "n")
  (func (export "aqueduct_abi") (result i32) (i32.const 1))
  (func (export "aqueduct_intercept") (param $events i32) (result i32)
    (local $event i32) (local $at i32)
    (loop $next
      (local.set $at (i32.shl (local.get $event) (i32.const 2)))
      (i32.store offset=1024 (local.get $at)
        (i32.or (i32.const 0x30303030) (i32.and (local.get $event) (i32.const 0x07070707))))
      (i32.store offset=65536 (local.get $at) (i32.add (local.get $at) (i32.const 4)))
      (local.set $event (i32.add (local.get $event) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $event) (local.get $events))))
    (call $set (i32.const 0) (i32.const 1) (i32.const 0) (local.get $events)
      (i32.const 1024) (i32.mul (local.get $events) (i32.const 4)) (i32.const 65536))
    (local.get $events))"#;

/// Does nothing: the cost of a batch.
const NOTHING: &str = r#"
  (memory (export "memory") 1)
  (func (export "aqueduct_abi") (result i32) (i32.const 1))
  (func (export "aqueduct_intercept") (param $events i32) (result i32) (local.get $events))"#;

fn native_header(mut events: Events) -> Events {
    let mut values = Values::default();
    for event in 0..events.len() as u32 {
        let text = (0x3030_3030 | (event & 0x0707_0707)).to_le_bytes();
        values.push(std::str::from_utf8(&text).ok());
    }
    events.set_values("n", values);
    events
}

fn native_access(mut events: Events) -> Events {
    let mut columns: [Values; 4] = Default::default();
    for event in events.iter() {
        let fields = access_line::parse(event.body());
        for (at, column) in columns.iter_mut().enumerate() {
            column.push(fields.map(|fields| fields[at]));
        }
    }
    for (name, column) in ["client", "method", "path", "status"].iter().zip(columns) {
        events.set_values(name, column);
    }
    events
}

fn native_level(mut events: Events) -> Events {
    const LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARN", "ERROR"];
    let mut values = Values::default();
    for event in events.iter() {
        let line = std::str::from_utf8(event.body()).unwrap_or_default();
        values.push(LEVELS.iter().find(|level| line.contains(**level)).or(Some(&"INFO")).copied());
    }
    events.set_values("level", values);
    events
}

fn lines() -> Vec<String> {
    let line = |n: usize| {
        format!(
            "192.0.2.{} - - [01/Dec/2026:10:00:{:02} +0000] \"GET /articles/{}/page HTTP/1.1\" \
             {} {} \"https://example.com/\" \"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0\"",
            n % 250,
            n % 60,
            n * 7919 % 100_000,
            [200, 200, 304, 404][n % 4],
            n % 9000,
        )
    };
    (0..BATCH).map(line).collect()
}

enum Subject {
    Native(fn(Events) -> Events),
    Module(Box<dyn Interceptor>),
}

async fn measure(subject: &Subject, batch: &Batch, env: &Env) -> f64 {
    let cpu = || env.blocking.usage().unwrap().cpu;
    let (began, mut batches) = (cpu(), 0);
    while cpu() - began < TIME {
        for _ in 0..50 {
            let events = batch.events.clone();
            let done = match subject {
                Subject::Native(work) => work(events),
                Subject::Module(plugin) => {
                    let mut rejects = Rejects::default();
                    plugin.remote().unwrap().intercept(events, &mut rejects).await.unwrap()
                }
            };
            assert_eq!(done.len(), BATCH);
            std::hint::black_box(done);
            batches += 1;
        }
    }
    (BATCH * batches) as f64 / (cpu() - began).as_secs_f64()
}

fn module(folder: &Path, name: &str) -> Subject {
    let cx = BuildContext::alone(name, &folder.join("data/measure-0"), env::real());
    let settings = json!({ "module": folder.join(name), "output_max": "64MiB" });
    Subject::Module(build::<Config>(&settings, &cx).unwrap())
}

#[tokio::main(worker_threads = 1)]
async fn main() {
    let guests = std::env::args().nth(1).unwrap();
    let (guests, made) = (Path::new(&guests), tempfile::tempdir().unwrap());
    for (name, text) in [("each", EACH), ("column", COLUMN), ("nothing", NOTHING)] {
        let bytes = wat::parse_str(format!("(module {text})")).unwrap();
        fs::write(made.path().join(name), bytes).unwrap();
    }
    let mut subjects = vec![
        ("nothing, module", module(made.path(), "nothing")),
        ("header, native", Subject::Native(native_header)),
        ("header, module, a call for each event", module(made.path(), "each")),
        ("header, module, a column", module(made.path(), "column")),
        ("level, native", Subject::Native(native_level)),
        ("access, native", Subject::Native(native_access)),
    ];
    for name in ["levels.wasm", "levels_c.wasm", "access.wasm"] {
        let path = guests.join(name);
        if path.exists() {
            fs::copy(&path, made.path().join(name)).unwrap();
            subjects.push((name, module(made.path(), name)));
        }
    }
    let (env, batch) = (env::real(), Batch::of(lines()));
    let bytes = batch.events.body_bytes() / BATCH as u64;
    println!("{BATCH} events of {bytes} bytes in a batch, {ROUNDS} rounds, interleaved");
    let mut results: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (name, subject) in &subjects {
            results.entry(name).or_default().push(measure(subject, &batch, &env).await);
        }
    }
    for (name, _) in &subjects {
        let mut rates = results.remove(name).unwrap();
        rates.sort_by(f64::total_cmp);
        let [least, middle, most] = [0, ROUNDS / 2, ROUNDS - 1].map(|at| rates[at] / 1e6);
        println!("{name:40} {middle:7.2} M events/s of CPU ({least:.2} to {most:.2})");
    }
}

//! The interceptor `wasm`.

use std::fs;
use std::time::Duration;

use pipeline::testkit::build;
use pipeline::{Batch, Events, Existing, Interceptor, Rejects};
use serde_json::json;

use super::modules::{OUTPUT_MAX, Place, honest, module, module_of, other_version};
use crate::interceptor::Config;

fn bodies(events: &Events) -> Vec<String> {
    events.iter().map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
}

/// Passes a batch until it has a result. After two errors the operator installs an honest module.
/// Returns the errors.
async fn pass(place: &Place, plugin: &dyn Interceptor) -> Vec<String> {
    let mut errors = Vec::new();
    for number in 0..2 {
        let lines: Vec<String> = (0..150).map(|n| format!("{number}-{n}")).collect();
        let mut rejects = Rejects::default();
        let marked = loop {
            let events = Batch::of(&lines).events;
            match plugin.remote().unwrap().intercept(events, &mut rejects).await {
                Ok(marked) => break marked,
                Err(error) => errors.push(error.to_string()),
            }
            assert!(rejects.is_empty(), "nothing of a failed call remains");
            if errors.len() == 2 {
                place.install(&honest());
            }
            assert!(errors.len() < 5, "no result: {errors:?}");
        };
        let expected: Vec<String> = lines.iter().map(|line| format!("{line}!")).collect();
        assert_eq!(bodies(&marked), expected, "each event has its result once");
        assert_eq!(marked.shared_header("seen"), Some("yes"));
        assert!(rejects.is_empty());
    }
    errors
}

/// Failures of a module, each after an honest call for one event, and a part of the error.
const FAILURES: [(&str, &str); 6] = [
    ("unreachable", "failed: wasm trap: wasm `unreachable` instruction executed"),
    ("(i32.div_u (i32.const 1) (i32.const 0))", "failed: wasm trap: integer divide by zero"),
    ("(i32.load (i32.const -8))", "failed: wasm trap: out of bounds memory access"),
    ("(return (i32.const -5))", "reported the failure -5"),
    ("(drop (memory.grow (i32.const 100))) (i32.const 0)", "needs more memory than 1MiB; raise"),
    ("(call $log (i32.const 18) (i32.const 9)) unreachable", "last log line: it is bad; correct"),
];

/// The same for other numbers of events.
const NUMBERS: [(&str, &str); 3] = [
    ("(return (i32.const 0))", "it has processed 0 of 150 events; correct the plug-in"),
    ("(return (i32.sub (local.get $events) (i32.const 1)))", "it has processed 149 of 150"),
    ("(return (i32.const 151))", "it has processed 151 of 150 events"),
];

/// The same for events that do not exist, or are dropped twice.
const EVENTS: [(&str, &str); 3] = [
    ("(call $drop_event (local.get $events)) (i32.const 0)", "it names event 150, but has"),
    (
        "(call $drop_event (i32.const 3)) (call $drop_event (i32.const 3)) (i32.const 0)",
        "it drops or refuses event 3 twice",
    ),
    ("(call $body_len (i32.const -1))", "it reads event 4294967295, but has events 0 to 150"),
];

/// The same for other invalid arguments.
const ARGUMENTS: [(&str, &str); 8] = [
    (
        "(call $body (i32.const 0) (i32.const 0) (i32.const 131072) (i32.const 1))",
        "it names bytes 131072 to 131073 of its memory of 131072 bytes",
    ),
    (
        "(call $set_header (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 16) (i32.const 1))
         (i32.const 0)",
        "a text is not UTF-8",
    ),
    (
        "(call $set_header_all (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))
         (i32.const 0)",
        "the name of a header has 0 bytes",
    ),
    (
        "(call $set_header_all (i32.const 0) (i32.const 4) (i32.const 0) (i32.const -1))
         (i32.const 0)",
        "of its memory of 131072 bytes",
    ),
    (
        "(call $set_body (i32.const 0) (i32.const 0) (i32.const 65536)) (i32.const 0)",
        "writes more than 64KiB for a batch; raise `output_max`",
    ),
    (
        "(call $bodies (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 99) (i32.const 50))",
        "it reads values and their ends into the same memory",
    ),
    (
        "(call $bodies (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 9) (i32.const 50))",
        "of its memory of 131072 bytes",
    ),
    (
        "(call $set_headers (i32.const 0) (i32.const 4) (i32.const 149) (i32.const 2)
           (i32.const 0) (i32.const 0) (i32.const 64)) (i32.const 0)",
        "it writes headers of 151 events, but has 150",
    ),
];

/// Each event has its result once, whatever the module does.
async fn check(faults: &[(&str, &str)]) {
    support::mutants::plant_by_environment();
    let place = Place::new(&honest());
    for (fault, cause) in faults {
        // The writes of the honest function are made before the fault.
        place.install(&module(&format!("(drop (call $honest (i32.const 1))) {fault}")));
        let errors = pass(&place, &*place.plugin(&json!({}))).await;
        assert_eq!(errors.len(), 2, "{fault}: expected {cause:?} twice: {errors:?}");
        for error in errors {
            assert!(error.starts_with("plug-in `/"), "{error}");
            assert!(error.contains(cause), "{fault}: expected {cause:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_call_that_fails_has_no_effect() {
    check(&FAILURES).await;
}

#[tokio::test]
async fn a_call_with_another_number_of_events_has_no_effect() {
    check(&NUMBERS).await;
}

#[tokio::test]
async fn a_call_for_other_events_has_no_effect() {
    check(&EVENTS).await;
}

#[tokio::test]
async fn a_call_with_invalid_arguments_has_no_effect() {
    check(&ARGUMENTS).await;
}

#[tokio::test]
async fn a_module_that_hangs_is_stopped_and_a_slow_one_is_not() {
    for endless in ["(loop $again (br $again)) (i32.const 0)", "(call $honest (i32.const 0))"] {
        let hangs = endless.contains("loop");
        let body = match hangs {
            true => endless.to_owned(),
            // A few hundred milliseconds.
            false => "(local $n i32) (loop $again
                        (local.set $n (i32.add (local.get $n) (i32.const 1)))
                        (br_if $again (i32.lt_u (local.get $n) (i32.const 20000000))))
                      (call $honest (local.get $events))"
                .to_owned(),
        };
        let place = Place::new(&module(&body));
        let timeout = if hangs { "100ms" } else { "60s" };
        let errors = pass(&place, &*place.plugin(&json!({ "timeout": timeout }))).await;
        assert_eq!(errors.len(), if hangs { 2 } else { 0 }, "{errors:?}");
        let cause = "did not process a batch within 100ms, so the agent stopped it";
        assert!(errors.iter().all(|error| error.contains(cause)), "{errors:?}");
    }
}

#[tokio::test]
async fn a_call_whose_caller_is_gone_is_stopped() {
    let place = Place::new(&module("(loop $again (br $again)) (i32.const 0)"));
    let plugin = place.plugin(&json!({ "timeout": "1h" }));
    let events = Batch::of(["a"]).events;
    let mut rejects = Rejects::default();
    let call = plugin.remote().unwrap().intercept(events, &mut rejects);
    let limit = Duration::from_millis(500);
    assert!(tokio::time::timeout(limit, call).await.is_err(), "it hangs");
    // The runtime waits for its threads when it is dropped: this test ends, so the call has ended.
}

#[tokio::test]
async fn modules_that_do_not_fit_are_named_with_the_remedy() {
    let no_export = "(module (memory (export \"memory\") 1)
                       (func (export \"aqueduct_abi\") (result i32) (i32.const 1)))";
    let empty = "(module (memory (export \"memory\") 1))";
    let wasi = r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32) (result i32)))
                  (memory (export "memory") 1)"#;
    let type_of_log =
        r#"(import "aqueduct" "log" (func (param i64))) (memory (export "memory") 1)"#;
    let hangs_at_start = "(memory (export \"memory\") 1)
                          (func $start (loop $again (br $again))) (start $start)";
    let calls_at_start = "(import \"aqueduct\" \"log\" (func $log (param i32 i32)))
                          (memory (export \"memory\") 1)
                          (func $start (call $log (i32.const 0) (i32.const 0))) (start $start)";
    let large = "(memory (export \"memory\") 17)";
    let wat = |text: &str| wat::parse_str(text).unwrap();
    for (module, cause) in [
        (other_version(), "uses version 7 of the contract, but this agent supports only version 1"),
        (b"\x7fELF".to_vec(), "is not a WebAssembly module that the agent can run"),
        (Vec::new(), "is not a WebAssembly module that the agent can run"),
        (wat(no_export), "does not export `aqueduct_intercept`"),
        (wat(empty), "does not export `aqueduct_abi`"),
        (wat("(module)"), "does not export `memory`"),
        (module_of(1, wasi, "(i32.const 0)"), "imports `wasi_snapshot_preview1.fd_write`"),
        (module_of(1, type_of_log, "(i32.const 0)"), "is not a WebAssembly module"),
        (module_of(1, hangs_at_start, "(i32.const 0)"), "did not process a batch within 200ms"),
        (module_of(1, calls_at_start, "(i32.const 0)"), "it calls the agent while it starts"),
        (module_of(1, large, "(i32.const 0)"), "needs more memory than 1MiB"),
    ] {
        let place = Place::new(&module);
        let plugin = place.plugin(&json!({ "timeout": "200ms" }));
        let events = Batch::of(["a"]).events;
        let mut rejects = Rejects::default();
        let error = plugin.remote().unwrap().intercept(events, &mut rejects).await.unwrap_err();
        assert!(error.to_string().contains(cause), "{cause}: {error}");
    }
    let place = Place::new(&honest());
    let digest = "0".repeat(64);
    let plugin = place.plugin(&json!({ "sha256": digest }));
    let mut rejects = Rejects::default();
    let mut call =
        async || plugin.remote().unwrap().intercept(Batch::of(["a"]).events, &mut rejects).await;
    assert!(call().await.unwrap_err().to_string().contains("but the configuration expects 000"));
    place.remove();
    assert!(call().await.unwrap_err().to_string().contains("cannot be read: "));
}

#[tokio::test]
async fn events_are_read_changed_dropped_and_refused() {
    // For each event: drops it if its body is empty, refuses it if it has no header `host`,
    // otherwise sets its header `seen` to the header `host`.
    let body = r"
      (local $event i32) (local $len i32)
      (block $end (loop $next
        (br_if $end (i32.ge_u (local.get $event) (local.get $events)))
        (local.set $len (call $header (local.get $event)
          (i32.const 12) (i32.const 4) (i32.const 1024) (i32.const 64)))
        (if (i32.eqz (call $body_len (local.get $event)))
          (then (call $drop_event (local.get $event)))
          (else (if (i32.eq (local.get $len) (i32.const -1))
            (then (call $refuse_event (local.get $event) (i32.const 18) (i32.const 9)))
            (else (call $set_header (local.get $event)
              (i32.const 0) (i32.const 4) (i32.const 1024) (local.get $len))))))
        (local.set $event (i32.add (local.get $event) (i32.const 1)))
        (br $next)))
      (local.get $events)";
    let place = Place::new(&module(body));
    let plugin = place.plugin(&json!({}));
    let mut events = Batch::of(["a", "", "c", "d"]).events;
    events.set_column("host", [Some("x"), Some("x"), None, Some("z")].into_iter());
    let mut rejects = Rejects::default();
    let kept = plugin.remote().unwrap().intercept(events, &mut rejects).await.unwrap();
    assert_eq!(bodies(&kept), ["a", "d"]);
    assert_eq!(kept.values("seen").collect::<Vec<_>>(), [Some("x"), Some("z")]);
    let rejected: Vec<_> = rejects.into_iter().collect();
    assert_eq!((rejected[0].reason, &*rejected[0].detail), ("refused", "it is bad"));
    assert_eq!(bodies(&rejected[0].events), ["c"]);
}

#[tokio::test]
async fn columns_are_read_and_written_in_parts() {
    // Copies the column `host` to `seen`, two events at a time.
    let body = r"
      (local $first i32) (local $count i32)
      (block $end (loop $next
        (br_if $end (i32.ge_u (local.get $first) (local.get $events)))
        (local.set $count (call $headers (i32.const 12) (i32.const 4)
          (local.get $first) (i32.const 2) (i32.const 1024) (i32.const 64) (i32.const 64)))
        (call $set_headers (i32.const 0) (i32.const 4) (local.get $first) (local.get $count)
          (i32.const 1024) (i32.const 4) (i32.const 64))
        (local.set $first (i32.add (local.get $first) (local.get $count)))
        (br $next)))
      (local.get $events)";
    let place = Place::new(&module(body));
    let mut events = Batch::of(["a", "b", "c", "d", "e"]).events;
    let host = [Some("x"), None, Some("yy"), Some("z"), None];
    events.set_column("host", host.into_iter());
    events.set_header("other", "1", Existing::Replace);
    let plugin = place.plugin(&json!({}));
    let mut rejects = Rejects::default();
    let kept = plugin.remote().unwrap().intercept(events, &mut rejects).await.unwrap();
    assert_eq!(kept.values("seen").collect::<Vec<_>>(), host);
    assert_eq!(kept.shared_header("other"), Some("1"));
}

#[tokio::test]
async fn no_value_of_a_batch_reaches_the_next_one() {
    // Sets `seen` to a byte that it increments in each batch.
    let body = "(i32.store8 (i32.const 8) (i32.add (i32.load8_u (i32.const 8)) (i32.const 1)))
                (call $set_header_all (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 1))
                (local.get $events)";
    let place = Place::new(&module(body));
    let plugin = place.plugin(&json!({}));
    for _ in 0..3 {
        let events = Batch::of(["a"]).events;
        let mut rejects = Rejects::default();
        let kept = plugin.remote().unwrap().intercept(events, &mut rejects).await.unwrap();
        assert_eq!(kept.shared_header("seen"), Some("z"), "one more than y");
    }
}

#[tokio::test]
async fn settings_are_read_as_json() {
    // Writes the settings as the body of each event.
    let body = "(call $set_body (i32.const 0) (i32.const 1024)
                  (call $settings (i32.const 1024) (i32.const 1000))) (i32.const 1)";
    let place = Place::new(&module(body));
    let plugin =
        place.plugin(&json!({ "settings": { "a": 1 }, "secret_settings": { "key": "k" } }));
    let mut rejects = Rejects::default();
    let events = Batch::of(["a"]).events;
    let kept = plugin.remote().unwrap().intercept(events, &mut rejects).await.unwrap();
    assert_eq!(bodies(&kept), [r#"{"a":1,"key":"k"}"#]);
    let shown = plugin.routing_effect(None).unwrap();
    assert!(shown.contains(r#"{"a":1}"#) && !shown.contains("key"), "{shown}");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test damages a file")]
async fn a_compiled_module_is_stored_and_damage_is_found() {
    let place = Place::new(&honest());
    assert!(pass(&place, &*place.plugin(&json!({}))).await.is_empty());
    let files: Vec<_> = fs::read_dir(place.compiled()).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 1);
    let path = files[0].path();
    let stored = fs::read(&path).unwrap();
    assert!(pass(&place, &*place.plugin(&json!({}))).await.is_empty());
    let mut damaged = stored.clone();
    damaged[40] ^= 1;
    for content in [&damaged[..], &stored[..stored.len() / 2], b""] {
        fs::write(&path, content).unwrap();
        assert!(pass(&place, &*place.plugin(&json!({}))).await.is_empty());
        assert_eq!(fs::read(&path).unwrap(), stored, "it is compiled again");
    }
    // Old modules are removed.
    for n in 0..40 {
        fs::write(place.compiled().join(n.to_string()), "").unwrap();
    }
    place.install(&other_version());
    let events = Batch::of(["a"]).events;
    let plugin = place.plugin(&json!({}));
    let mut rejects = Rejects::default();
    plugin.remote().unwrap().intercept(events, &mut rejects).await.unwrap_err();
    assert_eq!(fs::read_dir(place.compiled()).unwrap().count(), 1);
}

#[test]
fn settings_are_checked() {
    let place = Place::new(&honest());
    for (setting, value) in [
        ("module", json!("")),
        ("sha256", json!("abc")),
        ("timeout", json!("0s")),
        ("memory_max", json!("64KiB")),
        ("output_max", json!("1KiB")),
        ("secret_settings", json!({ "a": "b" })),
    ] {
        let mut settings = json!({ "module": place.file(), "settings": { "a": 1 } });
        settings[setting] = value;
        let error = build::<Config>(&settings, &place.context()).err().unwrap();
        assert_eq!(error.path, setting);
    }
    assert_eq!(OUTPUT_MAX, 65536);
}

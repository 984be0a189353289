//! Goal: an interceptor makes a few allocations per batch, and none per event.
//!
//! Method: each interceptor processes a batch and one of double length. The longer one may only
//! cost the few additional steps in which buffers grow. It is the only test of its process, because
//! the counter counts all threads.

use std::path::Path;

use aqueduct_components::EDGE;
use pipeline::settings::Settings;
use pipeline::{Batch, BuildContext, Existing, Interceptor, Rejects};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// Maximum additional allocations for the double number of events: more would be per event.
const GROWTH_MAX: usize = 60;
const EVENTS: usize = 1_000;

fn build(settings: &Value) -> Box<dyn Interceptor> {
    let cx = BuildContext::alone("test", Path::new("unused"), env::real());
    let mut settings = settings.as_object().expect("a table").clone();
    let kind = settings.remove("type").expect("a type");
    let entry = EDGE.find::<dyn Interceptor>(kind.as_str().expect("a text")).expect("it is known");
    (entry.build)(&Settings::from_json(&Value::Object(settings)), &cx).expect("it builds")
}

fn batch(events: usize, body: impl Fn(usize) -> String) -> Batch {
    let mut batch = Batch::of((0..events).map(body));
    batch.set_header("app", "shop", Existing::Keep);
    let hosts: Vec<String> = (0..events).map(|n| format!("web-{}", n % 7)).collect();
    batch.set_column("host", hosts.iter().map(|host| Some(host.as_str())));
    let clients: Vec<String> = (0..events).map(|n| format!("203.0.113.{}", n % 251)).collect();
    batch.set_column("client", clients.iter().map(|client| Some(client.as_str())));
    batch
}

/// Returns the allocations of the second call: the first one fills caches.
fn allocations(interceptor: &dyn Interceptor, mut batch: Batch) -> usize {
    interceptor.intercept(&mut batch.clone(), &mut Rejects::default());
    let region = Region::new(ALLOCATOR);
    interceptor.intercept(&mut batch, &mut Rejects::default());
    let change = region.change();
    change.allocations + change.reallocations
}

#[test]
fn an_event_costs_no_allocation() {
    let access = |n: usize| {
        let time = "[25/Nov/2026:10:20:30 +0100]";
        format!("203.0.113.{} - - {time} \"GET /{n} HTTP/1.1\" 200 {n} \"-\" \"curl/8\"", n % 200)
    };
    let json = |n: usize| format!("{{\"level\":\"info\",\"n\":{n},\"user\":{{\"id\":\"u{n}\"}}}}");
    let pairs = |n: usize| format!("level=info n={n} msg=\"it is {n}\"");
    let table = |n: usize| format!("{n},\"a, b\",x");
    let condition = json!([{ "header": "host", "one_of": ["web-1"] }, { "matches": "7" }]);
    let rules = json!([{ "value": "x", "when": condition }]);
    let format = "%d/%b/%Y:%H:%M:%S %z";
    type Body<'a> = &'a dyn Fn(usize) -> String;
    let cases: [(Value, Body<'_>); 19] = [
        (json!({ "type": "uuid" }), &access),
        (json!({ "type": "uuid", "from": "body" }), &access),
        (json!({ "type": "remove_header", "matching": "h.*" }), &access),
        (
            json!({
                "type": "regex_extractor", "regex": "\\[([^\\]]+)\\] \"(\\w+)",
                "serializers": [{ "name": "timestamp", "date": format }, { "name": "verb" }],
            }),
            &access,
        ),
        (json!({ "type": "parse", "format": "combined" }), &access),
        (json!({ "type": "parse", "format": "combined", "into": "body" }), &access),
        (json!({ "type": "parse", "format": "json" }), &json),
        (json!({ "type": "parse", "format": "json", "on_failure": "header" }), &pairs),
        (json!({ "type": "parse", "format": "logfmt" }), &pairs),
        (
            json!({ "type": "parse", "format": { "type": "csv", "columns": ["a", "b", "c"] } }),
            &table,
        ),
        (
            json!({ "type": "event_time", "pattern": "\\[([^\\]]+)\\]", "formats": [format] }),
            &access,
        ),
        (json!({ "type": "mask", "pattern": "^\\S+", "key": "0123456789abcdef" }), &access),
        (json!({ "type": "mask", "header": "host" }), &access),
        (json!({ "type": "filter", "drop": condition }), &access),
        (json!({ "type": "route", "header": "to", "rules": rules }), &access),
        (json!({ "type": "sample", "rate": 0.5 }), &access),
        (json!({ "type": "dedupe" }), &access),
        (json!({ "type": "lookup", "from": "host", "table": "host,site\nweb-1,fra\n" }), &access),
        (
            json!({
                "type": "lookup", "from": "client", "table": "net,site\n203.0.113.0/26,fra\n",
                "keys": "networks",
            }),
            &access,
        ),
    ];
    for (settings, body) in cases {
        let interceptor = build(&settings);
        let once = allocations(&*interceptor, batch(EVENTS, body));
        let twice = allocations(&*interceptor, batch(2 * EVENTS, body));
        assert!(twice <= once + GROWTH_MAX, "{settings}: {once}, then {twice}");
    }
    ranges_take_few_bytes();
}

/// A part of the only test: the counter counts all threads.
fn ranges_take_few_bytes() {
    const RANGES: u32 = 500_000;
    let line = |n: u32| {
        let (from, to) = (n * 8192, n * 8192 + 8191);
        format!("{from},{to},C{}\n", n % 250)
    };
    let table: String = (0..RANGES).map(line).collect();
    let settings = json!({
        "type": "lookup", "from": "client", "keys": "ranges", "names": ["from", "to", "country"],
        "table": table,
    });
    let region = Region::new(ALLOCATOR);
    let interceptor = build(&settings);
    let change = region.change();
    drop(interceptor);
    let bytes = change.bytes_allocated - change.bytes_deallocated;
    assert!(bytes < 5 << 20, "{bytes} bytes for {RANGES} ranges");
}

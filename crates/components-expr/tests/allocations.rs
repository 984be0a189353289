//! Goal: an expression costs an event no allocation, in each interceptor that has conditions.
//!
//! Method: each interceptor takes a batch and one that is twice as long. What the longer one costs
//! more are the few steps by which buffers grow. It is the only test of its process, because the
//! counter counts all threads.

use std::path::Path;

use pipeline::settings::Settings;
use pipeline::{Batch, BuildContext, Catalogue, Interceptor, Rejects};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const CATALOGUE: Catalogue =
    Catalogue { groups: &[&components::GROUP, &aqueduct_components_expr::GROUP], unavailable: &[] };

/// More allocations than that for as many events again are some for each of them.
const GROWTH_MAX: usize = 60;
const EVENTS: usize = 1_000;

fn build(mut settings: Value) -> Box<dyn Interceptor> {
    let cx = BuildContext {
        catalogue: CATALOGUE,
        ..BuildContext::alone("test", Path::new("unused"), env::real())
    };
    let kind = settings.as_object_mut().and_then(|it| it.remove("type")).expect("a type");
    let entry = CATALOGUE.find::<dyn Interceptor>(kind.as_str().expect("text")).expect("known");
    (entry.build)(&Settings::from_json(&settings), &cx).expect("it builds")
}

fn batch(events: usize) -> Batch {
    let mut batch = Batch::of((0..events).map(|n| format!("GET /{n} took {n} ms")));
    let times: Vec<String> = (0..events).map(|n| format!("{n}.5")).collect();
    batch.set_column("ms", times.iter().map(|text| Some(text.as_str())));
    batch.set_column("level", (0..events).map(|n| ["ERROR", "info"].get(n % 3).copied()));
    batch
}

/// Allocations of one call, of a second batch: the first one fills caches.
fn allocations(interceptor: &dyn Interceptor, events: usize) -> usize {
    let mut batch = batch(events);
    interceptor.intercept(&mut batch.clone(), &mut Rejects::default());
    let region = Region::new(ALLOCATOR);
    interceptor.intercept(&mut batch, &mut Rejects::default());
    let change = region.change();
    change.allocations + change.reallocations
}

#[test]
fn an_event_costs_no_allocation() {
    let expression = "headers.level in [\"ERROR\", \"WARN\"] && double(headers.ms) > 20.0 || \
                      body.contains(\"7\") && !body.matches(\"took [0-5]+ \") && size(body) < 30";
    let when = json!([{ "type": "cel", "expression": expression }]);
    for settings in [
        json!({ "type": "filter", "drop": when }),
        json!({ "type": "filter", "keep": when }),
        json!({ "type": "route", "header": "to", "rules": [{ "value": "x", "when": when }] }),
        json!({ "type": "sample", "rate": 0.5, "keep": when }),
        json!({ "type": "mask", "pattern": "[0-9]+", "when": when }),
        json!({ "type": "mask", "header": "ms", "when": when }),
    ] {
        let interceptor = build(settings.clone());
        let (once, twice) =
            (allocations(&*interceptor, EVENTS), allocations(&*interceptor, 2 * EVENTS));
        assert!(twice <= once + GROWTH_MAX, "{settings}: {once}, then {twice}");
    }
}

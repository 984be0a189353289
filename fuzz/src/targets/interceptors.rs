//! Interceptors that parse untrusted text.

use std::path::Path;
use std::sync::LazyLock;

use components::EDGE;
use pipeline::{Batch, BuildContext, Interceptor, Rejects, Settings};
use serde_json::{Value, json};

use super::chosen;
use crate::rig::ENV;

/// The number of settings for `parse` with output into the body, which come first.
const INTO_BODIES: usize = 7;

static SETTINGS: LazyLock<Vec<(&str, Value)>> = LazyLock::new(|| {
    let parse = |format: Value| {
        ("parse", json!({ "format": format, "into": "body", "on_failure": "dead_letters" }))
    };
    vec![
        parse(json!("json")),
        parse(json!("logfmt")),
        parse(json!({ "type": "key_value", "pair_separator": "; ", "key_value_separator": ":" })),
        parse(json!({ "type": "csv", "columns": ["a", "b", "", "c"] })),
        parse(json!("combined")),
        parse(json!("common")),
        parse(
            json!({ "type": "grok", "pattern": "%{IPORHOST:h} %{INT:n:int} %{GREEDYDATA:rest}" }),
        ),
        ("parse", json!({ "format": "json" })),
        ("parse", json!({ "format": "logfmt", "on_failure": "header", "prefix": "f." })),
        (
            "event_time",
            json!({
                "formats": ["rfc3339", "unix_ms", "unix_s", "%d/%b/%Y:%H:%M:%S %z", "%b %d %T"],
                "zone": "Europe/Berlin", "on_failure": "dead_letters",
            }),
        ),
        (
            "regex_extractor",
            json!({
                "regex": "^(\\S+) \\[([^\\]]+)\\]",
                "serializers": [{ "name": "a" }, { "date": "dd/MMM/yyyy:HH:mm:ss Z", "name": "b" }],
            }),
        ),
        ("search_replace", json!({ "search": "(token=)[^&]+", "replace": "${1}***" })),
        ("container_log", json!({ "on_failure": "dead_letters" })),
        ("mask", json!({ "pattern": "[0-9]{4}-?([0-9]{4})" })),
    ]
});

/// Passes lines as a batch through one interceptor: no event is lost, and the output of `parse` is
/// JSON.
pub(super) fn interceptors(input: &[u8]) -> usize {
    let (choice, text) = chosen(input);
    let choice = choice % SETTINGS.len();
    let (kind, settings) = &SETTINGS[choice];
    let cx =
        BuildContext { catalogue: EDGE, ..BuildContext::alone("in", Path::new("d"), ENV.clone()) };
    let entry = EDGE.find::<dyn Interceptor>(kind).expect("it is in every program");
    let interceptor =
        (entry.build)(&Settings::from_json(settings), &cx).expect("the settings are valid");
    let mut batch = Batch::of(text.split(|byte| *byte == b'\n'));
    let count = batch.len();
    let mut rejects = Rejects::default();
    interceptor.intercept(&mut batch, &mut rejects);
    let rejected: usize = rejects.into_iter().map(|reject| reject.events.len()).sum();
    assert_eq!(batch.len() + rejected, count, "an event goes on or is rejected");
    if choice < INTO_BODIES {
        for event in batch.iter() {
            let object = serde_json::from_slice(event.body());
            assert!(matches!(object, Ok(Value::Object(_))), "a body of `parse` is an object");
        }
    }
    let again = Batch::decode(batch.encode()).expect("what was made of it can be stored");
    assert!(again.iter().map(|event| event.body()).eq(batch.iter().map(|event| event.body())));
    batch.len()
}

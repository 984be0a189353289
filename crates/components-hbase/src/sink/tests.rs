//! Tests of rejected settings: the error names the setting and the fix.

use std::path::Path;

use pipeline::testkit::build;
use serde_json::{Value, json};

use super::*;

fn built(more: &Value) -> Result<Box<dyn Sink>, pipeline::SettingsError> {
    let mut settings = json!({
        "masters": ["m-1:16000"], "table": "t", "columns": { "f:q": "%body" }, "user": "u",
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    build::<Config>(&settings, &BuildContext::alone("out", Path::new("unused"), env::real()))
}

#[test]
fn settings_that_work_are_taken() {
    for more in [
        json!({}),
        json!({ "masters": [], "zookeeper": { "quorum": ["zk-1:2181"] } }),
        json!({ "table": "default:t" }),
        json!({ "table": "ns:t", "columns": {}, "field_family": "f" }),
        json!({ "columns": {}, "counters": [{ "row": "n", "column": "f:n" }] }),
        json!({ "pattern": "(a)", "row_key": "%[1]" }),
    ] {
        assert!(built(&more).is_ok(), "{more}: {:?}", built(&more).err().map(|it| it.to_string()));
    }
}

#[test]
fn rejects_invalid_settings_and_names_setting_and_remedy() {
    let zookeeper = |quorum: &[&str], znode: &str| {
        let zookeeper = json!({ "quorum": quorum, "znode": znode });
        json!({ "masters": [], "zookeeper": zookeeper })
    };
    let counter =
        |row: &str, column: &str| json!({ "counters": [{ "row": row, "column": column }] });
    for (more, expected) in [
        (json!({ "masters": [] }), "set `zookeeper`"),
        (json!({ "masters": ["m"] }), "has no port"),
        (json!({ "zookeeper": { "quorum": ["z:2181"] } }), "remove one of the two"),
        (zookeeper(&[], "/hbase"), "at least one"),
        (zookeeper(&["z:2181"], "hbase"), "must start with `/`"),
        (json!({ "table": "a:b:c" }), "`namespace:table`"),
        (json!({ "table": "a,b" }), "`namespace:table`"),
        (json!({ "columns": {} }), "would write nothing"),
        (json!({ "columns": { "q": "%body" } }), "`family:qualifier`"),
        (json!({ "pattern": "a", "columns": { "f:q": "%[a]" } }), "no group `a`"),
        (json!({ "row_key": "%x" }), "row_key"),
        (json!({ "pattern": "(" }), "pattern"),
        (json!({ "pattern": "a", "field_family": "f" }), "combined with `pattern`"),
        (json!({ "header_family": "f:" }), "without `:`"),
        (counter("%id", "f:n"), "must not use `%id`"),
        (counter("n", "n"), "`family:qualifier`"),
        (json!({ "in_flight_max": 0 }), "must be from 1 to 64"),
        (json!({ "timeout": "0s" }), "from 1ms"),
    ] {
        let error = built(&more).err().unwrap().to_string();
        assert!(error.contains(expected), "{more}: {error}");
    }
}

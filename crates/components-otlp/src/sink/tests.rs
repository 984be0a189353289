//! Tests of rejected settings.

use std::path::Path;

use pipeline::testkit::build;
use serde_json::json;

use super::*;

#[test]
fn refuses_invalid_settings_with_a_remedy() {
    let cx = BuildContext::alone("out", Path::new("unused"), env::real());
    assert!(build::<Config>(&json!({ "url": "http://h:4317" }), &cx).is_ok());
    for (more, path, expected) in [
        (json!({ "url": "h:4317" }), "url", "http://"),
        (json!({ "url": "http://h:4317/v1/logs" }), "url", "gRPC has its own paths"),
        (json!({ "url": "http://h/?a=b", "protocol": "http" }), "url", "query"),
        (json!({ "encoding": "json" }), "encoding", "`protocol = \"http\"`"),
        (json!({ "tls": {} }), "tls", "https://"),
        (json!({ "events_max": 0 }), "events_max", "at least 1"),
        (json!({ "request_max": "0B" }), "request_max", "from 1B"),
        (json!({ "headers": { "authorization": "x" } }), "headers.authorization", "secret_headers"),
    ] {
        let mut settings = json!({ "url": "http://h:4317" });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, path, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

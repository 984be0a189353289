//! Tests of rejected settings, and of presets.

use std::path::Path;

use pipeline::testkit::build;
use pipeline::{BuildContext, Settings};
use serde_json::{Value, json};

use super::*;

fn context() -> BuildContext {
    BuildContext::alone("in", Path::new("unused"), env::real())
}

fn problem(settings: &Value) -> Option<String> {
    build::<Config>(settings, &context()).err().map(|error| error.to_string())
}

#[test]
fn rejects_invalid_settings_and_names_setting_and_remedy() {
    let good = json!({ "url": "http://h/s" });
    assert_eq!(problem(&good), None);
    let zero = json!({ "first": "0s", "step": "0s", "limit": "1s" });
    for (name, value, expected) in [
        ("url", json!("h/s"), "http://"),
        ("url", Value::Null, "write for example `http://host:80/path`"),
        ("idle_timeout", json!("0s"), "idle_timeout"),
        ("ids_max", json!(10_001), "must be at most 10000"),
        ("event_max", json!("1B"), "from 1KiB to 16MiB"),
        ("batch_events", json!(0), "must be at least 1"),
        ("id", json!("data/id"), "starts with `/`"),
        ("cursor", json!("/id"), "set `resume`, or"),
        ("resume", json!("since_id"), "set `cursor`, or"),
        ("backoff", json!({ "network": zero }), "backoff.network.step"),
        ("rules", json!([{ "value": "cat" }]), "only with `preset = \"x\"`"),
        ("access", json!({ "headers": { "Authorization": "hunter2" } }), "`secret_headers`"),
        ("access", json!({ "bearer": "a\nb" }), "access.bearer"),
        ("access", json!({ "timeout": "0s" }), "access.timeout"),
        ("access", json!({ "headers": { "a b": "c" } }), "access.headers.a b"),
        ("subscribe", json!(["hunter2"]), "only with a WebSocket"),
    ] {
        let mut settings = good.clone();
        settings[name] = value;
        let said = problem(&settings).unwrap_or_default();
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let socket = json!({ "url": "wss://h/s", "subscribe": ["hunter2"] });
    assert_eq!(problem(&socket), None);
    for (name, value, expected) in [
        ("format", "sse", "`ndjson` (JSON messages)"),
        ("preset", "x", "with a WebSocket in `url`"),
    ] {
        let mut settings = socket.clone();
        settings[name] = json!(value);
        assert!(problem(&settings).unwrap().contains(expected), "{name}");
    }
    let text = json!({ "url": "http://h/s", "format": "lines", "id": "/id" });
    assert!(problem(&text).unwrap().contains("`format = \"ndjson\"`"));
    let twice = json!({ "preset": "x", "rules": [{ "value": "cat" }, { "value": "cat" }] });
    assert!(problem(&twice).unwrap().contains("occurs twice"));
    let mastodon = json!({ "preset": "mastodon" });
    assert!(problem(&mastodon).unwrap().contains("must be the URL of a stream"));
}

fn options(settings: &Value) -> Options {
    let mut config: Config = Settings::from_json(settings).read().unwrap();
    config.options().unwrap()
}

#[test]
fn a_preset_fills_in_what_is_not_set() {
    let x = options(&json!({ "preset": "x" }));
    assert_eq!((x.format, x.idle_timeout), (Format::Ndjson, Duration::from_secs(25)));
    assert_eq!((x.shape.id.as_deref(), x.resume), (Some("/data/id"), Resume::Never));
    let wikimedia = options(&json!({ "preset": "wikimedia", "idle_timeout": "5s", "id": "" }));
    assert_eq!((wikimedia.format, wikimedia.resume), (Format::Sse, Resume::Header));
    assert_eq!((wikimedia.idle_timeout, wikimedia.shape.id), (Duration::from_secs(5), None));
    let mastodon = options(&json!({ "preset": "mastodon", "url": "https://m/s" }));
    assert_eq!((mastodon.format, mastodon.shape.id), (Format::Sse, None));
    let contract = options(&json!({
        "preset": "x", "cursor": "/data/created_at", "resume": "start_time"
    }));
    assert_eq!(contract.resume, Resume::Parameter("start_time".into()));
    let plain = options(&json!({ "url": "http://h/s" }));
    assert_eq!((plain.format, plain.idle_timeout), (Format::Ndjson, Duration::from_secs(60)));
}

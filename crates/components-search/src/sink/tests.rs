//! Tests of rejected settings, and of the results of a batch.

use std::path::Path;
use std::time::Duration;

use hyper::HeaderMap;
use pipeline::testkit::build;
use pipeline::{
    BatchBuilder, BuildContext, Epoch, ErrorClass, Identity, Origin, Outcome, Sequence, Taken,
};
use serde_json::{Value, json};
use web::Connector;

use super::*;
use crate::client::tests::{Node, Reply};
use crate::index::IndexName;

fn context() -> BuildContext {
    BuildContext::alone("out", Path::new("unused"), env::real())
}

fn good() -> Value {
    json!({ "urls": ["http://search-1:9200/"], "index": "logs-%Y.%m.%d" })
}

#[test]
fn rejects_invalid_settings_and_names_setting_and_remedy() {
    assert!(build::<Config>(&good(), &context()).is_ok());
    for (name, value, expected) in [
        ("urls", json!([]), "at least one"),
        ("urls", json!(["search-1:9200"]), "write for example `http://search-1:9200`"),
        ("urls", json!(["tcp://search-1:9200"]), "must start with `http://` or `https://`"),
        ("urls", json!(["http://me:pw@search-1"]), "set `user` and `password`"),
        ("urls", json!(["http://search-1?a=b"]), "must not have a query"),
        ("index", json!("Logs"), "lowercase letters"),
        ("index", json!("%{app}"), "a fixed prefix"),
        ("time_header", json!(""), "name the header"),
        ("name", json!(""), "1 to 128 bytes"),
        ("pipeline", json!("a/b"), "ingest pipeline"),
        ("password", json!("x"), "`user`"),
        ("tls", json!({}), "has an effect only with `https://`"),
        ("in_flight_max", json!(0), "must be at least 1"),
    ] {
        let mut settings = good();
        settings[name] = value;
        let error = build::<Config>(&settings, &context()).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
    }
    let mut both = good();
    both["user"] = json!("me");
    both["secret_headers"] = json!({ "authorization": "ApiKey abc" });
    let error = build::<Config>(&both, &context()).err().unwrap().to_string();
    assert!(error.contains("remove one of the two"), "{error}");
}

fn sink(name: &str) -> Search {
    let index = IndexName::new(Kind::Index, "logs-%Y").unwrap();
    let connector = Connector::new(None, &env::real()).unwrap();
    let headers = HeaderMap::new();
    let fields = Fields { body: BodyForm::Json, headers: String::new(), time: String::new() };
    Search {
        client: Client::new(ENGINE.name, &connector, vec!["http://127.0.0.1:1".into()], headers),
        path: "/_bulk".into(),
        scope: String::new(),
        routes: Routes { name: name.into(), index, time_header: "timestamp".into() },
        fields,
        request_bytes_max: usize::MAX,
        destinations: Destinations::new(pipeline::deliver::destination_wait()),
        board: SinkBoard::default(),
    }
}

#[test]
fn an_event_has_the_same_id_and_index_when_it_is_sent_again() {
    let mut builder = BatchBuilder::default();
    builder.push(b"{\"n\":1}", &[("timestamp", "1764115200000")]);
    builder.push(b"{\"n\":2}", &[]);
    builder.push(b"no json", &[("timestamp", "1764115200000")]);
    builder.push(b"{\"n\":4}", &[("timestamp", "1764115200000")]);
    let mut batch = builder.finish();
    let (origin, epoch) = (Origin([7; 16]), Epoch(1));
    batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(3) });
    let (documents, never) = sink("out").documents(&batch);
    let shown: Vec<_> =
        documents.iter().map(|it| (it.place, it.index.as_str(), it.id.clone().unwrap())).collect();
    let id = |place: usize| format!("out/{origin}/1/3-{place}");
    assert_eq!(shown, [(0, "logs-2025", id(0)), (3, "logs-2025", id(3))]);
    let reasons: Vec<_> = never.iter().map(|(place, reason, _)| (*place, *reason)).collect();
    assert_eq!(reasons, [(1, "no_time"), (2, "unwritable_event")]);
    assert_eq!(sink("out").documents(&batch).0, documents);
    // The other half of a split batch has the same identity, but other documents.
    assert_ne!(sink("other").documents(&batch).0[0].id, documents[0].id);
}

/// Returns the results of a batch whose second event uses an index that does not exist.
async fn outcomes(index: &str, wait: &str) -> Vec<Outcome> {
    const ANSWER: &str = r#"{"errors":true,"items":[{"create":{"status":201}},{"create":{
        "status":404,"error":{"type":"index_not_found_exception","reason":"no such index"}}}]}"#;
    let node = Node::start(|_| Reply::After(Duration::ZERO, 200, ANSWER)).await;
    let settings = json!({
        "urls": [node.url.strip_suffix("/solr").unwrap()], "index": index,
        "destination_wait": wait,
    });
    let mut sink = build::<Config>(&settings, &context()).unwrap();
    let mut builder = BatchBuilder::default();
    builder.push(b"one", &[("app", "shop")]);
    builder.push(b"two", &[("app", "wrong")]);
    sink.write(Taken { ticket: 1, batch: builder.finish() }).await.unwrap();
    let mut outcomes = vec![sink.settled().await.outcome];
    if let Outcome::Refused(_) = &outcomes[0] {
        outcomes.push(sink.settled().await.outcome);
    }
    outcomes
}

#[tokio::test]
async fn a_missing_index_that_the_event_chooses_is_a_dead_letter_after_the_wait() {
    let over = outcomes("logs-%{app}", "0s").await;
    let [Outcome::Refused(letter), Outcome::Delivered] = &over[..] else { panic!("{over:?}") };
    let bodies: Vec<_> = letter.events.iter().map(|it| it.body().to_vec()).collect();
    assert_eq!((bodies, letter.reason), (vec![b"two".to_vec()], "unknown_destination"));
    assert!(letter.detail.contains("404: index_not_found_exception"), "{}", letter.detail);
    for (index, wait) in [("logs-%{app}", "1m"), ("logs", "0s")] {
        let waits = outcomes(index, wait).await;
        let [Outcome::Again(Some(error))] = &waits[..] else { panic!("{waits:?}") };
        assert_eq!(error.class, ErrorClass::Blocked);
        assert!(error.to_string().contains("change `index`"), "{error}");
    }
}

//! Tests of rejected settings, and of the results of a batch for various responses.

use std::path::Path;
use std::time::Duration;

use pipeline::testkit::build;
use pipeline::{BatchBuilder, Epoch, ErrorClass, Identity, Origin, Outcome, Sequence, Taken};
use serde_json::json;

use super::*;
use crate::client::tests::{Node, Reply};

#[test]
fn rejects_invalid_settings_and_names_setting_and_remedy() {
    let context = BuildContext::alone("out", Path::new("unused"), env::real());
    let good = json!({ "urls": ["http://solr-1:8983/solr/"], "collection": "Logs-%Y" });
    assert!(build::<Config>(&good, &context).is_ok());
    for (name, value, expected) in [
        ("urls", json!([]), "http://solr-1:8983/solr"),
        ("urls", json!(["solr-1"]), "write for example `http://solr-1:8983/solr`"),
        ("collection", json!("a/b"), "the name of the collection cannot contain '/'"),
        ("collection", json!("%{app}"), "a fixed prefix"),
        ("time_header", json!(""), "name the header"),
        ("id_field", json!(""), "a field of the schema"),
        ("message_field", json!(""), "a field of the schema"),
        ("headers_field", json!("headers"), "write for example `header_*_s`"),
        ("in_flight_max", json!(0), "must be at least 1"),
    ] {
        let mut settings = good.clone();
        settings[name] = value;
        let error = build::<Config>(&settings, &context).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
    }
}

/// Returns the results of a batch with these bodies, sent to this node.
async fn outcomes(node: &Node, bodies: &[&str]) -> Vec<Outcome> {
    let context = BuildContext::alone("out", Path::new("unused"), env::real());
    let settings = json!({ "urls": [&*node.url], "collection": "logs", "body": "json" });
    let mut sink = build::<Config>(&settings, &context).unwrap();
    let mut batch = Batch::of(bodies);
    let (origin, epoch) = (Origin([7; 16]), Epoch(1));
    batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(3) });
    sink.write(Taken { ticket: 1, batch }).await.unwrap();
    let mut outcomes = vec![sink.settled().await.outcome];
    if let Outcome::Refused(letter) = &outcomes[0]
        && !letter.whole
    {
        outcomes.push(sink.settled().await.outcome);
    }
    outcomes
}

/// Returns the ids of the documents of each request.
fn ids(node: &Node) -> Vec<Vec<String>> {
    let ids_of = |body: &String| {
        let documents: Vec<Value> = serde_json::from_str(body).unwrap();
        documents.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    node.seen.lock().unwrap().iter().map(ids_of).collect()
}

const BODIES: [&str; 4] = [r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#];
const SUCCESS: &str = r#"{"responseHeader":{"status":0}}"#;

#[tokio::test(start_paused = true)]
async fn resends_documents_of_a_late_success_until_one_is_in_time() {
    let node = Node::start(|body| {
        let is_late = body.matches("id").count() > 1;
        Reply::After(if is_late { LATE } else { Duration::ZERO }, 200, SUCCESS)
    });
    let node = node.await;
    let outcomes = outcomes(&node, &BODIES).await;
    assert!(matches!(outcomes[..], [Outcome::Delivered]), "{outcomes:?}");
    let sent = ids(&node);
    let all = &sent[0];
    let halves = [&all[..2], &all[..1], &all[1..2], &all[2..], &all[2..3], &all[3..]];
    assert_eq!((all.len(), &sent[1..]), (4, &halves.map(<[String]>::to_vec)[..]));
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_always_late_is_not_taken_for_written() {
    let node = Node::start(|_| Reply::After(LATE, 200, SUCCESS)).await;
    let outcomes = outcomes(&node, &BODIES).await;
    let [Outcome::Again(Some(error))] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(error.class, ErrorClass::Indeterminate);
    assert!(error.to_string().contains("too long to prove"), "{error}");
}

#[tokio::test]
async fn a_document_that_is_refused_is_a_dead_letter_without_the_others() {
    let node = Node::start(|body| match body.contains(r#""n":2"#) {
        true => Reply::After(Duration::ZERO, 400, r#"{"error":{"msg":"no 2"}}"#),
        false => Reply::After(Duration::ZERO, 200, SUCCESS),
    });
    let outcomes = outcomes(&node.await, &BODIES).await;
    let [Outcome::Refused(letter), Outcome::Delivered] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    let bodies: Vec<_> = letter.events.iter().map(|it| it.body().to_vec()).collect();
    assert_eq!((bodies, letter.reason), (vec![BODIES[2].into()], "refused"));
}

/// Returns the results of a batch whose events use the collections `logs-a` and `logs-b`, which do
/// not exist.
async fn without_collections(collection: &str, wait: &str) -> Vec<Outcome> {
    let node = Node::start(|_| Reply::After(Duration::ZERO, 404, "not found")).await;
    let context = BuildContext::alone("out", Path::new("unused"), env::real());
    let settings =
        json!({ "urls": [&*node.url], "collection": collection, "destination_wait": wait });
    let mut sink = build::<Config>(&settings, &context).unwrap();
    let mut builder = BatchBuilder::default();
    builder.push(b"one", &[("app", "a")]);
    builder.push(b"two", &[("app", "b")]);
    sink.write(Taken { ticket: 1, batch: builder.finish() }).await.unwrap();
    vec![sink.settled().await.outcome]
}

#[tokio::test]
async fn a_missing_collection_of_an_event_is_a_dead_letter_after_the_wait() {
    let over = without_collections("logs-%{app}", "0s").await;
    let [Outcome::Refused(letter)] = &over[..] else { panic!("{over:?}") };
    assert_eq!((letter.events.len(), letter.reason), (2, "unknown_destination"));
    assert!(letter.detail.contains("create it (`bin/solr create -c logs-a`)"), "{}", letter.detail);
    for (collection, wait) in [("logs-%{app}", "1m"), ("logs", "0s")] {
        let waits = without_collections(collection, wait).await;
        let [Outcome::Again(Some(error))] = &waits[..] else { panic!("{waits:?}") };
        assert_eq!(error.class, ErrorClass::Blocked, "{error}");
    }
}

#[tokio::test]
async fn a_document_with_a_version_that_solr_does_not_have_is_a_dead_letter() {
    let node = Node::start(|body| match body.contains(r#""n":2"#) {
        true => Reply::After(Duration::ZERO, 409, r#"{"error":{"msg":"version conflict"}}"#),
        false => Reply::After(Duration::ZERO, 200, SUCCESS),
    });
    let outcomes = outcomes(&node.await, &BODIES).await;
    let [Outcome::Refused(letter), Outcome::Delivered] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!((letter.events.len(), &*letter.detail), (1, "409: version conflict"));
}

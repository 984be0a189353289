//! Settings that are refused, ids of events, and what answers say of documents.

use std::path::Path;

use pipeline::testkit::build;
use serde_json::json;

use super::*;
use crate::events::tests::outgoing;

#[test]
fn what_cannot_work_is_refused_with_the_setting_and_the_remedy() {
    let context = BuildContext::alone("out", Path::new("unused"), env::real());
    let good = json!({ "urls": ["http://solr-1:8983/solr/"], "collection": "Logs-%Y" });
    assert!(build::<Config>(&good, &context).is_ok());
    for (name, value, expected) in [
        ("urls", json!([]), "http://solr-1:8983/solr"),
        ("urls", json!(["solr-1"]), "write for example `http://solr-1:8983/solr`"),
        ("collection", json!("a/b"), "the name of this collection has no '/'"),
        ("collection", json!("%{app}"), "a fixed beginning"),
        ("time_header", json!(""), "name it"),
        ("id_field", json!(""), "a field of the schema"),
        ("message_field", json!(""), "a field of the schema"),
        ("headers_field", json!("headers"), "write for example `header_*_s`"),
        ("in_flight_max", json!(0), "at least 1"),
    ] {
        let mut settings = good.clone();
        settings[name] = value;
        let error = build::<Config>(&settings, &context).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
    }
}

#[test]
fn a_request_is_an_array_of_documents() {
    let mut documents = [outgoing(0, 0), outgoing(1, 0)];
    for document in &mut documents {
        document.document = b"{}".to_vec();
    }
    assert_eq!(body(&documents[..1]), "[{}]");
    assert_eq!(body(&documents), "[{},{}]");
}

#[test]
fn what_a_tolerant_chain_leaves_out_is_named_and_other_answers_are_no_success() {
    let documents = [outgoing(3, 1), outgoing(5, 1)];
    let read = |answer: Value| refused_of(answer.to_string().as_bytes(), &documents);
    assert_eq!(read(json!({ "responseHeader": { "status": 0 } })), Ok(vec![]));
    let error = json!({ "type": "ADD", "id": "a/1/2-5", "message": "so" });
    let answer = json!({ "responseHeader": { "status": 0, "errors": [error] } });
    assert_eq!(read(answer), Ok(vec![(5, "refused", "so".to_owned())]));
    let error = json!({ "type": "ADD", "id": "else", "message": "so" });
    let answer = json!({ "responseHeader": { "status": 0, "errors": [error] } });
    assert!(read(answer).unwrap_err().contains("another document"));
    assert!(read(json!({ "status": "ok" })).unwrap_err().contains("no success"));
    assert!(refused_of(b"<html>", &documents).unwrap_err().contains("no JSON"));
}

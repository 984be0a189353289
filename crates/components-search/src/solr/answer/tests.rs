//! Answers of one request, without a server.

use pipeline::{Classify, ErrorClass};
use serde_json::json;

use super::*;
use crate::events::tests::outgoing;

const SOON: Duration = Duration::from_secs(1);

fn node() -> Arc<str> {
    "http://solr-1:8983/solr".into()
}

fn refused(status: u16, text: &str) -> SearchError {
    let status = StatusCode::from_u16(status).unwrap();
    let (text, is_of_solr) = (text.to_owned(), status == StatusCode::BAD_REQUEST);
    SearchError::Status { url: node(), status, text, is_of_solr, retry_after: None }
}

fn after(sent: Result<Bytes, SearchError>, took: Duration) -> Result<Next, SearchError> {
    next(&node(), sent, took, &[outgoing(0, 1), outgoing(1, 1)], "logs")
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

#[test]
fn a_success_counts_while_it_is_sooner_than_any_time_out_of_solr() {
    let success = || Ok(r#"{"responseHeader":{"status":0}}"#.into());
    assert!(matches!(after(success(), LATE - Duration::from_millis(1)), Ok(Next::Written(_))));
    let Ok(Next::Halves(Alone::Again(late))) = after(success(), LATE) else { panic!("late") };
    assert_eq!(late.class(), ErrorClass::Indeterminate);
    assert!(late.to_string().contains("took 10.0s for one document"), "{late}");
}

#[test]
fn what_one_document_may_be_the_reason_for_is_halved() {
    let (size, value) =
        (after(Err(refused(413, "big")), SOON), after(Err(refused(400, "n")), SOON));
    assert!(matches!(size, Ok(Next::Halves(Alone::Never("too_large", _)))), "{size:?}");
    assert!(matches!(value, Ok(Next::Halves(Alone::Never("refused", _)))), "{value:?}");
}

#[test]
fn what_needs_a_hand_names_the_setting_and_both_causes() {
    let login = SearchError::NoLogin { url: node(), text: "so".into() };
    for (error, expected) in [
        (login, &["`user` and `password`", "`secret_headers`", "so"][..]),
        (refused(403, "so"), &["the permission `update`", "`security.json`", "`logs`", "so"]),
        (
            refused(404, "so"),
            &["create it", "change `collection`", "could not start it, and its log says why"],
        ),
    ] {
        let error = after(Err(error), SOON).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Blocked, "{error}");
        let text = error.to_string();
        assert!(expected.iter().all(|it| text.contains(it)), "{text}");
    }
    let busy = after(Err(refused(503, "so")), SOON).unwrap_err();
    assert_eq!(busy.class(), ErrorClass::Transient);
}

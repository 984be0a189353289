//! Responses to one request, without a server.

use pipeline::{Classify, ErrorClass};
use serde_json::{Value, json};

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

/// Interprets a response with this header, for documents at the indexes 3 and 5.
fn read(head: &Value) -> Result<Vec<Never>, String> {
    let answer = json!({ "responseHeader": head }).to_string();
    match written(&node(), answer.as_bytes(), SOON, &[outgoing(3, 1), outgoing(5, 1)]) {
        Ok(Next::Written(never)) => Ok(never),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn names_documents_skipped_by_a_tolerant_chain_and_rejects_other_errors() {
    assert_eq!(read(&json!({ "status": 0 })), Ok(vec![]));
    let error = json!({ "type": "ADD", "id": "a/1/2-5", "message": "so" });
    let found = read(&json!({ "status": 0, "errors": [error] }));
    assert_eq!(found, Ok(vec![(5, "refused", "so".to_owned())]));
    let error = json!({ "type": "ADD", "id": "else", "message": "so" });
    let other = read(&json!({ "status": 0, "errors": [error] })).unwrap_err();
    assert!(other.contains("that was not sent"), "{other}");
    assert!(read(&json!({ "status": 1 })).unwrap_err().contains("does not report success"));
    let html = after(Ok("<html>".into()), SOON).unwrap_err().to_string();
    assert!(html.contains("did not respond like Solr: not valid JSON"), "{html}");
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
fn a_late_success_of_a_cloud_proves_nothing_about_several_documents() {
    let head = |value: Value| serde_json::from_value::<Head>(value).unwrap();
    let cloud = |ms: u64| head(json!({ "status": 0, "rf": 2, "QTime": ms }));
    assert!(is_proof(&cloud(399), SOON, 2));
    assert!(!is_proof(&cloud(400), SOON, 2));
    assert!(is_proof(&cloud(400), SOON, 1));
    assert!(!is_proof(&head(json!({ "status": 0, "rf": 1 })), SOON, 2));
    assert!(is_proof(&head(json!({ "status": 0, "QTime": 400 })), SOON, 2), "a node alone");
}

#[test]
fn halves_a_request_that_one_document_may_have_failed() {
    let (size, value) =
        (after(Err(refused(413, "big")), SOON), after(Err(refused(400, "n")), SOON));
    assert!(matches!(size, Ok(Next::Halves(Alone::Never("too_large", _)))), "{size:?}");
    assert!(matches!(value, Ok(Next::Halves(Alone::Never("refused", _)))), "{value:?}");
}

#[test]
fn errors_for_an_operator_name_the_setting_and_both_causes() {
    let login = SearchError::NoLogin { url: node(), text: "so".into() };
    for (error, expected) in [
        (login, &["`user` and `password`", "`secret_headers.authorization`", "so"][..]),
        (refused(403, "so"), &["the permission `update`", "`security.json`", "`logs`", "so"]),
        (
            refused(404, "so"),
            &["create it", "change `collection`", "failed to load it: see its log"],
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

//! Requests of the bulk API, and the result of each document in their responses.
//!
//! ```text
//!   {"create":{"_index":"logs","_id":"origin/1/7-0"}}     one line of action and
//!   {"message":"…"}                                       one of the document, each ended by LF
//!
//!   201           created
//!   409           exists already: an earlier attempt wrote it, and its response was lost
//!   408 429 5xx   later: the whole batch is resent, and existing documents return 409
//!   401 403       nothing can be written to this index until its setup is fixed
//!   404           the index is missing and not created; same for 403 if a right is missing
//!   others        it can never be written
//! ```
//!
//! Source: the bulk API in the reference of Elasticsearch and OpenSearch.

use pipeline::ErrorClass;
use serde::Deserialize;
use serde_json::json;

use crate::client::Entries;
use crate::events::Outgoing;

/// Maximum length of a reason in messages.
const SHOWN_CHARS_MAX: usize = 300;

/// Requests only the status and error of each document in the response.
pub(crate) const FILTER: &str = "filter_path=errors,items.*.status,items.*.error";

impl Outgoing {
    /// Appends the two lines.
    pub(crate) fn append_to(&self, body: &mut Vec<u8>) {
        let action = match &self.id {
            Some(id) => json!({ "create": { "_index": self.index, "_id": id } }),
            None => json!({ "create": { "_index": self.index } }),
        };
        body.extend_from_slice(action.to_string().as_bytes());
        body.push(b'\n');
        body.extend_from_slice(&self.document);
        body.push(b'\n');
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    errors: bool,
    #[serde(default)]
    items: Entries<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    create: Status,
}

#[derive(Debug, Deserialize)]
struct Status {
    status: u16,
    #[serde(default)]
    error: Option<Box<Failure>>,
}

impl Status {
    fn has_error(&self, kind: &str) -> bool {
        self.error.as_ref().is_some_and(|error| error.kind.as_deref() == Some(kind))
    }
}

/// Why a document was not written.
#[derive(Debug, Deserialize)]
struct Failure {
    #[serde(rename = "type")]
    kind: Option<String>,
    reason: Option<String>,
    caused_by: Option<Box<Failure>>,
}

/// The results of the documents of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// All documents are written, except these, by their index in the request.
    Except {
        /// They can never be written.
        never: Vec<(usize, String)>,
        /// Their index does not exist, or does not accept them.
        no_index: Vec<(usize, String)>,
    },
    /// Some are not written, and a retry may help: the error class, and the reason.
    Again(ErrorClass, String),
}

/// Parses the response to a request with this many documents.
///
/// # Errors
/// It is not a response to this request, so the results are unknown.
pub(crate) fn written(answer: &[u8], documents: usize) -> Result<Written, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|error| format!("the response is not from the bulk API: {error}"))?;
    if !answer.errors {
        return Ok(Written::Except { never: Vec::new(), no_index: Vec::new() });
    }
    let Entries(items) = answer.items;
    if items.len() != documents {
        let items = items.len();
        return Err(format!("the response covers {items} documents, but {documents} were sent"));
    }
    let (mut never, mut no_index) = (Vec::new(), Vec::new());
    let mut again: Option<(ErrorClass, String)> = None;
    for (place, Item { create }) in items.iter().enumerate() {
        let class = match create.status {
            200..=299 | 409 => continue,
            408 | 429 | 500.. => ErrorClass::Transient,
            404 => {
                no_index.push((place, reason(create)));
                continue;
            }
            403 if create.has_error("security_exception") => {
                no_index.push((place, reason(create)));
                continue;
            }
            401 | 403 => ErrorClass::Blocked,
            _ => {
                never.push((place, reason(create)));
                continue;
            }
        };
        // Errors that need an operator take precedence over temporary ones.
        let is_worse = again.as_ref().is_none_or(|(worst, _)| *worst == ErrorClass::Transient);
        if is_worse {
            again = Some((class, reason(create)));
        }
    }
    Ok(match again {
        Some((class, said)) => Written::Again(class, said),
        None => Written::Except { never, no_index },
    })
}

/// Formats the reason of the engine, with its cause.
fn reason(of: &Status) -> String {
    let mut said = format!("{}", of.status);
    let mut error = &of.error;
    while let Some(Failure { kind: Some(kind), reason, caused_by }) = error.as_deref() {
        let reason = reason.as_deref().unwrap_or("no reason given");
        said = format!("{said}: {kind}: {reason}");
        error = caused_by;
    }
    let shown = said.chars().take(SHOWN_CHARS_MAX);
    shown.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::events::tests::outgoing;

    fn item(status: u16, kind: &str) -> Value {
        match status {
            201 => json!({ "create": { "status": 201 } }),
            _ => {
                json!({ "create": { "status": status, "error": { "type": kind, "reason": "so" } } })
            }
        }
    }

    fn read(items: &[Value]) -> Result<Written, String> {
        let answer = json!({ "errors": true, "items": items }).to_string();
        written(answer.as_bytes(), 3)
    }

    #[test]
    fn a_document_is_two_lines_and_its_size_is_not_underrated() {
        let document = outgoing(3, 7);
        let mut body = Vec::new();
        document.append_to(&mut body);
        let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
        let action: Value = serde_json::from_slice(lines[0]).unwrap();
        assert_eq!(action, json!({ "create": { "_index": "logs", "_id": "a/1/2-3" } }));
        assert_eq!(lines[1..], [&b"xxxxxxx"[..], b""]);
        assert!(document.size() >= body.len());
    }

    #[test]
    fn existing_documents_count_as_written_and_rejected_ones_are_named() {
        let conflict = item(409, "version_conflict_engine_exception");
        let poison = item(400, "mapper_parsing_exception");
        let except = |never, no_index| Ok(Written::Except { never, no_index });
        let never = vec![(2, "400: mapper_parsing_exception: so".to_owned())];
        assert_eq!(read(&[item(201, ""), conflict, poison]), except(never, vec![]));
        let all = json!({ "errors": false }).to_string();
        assert_eq!(written(all.as_bytes(), 3), except(vec![], vec![]));
        let (gone, right) =
            (item(404, "index_not_found_exception"), item(403, "security_exception"));
        let no_index = vec![
            (0, "404: index_not_found_exception: so".to_owned()),
            (1, "403: security_exception: so".to_owned()),
        ];
        assert_eq!(read(&[gone, right, item(201, "")]), except(vec![], no_index));
    }

    #[test]
    fn one_retriable_document_resends_the_batch_with_the_worst_reason() {
        let (busy, poison) = (item(429, "busy"), item(400, "mapper_parsing_exception"));
        let expected = Written::Again(ErrorClass::Transient, "429: busy: so".into());
        assert_eq!(read(&[busy.clone(), item(201, ""), poison]), Ok(expected));
        let blocked = item(403, "cluster_block_exception");
        let expected =
            Written::Again(ErrorClass::Blocked, "403: cluster_block_exception: so".into());
        assert_eq!(read(&[busy.clone(), blocked, busy]), Ok(expected));
    }

    #[test]
    fn an_unrelated_response_leaves_the_outcome_unknown() {
        assert!(read(&[item(409, "x")]).unwrap_err().contains("1 documents, but 3 were sent"));
        assert!(written(b"<html>", 1).unwrap_err().contains("not from the bulk API"));
    }
}

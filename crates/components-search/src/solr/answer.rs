//! Requests of Solr's update handler, and what follows from their answers (pure).
//!
//! ```text
//!   success, soon              all are there, but those that it names
//!   success, late              no proof: the documents are sent again, in halves
//!   400, 409 of Solr, 413      in halves, down to the one that is in the way
//!   401, 403, 404              named with the setting that helps
//! ```
//!
//! # What a success proves in a SolrCloud
//!
//! A node passes the documents of a request on to others in a stream for each. When such a stream
//! fails, the node waits for 500 ms (`retryPause` of `SolrCmdDistributor`), sends the *first*
//! document of that stream again, and says success for all. So a success for several documents
//! counts while it came sooner than that. What goes alone does not depend on it.
//!
//! And a leader says success also where it gave up a replica after a time-out: it takes the replica
//! for broken, and itself for the leader. Where one of them hung, that may be wrong by then: the
//! replica becomes the leader, and the document is dropped. So much takes one of Solr's own times
//! at least, and they are all longer than [`LATE`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use kit::http::shown;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::client::{Entries, SearchError};
use crate::events::{Never, Outgoing};

/// From when on a success is no proof. A leader gives up a replica that takes nothing for
/// `solr.cloud.client.stallTime`, 15 s unless set, `distribUpdateConnTimeout`, 60 s, or
/// `distribUpdateSoTimeout`, 600 s, and a node is the leader for `zkClientTimeout`, 30 s, after it
/// hung. This is below the shortest of them, and well above what an update of megabytes takes.
pub(super) const LATE: Duration = Duration::from_secs(10);

/// From when on a success for several documents is no proof in a SolrCloud: before a node sends
/// again what another one did not take, it waits for 500 ms.
pub(super) const SENT_AGAIN: Duration = Duration::from_millis(400);

/// An answer of Solr's update handler.
#[derive(Deserialize)]
struct Answer {
    #[serde(default, rename = "responseHeader")]
    head: Head,
}

/// The head of an answer.
#[derive(Default, Deserialize)]
struct Head {
    status: Option<i64>,
    /// Replicas that a node of a SolrCloud has reached.
    #[serde(rename = "rf")]
    replicas: Option<IgnoredAny>,
    #[serde(rename = "QTime")]
    took_ms: Option<u64>,
    errors: Option<Entries<Refused>>,
}

/// A document that a success leaves out.
#[derive(Debug, Deserialize)]
struct Refused {
    id: Option<String>,
    message: Option<String>,
}

/// What follows from an answer.
#[derive(Debug)]
pub(super) enum Next {
    /// All documents are there but these.
    Written(Vec<Never>),
    /// Each half of the documents goes by itself; one that is alone goes so.
    Halves(Alone),
}

/// What becomes of a document that is in the way, and alone.
#[derive(Debug)]
pub(super) enum Alone {
    /// It can never be written: the reason in snake case, and in words.
    Never(&'static str, String),
    /// It is sent again with its batch.
    Again(SearchError),
}

/// The array of documents.
pub(super) fn body(documents: &[Outgoing]) -> Bytes {
    let mut body = Vec::with_capacity(documents.iter().map(Outgoing::size).sum());
    for document in documents {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&document.document);
    }
    body.push(b']');
    body.into()
}

/// What follows from what a node answered, after this time, to a request with these documents.
///
/// # Errors
/// Nothing is known to be written, and the batch has to be sent again.
pub(super) fn next(
    node: &Arc<str>,
    sent: Result<Bytes, SearchError>,
    took: Duration,
    documents: &[Outgoing],
    collection: &str,
) -> Result<Next, SearchError> {
    let error = match sent {
        Ok(answer) => return written(node, &answer, took, documents),
        Err(error) => error,
    };
    match (error.is_too_large(), error.refusal()) {
        (true, _) => Ok(Next::Halves(Alone::Never("too_large", error.to_string()))),
        (false, Some(said)) => Ok(Next::Halves(Alone::Never("refused", said))),
        (false, None) => Err(about(error, collection)),
    }
}

/// What follows from a success.
///
/// # Errors
/// It is no answer of Solr.
fn written(
    node: &Arc<str>,
    answer: &[u8],
    took: Duration,
    documents: &[Outgoing],
) -> Result<Next, SearchError> {
    let foreign =
        |problem| SearchError::Foreign { engine: super::ENGINE, url: node.clone(), problem };
    let Answer { head } =
        serde_json::from_slice(answer).map_err(|error| foreign(format!("no JSON: {error}")))?;
    if head.status != Some(0) {
        return Err(foreign(format!("no success: {}", shown(answer))));
    }
    if !is_proof(&head, took, documents.len()) {
        let late = SearchError::Late { url: node.clone(), took };
        return Ok(Next::Halves(Alone::Again(late)));
    }
    Ok(Next::Written(refused_of(&head, documents).map_err(foreign)?))
}

/// Whether a success with this head, after this time, is one for each of so many documents.
fn is_proof(head: &Head, took: Duration, documents: usize) -> bool {
    // A node of a SolrCloud, and no other, says how many replicas were reached.
    let is_cloud = head.replicas.is_some();
    // The time within Solr, without that on the way.
    let within = head.took_ms.map_or(took, Duration::from_millis);
    took < LATE && (!is_cloud || documents == 1 || within < SENT_AGAIN)
}

/// The documents that a success leaves out: a chain of the collection with a
/// `TolerantUpdateProcessor` answers so, and names them.
///
/// # Errors
/// It is about something else.
fn refused_of(head: &Head, documents: &[Outgoing]) -> Result<Vec<Never>, String> {
    let errors = head.errors.as_ref().map_or(&[][..], |errors| &errors.0);
    let refused = errors.iter().map(|error| {
        let id = error.id.as_deref();
        let found = documents.iter().find(|it| id.is_some() && it.id.as_deref() == id);
        let found = found.ok_or_else(|| format!("an error about another document: {error:?}"))?;
        let said = error.message.as_deref().unwrap_or("no reason given");
        Ok((found.place, "refused", shown(said.as_bytes())))
    });
    refused.collect()
}

/// Says what to do where the collection is not there, or not to be written.
fn about(error: SearchError, collection: &str) -> SearchError {
    let collection = collection.to_owned();
    match error {
        SearchError::Status { url, status: StatusCode::NOT_FOUND, .. } => {
            SearchError::NoCollection { url, collection }
        }
        SearchError::Status { url, status: StatusCode::FORBIDDEN, text, .. } => {
            SearchError::NoRight { url, collection, text }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests;

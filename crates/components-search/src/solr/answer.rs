//! Requests of Solr's update handler, and the interpretation of their responses (pure).
//!
//! ```text
//!   success, in time           all are written, except those that it names
//!   success, late              no proof: the documents are resent, in halves
//!   400, 409 of Solr, 413      in halves, down to the document at fault
//!   401, 403, 404              reported with the setting that helps
//! ```
//!
//! # What a success proves in a SolrCloud
//!
//! A node forwards the documents of a request to other nodes, in one stream for each. If such a
//! stream fails, the node waits for 500 ms (`retryPause` of `SolrCmdDistributor`), resends the
//! *first* document of the stream, and reports success for all. So a success for several documents
//! is only reliable if it arrives earlier. For a single document this does not matter.
//!
//! A leader also reports success after it gave up a replica because of a timeout: it considers the
//! replica broken, and itself the leader. If one of them was hanging, this may be wrong by then:
//! the replica becomes the leader, and the document is lost. That takes at least one of Solr's own
//! timeouts, which are all longer than [`LATE`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use web::shown;

use crate::client::{Entries, SearchError};
use crate::events::{Never, Outgoing};

/// From this duration on, a success is no proof. A leader gives up a replica that accepts nothing
/// for `solr.cloud.client.stallTime` (15 s by default), `distribUpdateConnTimeout` (60 s), or
/// `distribUpdateSoTimeout` (600 s), and a hanging node remains leader for `zkClientTimeout` (30
/// s). This is below the shortest of them, and well above the duration of an update of megabytes.
pub(super) const LATE: Duration = Duration::from_secs(10);

/// From this duration on, a success for several documents is no proof in a SolrCloud: a node waits
/// for 500 ms before it resends documents that another node did not accept.
pub(super) const SENT_AGAIN: Duration = Duration::from_millis(400);

/// A response of Solr's update handler.
#[derive(Deserialize)]
struct Answer {
    #[serde(default, rename = "responseHeader")]
    head: Head,
}

/// The header of a response.
#[derive(Default, Deserialize)]
struct Head {
    status: Option<i64>,
    /// Replicas reached by a SolrCloud node.
    #[serde(rename = "rf")]
    replicas: Option<IgnoredAny>,
    #[serde(rename = "QTime")]
    took_ms: Option<u64>,
    errors: Option<Entries<Refused>>,
}

/// A document excluded from a success.
#[derive(Debug, Deserialize)]
struct Refused {
    id: Option<String>,
    message: Option<String>,
}

/// The next step after a response.
#[derive(Debug)]
pub(super) enum Next {
    /// All documents are written, except these.
    Written(Vec<Never>),
    /// Resend each half of the documents; a single document is handled as given.
    Halves(Alone),
}

/// How to handle the single document at fault.
#[derive(Debug)]
pub(super) enum Alone {
    /// It can never be written: the reason in snake case, and the message.
    Never(&'static str, String),
    /// Resend it with its batch.
    Again(SearchError),
}

/// Returns the JSON array of documents.
pub(super) fn body(documents: &[Outgoing]) -> Bytes {
    let mut body = Vec::with_capacity(documents.iter().map(Outgoing::size).sum());
    for document in documents {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&document.document);
    }
    body.push(b']');
    body.into()
}

/// Interprets a node's response, which took this long, to a request with these documents.
///
/// # Errors
/// The results are unknown, and the batch must be resent.
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

/// Interprets a success response.
///
/// # Errors
/// It is not a response of Solr.
fn written(
    node: &Arc<str>,
    answer: &[u8],
    took: Duration,
    documents: &[Outgoing],
) -> Result<Next, SearchError> {
    let foreign =
        |problem| SearchError::Foreign { engine: super::ENGINE.name, url: node.clone(), problem };
    let Answer { head } = serde_json::from_slice(answer)
        .map_err(|error| foreign(format!("not valid JSON: {error}")))?;
    if head.status != Some(0) {
        return Err(foreign(format!("it does not report success: {}", shown(answer))));
    }
    if !is_proof(&head, took, documents.len()) {
        let late = SearchError::Late { url: node.clone(), took };
        return Ok(Next::Halves(Alone::Again(late)));
    }
    Ok(Next::Written(refused_of(&head, documents).map_err(foreign)?))
}

/// Returns whether a success after this duration proves that each of the documents is written.
fn is_proof(head: &Head, took: Duration, documents: usize) -> bool {
    // Only SolrCloud nodes report the number of replicas reached.
    let is_cloud = head.replicas.is_some();
    // The time within Solr, without the network.
    let within = head.took_ms.map_or(took, Duration::from_millis);
    took < LATE && (!is_cloud || documents == 1 || within < SENT_AGAIN)
}

/// Returns the documents excluded from a success. Collections with a `TolerantUpdateProcessor` list
/// them in the response.
///
/// # Errors
/// An error concerns something else.
fn refused_of(head: &Head, documents: &[Outgoing]) -> Result<Vec<Never>, String> {
    let errors = head.errors.as_ref().map_or(&[][..], |errors| &errors.0);
    let refused = errors.iter().map(|error| {
        let id = error.id.as_deref();
        let found = documents.iter().find(|it| id.is_some() && it.id.as_deref() == id);
        let found = found.ok_or_else(|| {
            format!("it reports an error for a document that was not sent: {error:?}")
        })?;
        let said = error.message.as_deref().unwrap_or("no reason given");
        Ok((found.place, "refused", shown(said.as_bytes())))
    });
    refused.collect()
}

/// Adds a hint if the collection does not exist or is not writable.
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

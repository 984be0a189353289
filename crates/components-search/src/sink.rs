//! `elasticsearch`: writes each event as a document to Elasticsearch or OpenSearch, with the bulk
//! API.
//!
//! ```text
//!   batch ──► documents ──► POST /_bulk, as many as `request_bytes_max` allows, in turn
//!               │ cannot be converted:          │ item rejected permanently,
//!               └──────────► dead letters ◄─────┘ or the event's index is
//!                                                 missing for `destination_wait`
//! ```
//!
//! The id of a document consists of the sink's name, the identity of its batch and its index. It is
//! written with `create`, which never replaces a document. So a batch that is resent after a lost
//! response finds its documents, and each exists once.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::Method;
use pipeline::deliver::{Deliver, Delivered, Destinations, Requests, UNKNOWN_DESTINATION};
use pipeline::{
    Batch, BuildContext, BuildError, Component, DedupeScope, Guarantee, Sink, SinkBoard,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use web::shown;

use crate::bulk::{FILTER, Written, written};
use crate::client::{Client, SearchError};
use crate::document::{BodyForm, Fields};
use crate::events::{Never, Outgoing, Routes, delivered, fitting};
use crate::index::Kind;
use crate::setup::{Engine, Shared};

const ENGINE: Engine = Engine {
    name: "Elasticsearch or OpenSearch",
    kind: Kind::Index,
    example: "http://search-1:9200",
    content_type: "application/x-ndjson",
};

/// Settings of the `elasticsearch` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Nodes of one cluster: `["http://search-1:9200"]`, or `https://` for TLS. If a node does not
    /// respond, the next one is tried.
    urls: Vec<String>,
    /// Name of the index, with escapes: `%{header}`, `%Y %m %d %H` of the event's time in UTC, and
    /// `%G %V` for year and week. Also an alias or a data stream.
    index: String,
    /// Settings of all search engines.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shared: Shared,
    /// Field of the document for the time of `time_header`. `""`: no field. An existing field of a
    /// document is kept.
    #[serde(default = "defaults::time_field")]
    time_field: String,
    /// Field of the document for the headers. `""`: no field.
    #[serde(default = "defaults::headers_field")]
    headers_field: String,
    /// Use of the body: `json`, the document; `text`, its field `message`; `auto`, one of both,
    /// depending on the body.
    #[serde(default)]
    body: BodyForm,
    /// Ingest pipeline of the documents. Default: none.
    #[serde(default)]
    pipeline: Option<String>,
}

mod defaults {
    pub(super) fn time_field() -> String {
        "@timestamp".into()
    }

    pub(super) fn headers_field() -> String {
        "headers".into()
    }
}

impl Component for Config {
    const KIND: &'static str = "elasticsearch";
    const LETTERS: &[&str] =
        &["unwritable_event", "no_time", "too_large", "refused", "unknown_destination"];
    const EXAMPLE: &str = "urls = [\"http://127.0.0.1:9200\"]\n\
        index = \"a\"";
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let parts = self.shared.parts(ENGINE, &self.urls, &self.index, cx)?;
        let mut path = format!("/_bulk?{FILTER}");
        if let Some(pipeline) = &self.pipeline {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if pipeline.is_empty() || !pipeline.chars().all(is_plain) {
                let problem = "must be the name of an ingest pipeline: use letters, digits, `-`, \
                               `_` and `.`";
                return Err(BuildError::invalid("pipeline", problem));
            }
            path = format!("{path}&pipeline={pipeline}");
        }
        let search = Search {
            client: parts.client,
            path,
            scope: parts.scope,
            routes: parts.routes,
            fields: Fields { body: self.body, headers: self.headers_field, time: self.time_field },
            request_bytes_max: parts.request_bytes_max,
            destinations: parts.destinations,
            board: SinkBoard::default(),
        };
        Ok(Box::new(Requests::new(search, parts.options)))
    }
}

struct Search {
    client: Client,
    /// Path of the bulk API.
    path: String,
    scope: String,
    routes: Routes,
    fields: Fields,
    request_bytes_max: usize,
    destinations: Destinations,
    board: SinkBoard,
}

impl Search {
    fn documents(&self, batch: &Batch) -> (Vec<Outgoing>, Vec<Never>) {
        self.routes.documents(batch, |event, time, _| self.fields.document(event, time))
    }

    /// Records which indexes of a request accept documents. Events for the others become dead
    /// letters when their wait is over.
    ///
    /// # Errors
    /// The batch waits for an index.
    fn without_index(
        &self,
        documents: &[Outgoing],
        no_index: Vec<(usize, String)>,
        never: &mut Vec<Never>,
    ) -> Result<(), SearchError> {
        let is_chosen = self.routes.index.is_chosen_by_event();
        let refused: BTreeSet<&str> =
            no_index.iter().map(|(at, _)| &*documents[*at].index).collect();
        if is_chosen {
            let all: BTreeSet<&str> = documents.iter().map(|it| &*it.index).collect();
            all.difference(&refused).for_each(|index| self.destinations.accepted(index));
        }
        let now = Instant::now();
        let overdue: BTreeSet<&str> = refused
            .into_iter()
            .filter(|index| is_chosen && self.destinations.refused(index, now))
            .collect();
        let mut waits = None;
        for (at, said) in no_index {
            match overdue.contains(&*documents[at].index) {
                true => never.push((documents[at].place, UNKNOWN_DESTINATION, said)),
                false => {
                    let index = documents[at].index.clone();
                    waits.get_or_insert(SearchError::NoIndex { index, said });
                }
            }
        }
        waits.map_or(Ok(()), Err)
    }

    /// Writes documents in one request, or in several if it is too large for the cluster.
    async fn write(
        &self,
        documents: &[Outgoing],
        never: &mut Vec<Never>,
    ) -> Result<(), SearchError> {
        let mut parts = vec![documents];
        while let Some(part) = parts.pop() {
            let mut body = Vec::with_capacity(part.iter().map(Outgoing::size).sum());
            part.iter().for_each(|document| document.append_to(&mut body));
            let sent = self.client.send(Method::POST, &self.path, (body.into(), part.len())).await;
            self.board.set_peer(Some(self.client.node().to_string()));
            let answer = match sent {
                Ok(answer) => answer,
                Err(error) if error.is_too_large() => {
                    match part {
                        [one] => never.push((one.place, "too_large", error.to_string())),
                        _ => {
                            let (first, second) = part.split_at(part.len() / 2);
                            parts.extend([second, first]);
                        }
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            match written(&answer, part.len()) {
                Ok(Written::Except { never: refused, no_index }) => {
                    never.extend(
                        refused.into_iter().map(|(at, said)| (part[at].place, "refused", said)),
                    );
                    self.without_index(part, no_index, never)?;
                }
                Ok(Written::Again(class, said)) => return Err(SearchError::Again { class, said }),
                Err(problem) => return Err(self.client.foreign(problem)),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Deliver for Search {
    type Error = SearchError;

    async fn probe(&self) -> Result<Option<String>, SearchError> {
        let answer = self.client.send(Method::GET, "/", (Bytes::new(), 0)).await?;
        let about: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let url = self.client.node();
        let Some(number) = about["version"]["number"].as_str() else {
            return Err(self.client.foreign(shown(&answer)));
        };
        let engine = about["version"]["distribution"].as_str().unwrap_or("elasticsearch");
        Ok(Some(format!("{engine} {number} at {url}")))
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, SearchError> {
        let (documents, mut never) = self.documents(batch);
        let mut rest = &documents[..];
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(fitting(rest, self.request_bytes_max));
            self.write(part, &mut never).await?;
            rest = behind;
        }
        Ok(delivered(never))
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn dedupe_scope(&self) -> DedupeScope {
        DedupeScope::Dataset(self.scope.clone())
    }

    fn status(&self) -> Option<&SinkBoard> {
        Some(&self.board)
    }
}

#[cfg(test)]
mod tests;

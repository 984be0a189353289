//! `solr`: writes each event as a document to Apache Solr, with its update handler.
//!
//! ```text
//!   batch ──► documents ──► POST /COLLECTION/update, of `request_bytes_max` each, in turn
//!               │ cannot be converted:          │ 400: the request is halved, down to the one
//!               └──────────► dead letters ◄─────┘ that Solr rejects
//!                                  ▲ 403, 404 for `destination_wait`, if the event chooses the
//!                                  └ collection
//! ```
//!
//! The key of a document consists of the sink's name, the identity of its batch and its index. Solr
//! replaces a document with the same key. So if a batch is resent after a lost response, or a
//! request is halved, each document still exists once.
//!
//! Solr stops a request at the first rejected document, and keeps the earlier ones. [`answer`]
//! interprets the responses.

mod answer;
mod pace;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use pipeline::deliver::{Deliver, Delivered, Destinations, Requests, UNKNOWN_DESTINATION};
use pipeline::env::Env;
use pipeline::units::Period;
use pipeline::{
    Batch, BuildContext, BuildError, Component, DedupeScope, Guarantee, Sink, SinkBoard,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::client::{Client, SearchError};
use crate::document::BodyForm;
use crate::events::{Never, Outgoing, Routes, delivered, fitting};
use crate::flat::FlatFields;
use crate::index::Kind;
use crate::setup::{Engine, Shared};
use answer::{Alone, LATE, Next, body, next};
use pace::Pace;
use web::shown;

const ENGINE: Engine = Engine {
    name: "Solr",
    kind: Kind::Collection,
    example: "http://solr-1:8983/solr",
    content_type: "application/json",
};

/// Settings of the `solr` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Nodes of one standalone Solr or SolrCloud: `["http://solr-1:8983/solr"]`, or `https://` for
    /// TLS. If a node does not respond, the next one is tried.
    urls: Vec<String>,
    /// Name of the collection or core, with escapes: `%{header}`, `%Y %m %d %H` of the event's time
    /// in UTC, and `%G %V` for year and week. Also an alias.
    collection: String,
    /// Unique key field of the collection's schema.
    #[serde(default = "defaults::id_field")]
    id_field: String,
    /// Time until a document becomes visible in searches. Default: the commits of the collection's
    /// configuration.
    #[serde(default)]
    commit_within: Option<Period>,
    /// Settings of all search engines.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shared: Shared,
    /// Field for the time of `time_header`. `""`: no field. An existing field of a document is
    /// kept.
    #[serde(default = "defaults::time_field")]
    time_field: String,
    /// Field for each header, whose name replaces `*`. `""`: no fields.
    #[serde(default = "defaults::headers_field")]
    headers_field: String,
    /// Field for a body that is text.
    #[serde(default = "defaults::message_field")]
    message_field: String,
    /// Use of the body: `json`, the document; `text`, the field `message_field`; `auto`, one of
    /// both, depending on the body.
    #[serde(default)]
    body: BodyForm,
}

mod defaults {
    pub(super) fn id_field() -> String {
        "id".into()
    }

    pub(super) fn time_field() -> String {
        "time_dt".into()
    }

    pub(super) fn headers_field() -> String {
        "header_*_s".into()
    }

    pub(super) fn message_field() -> String {
        "message_t".into()
    }
}

impl Config {
    fn fields(&self) -> Result<FlatFields, BuildError> {
        for (setting, value) in
            [("id_field", &self.id_field), ("message_field", &self.message_field)]
        {
            if value.is_empty() {
                return Err(BuildError::invalid(
                    setting,
                    "must not be empty: set the name of a field of the schema",
                ));
            }
        }
        let headers = match self.headers_field.split_once('*') {
            _ if self.headers_field.is_empty() => None,
            Some((before, after)) => Some((before.to_owned(), after.to_owned())),
            None => {
                let problem = "must contain `*`, which is replaced by the name of a header: write \
                               for example `header_*_s`";
                return Err(BuildError::invalid("headers_field", problem));
            }
        };
        let (id, time, message) =
            (self.id_field.clone(), self.time_field.clone(), self.message_field.clone());
        Ok(FlatFields { body: self.body, id, time, message, headers })
    }
}

impl Component for Config {
    const KIND: &'static str = "solr";
    const LETTERS: &[&str] =
        &["unwritable_event", "no_time", "too_large", "refused", "unknown_destination"];
    const EXAMPLE: &str = "urls = [\"http://127.0.0.1:8983/solr\"]\n\
        collection = \"a\"";
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let fields = self.fields()?;
        let parts = self.shared.parts(ENGINE, &self.urls, &self.collection, cx)?;
        let within = self.commit_within.map(|it| format!("&commitWithin={}", it.0.as_millis()));
        let solr = Solr {
            client: parts.client,
            query: format!("wt=json&overwrite=true{}", within.unwrap_or_default()),
            scope: parts.scope,
            routes: parts.routes,
            fields,
            env: cx.env.clone(),
            request_bytes_max: parts.request_bytes_max,
            pace: Pace::new(),
            destinations: parts.destinations,
            board: SinkBoard::default(),
        };
        Ok(Box::new(Requests::new(solr, parts.options)))
    }
}

struct Solr {
    client: Client,
    /// Query parameters of each update.
    query: String,
    scope: String,
    routes: Routes,
    fields: FlatFields,
    env: Env,
    request_bytes_max: usize,
    pace: Pace,
    destinations: Destinations,
    board: SinkBoard,
}

impl Solr {
    /// Returns the documents of a batch by collection, and the events that cannot be converted.
    fn documents(&self, batch: &Batch) -> (BTreeMap<String, Vec<Outgoing>>, Vec<Never>) {
        // Solr assigns no ids: a batch without an identity gets a random one.
        let fresh = u128::from_be_bytes(self.env.entropy.bytes16());
        let (documents, never) = self.routes.documents(batch, |event, time, id| match id {
            Some(id) => self.fields.document(event, time, id),
            None => {
                let id = format!("{}/{fresh:032x}-{}", self.routes.name, event.index());
                self.fields.document(event, time, &id)
            }
        });
        let mut collections: BTreeMap<String, Vec<Outgoing>> = BTreeMap::new();
        for document in documents {
            collections.entry(document.index.clone()).or_default().push(document);
        }
        (collections, never)
    }

    /// Writes documents of one collection: in one request, or in halves while Solr rejects a
    /// document or responds late.
    async fn write(
        &self,
        collection: &str,
        documents: &[Outgoing],
        never: &mut Vec<Never>,
    ) -> Result<(), SearchError> {
        let path = format!("/{collection}/update?{}", self.query);
        let mut parts = vec![documents];
        while let Some(part) = parts.pop() {
            let (node, began) = (self.client.node().clone(), Instant::now());
            let sent = self.client.send(Method::POST, &path, (body(part), part.len())).await;
            self.board.set_peer(Some(self.client.node().to_string()));
            let took = began.elapsed();
            match (next(&node, sent, took, part, collection)?, part) {
                (Next::Written(refused), _) => {
                    self.pace.written(part.len(), took);
                    never.extend(refused);
                }
                (Next::Halves(Alone::Never(reason, said)), [one]) => {
                    never.push((one.place, reason, said));
                }
                (Next::Halves(Alone::Again(error)), [_]) => return Err(error),
                (Next::Halves(alone), _) => {
                    if let Alone::Again(_) = alone {
                        self.is_late(&node, collection, part.len(), took);
                    }
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(())
    }

    /// Writes all documents of one collection, in requests of the size that the node accepts.
    async fn write_all(
        &self,
        collection: &str,
        mut rest: &[Outgoing],
        never: &mut Vec<Never>,
    ) -> Result<(), SearchError> {
        while !rest.is_empty() {
            let documents = fitting(rest, self.request_bytes_max);
            let (part, behind) = rest.split_at(documents.min(self.pace.documents_max()));
            self.write(collection, part, never).await?;
            rest = behind;
        }
        Ok(())
    }

    /// Reports that documents are resent because a success response was late.
    fn is_late(&self, node: &str, collection: &str, documents: usize, took: Duration) {
        self.pace.late(documents);
        let again = "the response was too late to prove that all replicas have the documents; \
                     resending them in halves; check for a hanging or overloaded node";
        match took < LATE {
            true => debug!(node, collection, documents, ?took, "{again}"),
            false => warn!(node, collection, documents, ?took, "{again}"),
        }
    }
}

#[async_trait]
impl Deliver for Solr {
    type Error = SearchError;

    async fn probe(&self) -> Result<Option<String>, SearchError> {
        let path = "/admin/info/system?wt=json";
        let sent = self.client.send(Method::GET, path, (Bytes::new(), 0)).await;
        let url = self.client.node();
        let answer = match sent {
            Ok(answer) => answer,
            // A login that may write need not have the right to inspect the node.
            Err(SearchError::Status { status: StatusCode::FORBIDDEN, .. }) => {
                return Ok(Some(format!("Solr at {url}")));
            }
            Err(error) => return Err(error),
        };
        let about: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let Some(number) = about["lucene"]["solr-spec-version"].as_str() else {
            return Err(self.client.foreign(shown(&answer)));
        };
        Ok(Some(format!("Solr {number} at {url}")))
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, SearchError> {
        let (collections, mut never) = self.documents(batch);
        let is_chosen = self.routes.index.is_chosen_by_event();
        let mut waits = None;
        for (collection, documents) in &collections {
            match self.write_all(collection, documents, &mut never).await {
                Ok(()) if is_chosen => self.destinations.accepted(collection),
                Ok(()) => {}
                Err(error) if is_chosen && error.is_of_collection() => {
                    if self.destinations.refused(collection, Instant::now()) {
                        let refused =
                            |it: &Outgoing| (it.place, UNKNOWN_DESTINATION, error.to_string());
                        never.retain(|(place, ..)| documents.iter().all(|it| it.place != *place));
                        never.extend(documents.iter().map(refused));
                    } else {
                        waits.get_or_insert(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // Documents of other collections are written; when resent, they replace themselves.
        waits.map_or_else(|| Ok(delivered(never)), Err)
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

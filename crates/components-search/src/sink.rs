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

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use hyper::Method;
use kit::http::shown;
use pipeline::deliver::{Deliver, Delivered, Destinations, Options, Requests, UNKNOWN_DESTINATION};
use pipeline::units::{ByteSize, Period};
use pipeline::{
    Batch, BuildContext, BuildError, Component, DedupeScope, Guarantee, Secret, Sink, SinkBoard,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tls::ClientTls;
use tls::http::Connector;
use tokio::time::Instant;

use crate::bulk::{FILTER, Written, written};
use crate::client::{Client, SearchError};
use crate::document::{BodyForm, Fields};
use crate::events::{Never, Outgoing, Routes, delivered, fitting};
use crate::index::{IndexName, Kind};
use crate::setup;

/// The kind of the nodes.
const ENGINE: &str = "Elasticsearch or OpenSearch";

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
    /// Header with the time of the event, in milliseconds since 1970.
    #[serde(default = "setup::defaults::time_header")]
    time_header: String,
    /// Field of the document for that time. `""`: no field. An existing field of a document is
    /// kept.
    #[serde(default = "defaults::time_field")]
    time_field: String,
    /// Field of the document for the headers. `""`: no field.
    #[serde(default = "defaults::headers_field")]
    headers_field: String,
    /// Prefix of document ids. Give the same name to sinks that may receive the same batches for
    /// the same index, and different names to the sinks of two channels between which a selector
    /// splits a batch. Default: the name of the sink.
    #[serde(default)]
    name: Option<String>,
    /// Use of the body: `json`, the document; `text`, its field `message`; `auto`, one of both,
    /// depending on the body.
    #[serde(default)]
    body: BodyForm,
    /// Ingest pipeline of the documents. Default: none.
    #[serde(default)]
    pipeline: Option<String>,
    /// User of the login. Default: none.
    #[serde(default)]
    user: Option<String>,
    /// Password of the user.
    #[serde(default)]
    password: Option<Secret>,
    /// Further headers of each request, whose values are never shown, such as `authorization` with
    /// an API key: `"ApiKey …"`.
    #[serde(default)]
    secret_headers: BTreeMap<String, Secret>,
    /// TLS of URLs that begin with `https://`. Default: the certificate authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
    /// Size limit of a request. A larger batch needs several requests.
    #[serde(default = "setup::defaults::request_bytes_max")]
    request_bytes_max: ByteSize,
    /// Limit of batches in flight.
    #[serde(default = "setup::defaults::in_flight_max")]
    in_flight_max: usize,
    /// Timeout of a batch, including the connection.
    #[serde(default = "setup::defaults::timeout")]
    timeout: Period,
    /// Time that events wait for an index, selected by a header or their time, that does not exist
    /// or does not accept them. Then they become dead letters. Events wait without a limit for an
    /// index that does not depend on them.
    #[serde(default = "pipeline::deliver::destination_wait")]
    destination_wait: Period,
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
        if self.in_flight_max == 0 {
            return Err(BuildError::invalid("in_flight_max", "must be at least 1"));
        }
        let index = IndexName::new(Kind::Index, &self.index)
            .map_err(|it| BuildError::invalid("index", it))?;
        if index.has_time() && self.time_header.is_empty() {
            let problem =
                "must name the header with the time, because the name of the index contains a time";
            return Err(BuildError::invalid("time_header", problem));
        }
        let urls = setup::nodes(&self.urls, self.tls.as_ref(), "http://search-1:9200", cx)?;
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
        let name = setup::name(self.name, cx)?;
        // For all that is known here, another node may belong to another cluster.
        let scope = format!("{name} in {} of {}", self.index, urls.join(", "));
        let connector = Connector::new(self.tls.clone(), &cx.env)?;
        let options =
            Options { in_flight_max: self.in_flight_max, in_order: false, timeout: self.timeout.0 };
        let (user, password, secret) = (self.user, self.password, &self.secret_headers);
        let headers = setup::headers("application/x-ndjson", user, password, secret)?;
        let client = Client::new(ENGINE, &connector, urls, headers);
        let search = Search {
            client,
            path,
            scope,
            routes: Routes { name, index, time_header: self.time_header },
            fields: Fields { body: self.body, headers: self.headers_field, time: self.time_field },
            request_bytes_max: usize::try_from(self.request_bytes_max.0).unwrap_or(usize::MAX),
            destinations: Destinations::new(self.destination_wait),
            board: SinkBoard::default(),
        };
        Ok(Box::new(Requests::new(search, options)))
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

//! `elasticsearch`: each event is a document of Elasticsearch or OpenSearch, by the bulk API.
//!
//! ```text
//!   batch ──► documents ──► POST /_bulk, as many as `request_bytes_max` allows, in turn
//!               │ none can be made:             │ item refused for good:
//!               └──────────► dead letters ◄─────┘
//! ```
//!
//! The id of a document is the sink's name, the identity of its batch and its place in it. It is
//! written by `create`, which never replaces one. So a batch that is sent again, because an answer
//! was lost, finds its documents, and each is there once.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use components::sinks::http::add_headers;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use pipeline::deliver::{Deliver, Delivered, Options, Requests};
use pipeline::secret::login;
use pipeline::units::{ByteSize, Period};
use pipeline::{
    Batch, BuildContext, BuildError, Component, DedupeScope, EventRef, Guarantee, Secret, Sink,
    SinkBoard,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tls::ClientTls;
use tls::http::Connector;

use crate::bulk::{FILTER, Outgoing, Written, fitting, written};
use crate::client::{Client, SearchError};
use crate::document::{BodyForm, Fields};
use crate::index::{IndexName, Refused};

/// Bytes of a name that ids begin with, at most: an id has 512.
const NAME_BYTES_MAX: usize = 128;

/// Settings of the `elasticsearch` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Nodes of one cluster: `["http://search-1:9200"]`, or `https://` for TLS. Where one does not
    /// answer, the next one is asked.
    urls: Vec<String>,
    /// Name of the index, with escapes: `%{header}`, and of the event's time in UTC `%Y %m %d %H`,
    /// and `%G %V` for year and week. Also an alias or a data stream.
    index: String,
    /// Header with the event's time, in milliseconds since 1970.
    #[serde(default = "defaults::time_header")]
    time_header: String,
    /// Field of the document that holds that time. `""` for none. A document that has such a field
    /// keeps its own.
    #[serde(default = "defaults::time_field")]
    time_field: String,
    /// Field of the document that holds the headers. `""` for none.
    #[serde(default = "defaults::headers_field")]
    headers_field: String,
    /// What ids of documents begin with. Sinks that may get the same batches for the same index
    /// have the same name, and sinks of two channels that a selector splits a batch over have
    /// different ones. The sink's own name unless set.
    #[serde(default)]
    name: Option<String>,
    /// What the body becomes: `json`, the document; `text`, its field `message`; `auto`, the one or
    /// the other by what it is.
    #[serde(default)]
    body: BodyForm,
    /// Name of an ingest pipeline that documents pass. None unless set.
    #[serde(default)]
    pipeline: Option<String>,
    /// User of the login. None unless set.
    #[serde(default)]
    user: Option<String>,
    /// Password of the user.
    #[serde(default)]
    password: Option<Secret>,
    /// Further headers of each request, whose values are never shown, such as `authorization` with
    /// an API key: `"ApiKey …"`.
    #[serde(default)]
    secret_headers: BTreeMap<String, Secret>,
    /// TLS of URLs that begin with `https://`. Unless set: the authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
    /// Bytes of a request at most; a larger batch takes several.
    #[serde(default = "defaults::request_bytes_max")]
    request_bytes_max: ByteSize,
    /// Batches in flight at most.
    #[serde(default = "defaults::in_flight_max")]
    in_flight_max: usize,
    /// How long a batch may take, connecting included.
    #[serde(default = "defaults::timeout")]
    timeout: Period,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(super) fn time_header() -> String {
        "timestamp".into()
    }

    pub(super) fn time_field() -> String {
        "@timestamp".into()
    }

    pub(super) fn headers_field() -> String {
        "headers".into()
    }

    pub(super) fn request_bytes_max() -> ByteSize {
        ByteSize(8 << 20)
    }

    pub(super) fn in_flight_max() -> usize {
        2
    }

    pub(super) fn timeout() -> Period {
        Period(Duration::from_secs(60))
    }
}

impl Component for Config {
    const KIND: &'static str = "elasticsearch";
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        if self.in_flight_max == 0 {
            return Err(BuildError::invalid("in_flight_max", "at least 1"));
        }
        let index = IndexName::new(&self.index).map_err(|it| BuildError::invalid("index", it))?;
        if index.has_time() && self.time_header.is_empty() {
            let problem = "the name of the index has a time, which stands in a header; name it";
            return Err(BuildError::invalid("time_header", problem));
        }
        let urls = self.urls.iter().map(|url| node(url)).collect::<Result<Vec<_>, _>>()?;
        for url in urls.iter().filter(|url| url.starts_with("http://")) {
            cx.plain_text.speaks("urls", url, "write `https://`");
        }
        if urls.is_empty() {
            let problem = "at least one; write for example [\"http://search-1:9200\"]";
            return Err(BuildError::invalid("urls", problem));
        }
        if self.tls.is_some() && !urls.iter().any(|url| url.starts_with("https://")) {
            let problem = "no URL begins with `https://`: write that, or leave `tls` out";
            return Err(BuildError::invalid("tls", problem));
        }
        let mut path = format!("/_bulk?{FILTER}");
        if let Some(pipeline) = &self.pipeline {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if pipeline.is_empty() || !pipeline.chars().all(is_plain) {
                let problem = "the name of an ingest pipeline: letters, digits, `-`, `_` and `.`";
                return Err(BuildError::invalid("pipeline", problem));
            }
            path = format!("{path}&pipeline={pipeline}");
        }
        let name = self.name.unwrap_or_else(|| cx.name.to_string());
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let problem = format!("1 to {NAME_BYTES_MAX} bytes: it is the beginning of each id");
            return Err(BuildError::invalid("name", problem));
        }
        // Another node may be that of another cluster, as far as can be known here.
        let scope = format!("{name} in {} of {}", self.index, urls.join(", "));
        let connector = Connector::new(self.tls.clone(), &cx.env)?;
        let options =
            Options { in_flight_max: self.in_flight_max, in_order: false, timeout: self.timeout.0 };
        let client =
            Client::new(&connector, urls, headers(self.user, self.password, &self.secret_headers)?);
        let search = Search {
            client,
            path,
            name,
            scope,
            index,
            time_header: self.time_header,
            fields: Fields { body: self.body, headers: self.headers_field, time: self.time_field },
            request_bytes_max: usize::try_from(self.request_bytes_max.0).unwrap_or(usize::MAX),
            board: SinkBoard::default(),
        };
        Ok(Box::new(Requests::new(search, options)))
    }
}

/// The URL of a node, without a slash at the end.
fn node(url: &str) -> Result<Arc<str>, BuildError> {
    let invalid = |problem: String| Err(BuildError::invalid("urls", format!("`{url}`: {problem}")));
    let plain = url.trim_end_matches('/');
    let uri: Uri = match format!("{plain}/").parse() {
        Ok(uri) => uri,
        Err(error) => return invalid(format!("{error}; write for example `http://search-1:9200`")),
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return invalid("it has to begin with `http://` or `https://`".into());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return invalid("it holds a user, and would be shown; set `user` and `password`".into());
    }
    if uri.host().is_none_or(str::is_empty) {
        return invalid("it names no host".into());
    }
    if uri.query().is_some() {
        return invalid("it has a query, and paths are added to it".into());
    }
    Ok(plain.into())
}

/// The headers of each request.
fn headers(
    user: Option<String>,
    password: Option<Secret>,
    secret: &BTreeMap<String, Secret>,
) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let agent = concat!("aqueduct/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    add_headers(&mut headers, &BTreeMap::new(), secret)?;
    if let Some((user, password)) = login(user, password)? {
        if headers.contains_key(AUTHORIZATION) {
            let problem = "one way to log in: this header, or `user` and `password`";
            return Err(BuildError::invalid("secret_headers.authorization", problem));
        }
        let password = password.as_ref().map_or("", |it| it.expose().trim_end_matches('\n'));
        let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut value =
            HeaderValue::from_str(&text).map_err(|error| BuildError::invalid("user", error))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

struct Search {
    client: Client,
    /// Path of the bulk API.
    path: String,
    /// What each id begins with.
    name: String,
    scope: String,
    index: IndexName,
    time_header: String,
    fields: Fields,
    request_bytes_max: usize,
    board: SinkBoard,
}

/// An event that can never be written: its place, the reason in snake case, and in words.
type Never = (usize, &'static str, String);

impl Search {
    fn time_of(&self, event: EventRef<'_>) -> Option<Timestamp> {
        let ms = event.header(&self.time_header)?.trim().parse().ok()?;
        Timestamp::from_millisecond(ms).ok()
    }

    fn outgoing(&self, event: EventRef<'_>, id: Option<String>) -> Result<Outgoing, Never> {
        let (place, time) = (event.index(), self.time_of(event));
        let never = |reason, detail| (place, reason, detail);
        let index = self.index.of(event, time).map_err(|refused| match refused {
            Refused::WithoutTime => {
                let detail = format!(
                    "header `{}` is no time in milliseconds since 1970, and the name of the index \
                     has one; an interceptor such as `event_time` or `timestamp` sets it",
                    self.time_header
                );
                never("no_time", detail)
            }
            Refused::TooLong(bytes) => {
                never("unwritable_event", format!("the name of its index would have {bytes} bytes"))
            }
        })?;
        let document = self.fields.document(event, time);
        let document = document.map_err(|detail| never("unwritable_event", detail))?;
        Ok(Outgoing { place, index, id, document })
    }

    /// The documents of a batch, and what can be none.
    fn documents(&self, batch: &Batch) -> (Vec<Outgoing>, Vec<Never>) {
        let (mut documents, mut never) = (Vec::new(), Vec::new());
        for event in batch.iter() {
            let identity = batch.envelope.identity;
            let (name, place) = (&self.name, event.index());
            let id = identity.map(|identity| format!("{name}/{identity}-{place}"));
            match self.outgoing(event, id) {
                Ok(document) => documents.push(document),
                Err(refused) => never.push(refused),
            }
        }
        (documents, never)
    }

    /// Writes documents in one request, or in several where it is too large for the cluster.
    async fn write(
        &self,
        documents: &[Outgoing],
        never: &mut Vec<Never>,
    ) -> Result<(), SearchError> {
        let mut parts = vec![documents];
        while let Some(part) = parts.pop() {
            let mut body = Vec::with_capacity(part.iter().map(Outgoing::size).sum());
            part.iter().for_each(|document| document.append_to(&mut body));
            let sent = self.client.send(Method::POST, &self.path, body.into()).await;
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
                Ok(Written::Except(refused)) => never.extend(
                    refused.into_iter().map(|(at, said)| (part[at].place, "refused", said)),
                ),
                Ok(Written::Again(class, said)) => return Err(SearchError::Again { class, said }),
                Err(problem) => {
                    let url = self.client.node().clone();
                    return Err(SearchError::Foreign { url, problem });
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Deliver for Search {
    type Error = SearchError;

    async fn probe(&self) -> Result<Option<String>, SearchError> {
        let answer = self.client.send(Method::GET, "/", Bytes::new()).await?;
        let about: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let url = self.client.node();
        let Some(number) = about["version"]["number"].as_str() else {
            let problem = components::sinks::http::shown(&answer);
            return Err(SearchError::Foreign { url: url.clone(), problem });
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
        never.sort_unstable_by_key(|(place, ..)| *place);
        let Some((_, reason, detail)) = never.first().cloned() else { return Ok(Delivered::All) };
        let events = never.into_iter().map(|(place, ..)| place).collect();
        Ok(Delivered::Except { events, reason, detail })
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

//! `http_poll`: requests a list of events periodically.
//!
//! ```text
//!   interval ─► first page ─► next page … last page ─► the cursor moves
//!                   │ 304: nothing new      │
//!                   └──────► events ──► rounds ──► channels
//! ```
//!
//! A list may start with its newest or its oldest events. The cursor, which is the largest value in
//! a turn, is therefore stored with the last events of the turn. An interrupted turn is repeated,
//! and the ids tell which of its events are already stored.
//!
//! The list ends at a page whose next page is itself or an earlier page of the turn.

mod config;
mod items;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use hyper::{HeaderMap, Response, StatusCode, Uri};
use kit::follow::{CatchUp, Follow, Puts, Start};
use pipeline::{Env, Guarantee, SourceContext, SourceError};
use support::failure_log::seconds;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use crate::backoff::Backoff;
use crate::client::{Client, Failure, HttpError, shown_url, with_parameter};
use crate::progress::{Progress, StoredProgress, VALIDATOR_BYTES_MAX};
use crate::round::{Counts, DRAIN, ROUND_BYTES, Record, Round, advance};
pub use config::Config;
use config::Options;
use items::Page;

struct HttpPoll {
    name: Arc<str>,
    env: Env,
    options: Options,
    client: Client,
    counts: Counts,
    backoff: Backoff,
    /// Pause after the last failure.
    pause: Option<Duration>,
    progress: Option<Progress>,
    /// Whether a next page that is the same page was reported.
    has_warned: bool,
}

/// Results of a turn so far.
#[derive(Default)]
struct Found {
    round: Round,
    cursor: Option<String>,
    events: usize,
}

impl HttpPoll {
    /// Returns the URL of the first page of a turn.
    fn first_uri(&self) -> Uri {
        let cursor = self.progress.as_ref().and_then(|it| it.standing.cursor.as_deref());
        match (&self.options.resume, cursor) {
            (Some(name), Some(cursor)) => with_parameter(&self.client.uri, name, cursor),
            _ => self.client.uri.clone(),
        }
    }

    /// Requests the first page, unless it is unchanged.
    async fn begin(&mut self) -> Result<Response<Incoming>, HttpError> {
        let mut headers = HeaderMap::new();
        let standing = self.progress.as_ref().map(|it| &it.standing);
        let mut condition = |name: HeaderName, text: Option<&String>| {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.insert(name, value);
            }
        };
        condition(IF_NONE_MATCH, standing.and_then(|it| it.etag.as_ref()));
        condition(IF_MODIFIED_SINCE, standing.and_then(|it| it.modified.as_ref()));
        let uri = self.first_uri();
        self.client.get(&uri, &headers, true).await
    }

    /// Reads all pages of a turn; `None` if nothing has changed.
    async fn turn(
        &mut self,
        first: Response<Incoming>,
        puts: &mut Puts,
    ) -> Result<Option<usize>, HttpError> {
        if first.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let before = self.first_uri();
        let etag = validator(first.headers(), &ETAG);
        let modified = validator(first.headers(), &LAST_MODIFIED);
        let (mut found, mut response, mut uri) = (Found::default(), first, before.clone());
        let (mut read, mut previous) = (BTreeSet::new(), None);
        for page in 1.. {
            let (head, body) = response.into_parts();
            let bytes = self.client.body(body, self.options.page_max).await?;
            let unexpected =
                |problem| HttpError::from(Failure::Unexpected { url: shown_url(&uri), problem });
            let list = Page::read(&bytes, &self.options).map_err(unexpected)?;
            let next = list.next(&head.headers, &uri, &before, &self.options);
            let next = next.map_err(unexpected)?;
            read.insert(uri.to_string());
            let leads_back = next.as_ref().is_some_and(|next| read.contains(&next.to_string()));
            let digest = xxhash_rust::xxh3::xxh3_128(&bytes);
            let is_copy = previous.replace(digest) == Some(digest);
            if leads_back {
                self.warn_loop(list.target(), is_copy);
            }
            // A server that ignores the parameter of the next page returns the same page again.
            if !(leads_back && is_copy) {
                self.take(&list, &mut found, puts).await;
            }
            let Some(next) = next.filter(|_| !leads_back) else { break };
            if page >= self.options.pages_max {
                let problem = format!("the list has more than {page} pages; raise `pages_max`");
                return Err(unexpected(problem));
            }
            uri = next;
            response = self.client.get(&uri, &HeaderMap::new(), false).await?;
        }
        let progress = self.progress.as_mut().expect("a source is opened before it runs");
        let known = progress.standing.clone();
        if self.options.resume.is_some() {
            advance(found.cursor.take(), progress, &self.counts);
        }
        let standing = &mut progress.standing;
        *standing =
            StoredProgress { etag, modified, puts: known.puts, cursor: standing.cursor.take() };
        if !found.round.is_empty() || *standing != known {
            puts.put(progress.with_next_put(found.round.take())).await;
        }
        Ok(Some(found.events))
    }

    /// Reports a list whose last page leads back to an earlier one. Some servers end lists like
    /// this; if the pages are equal, the settings are probably wrong, which is reported once.
    fn warn_loop(&mut self, target: Option<&str>, is_copy: bool) {
        if !is_copy || std::mem::replace(&mut self.has_warned, true) {
            tracing::debug!(source = %self.name, target, "the list ends: the next page was read");
            return;
        }
        tracing::warn!(
            source = %self.name, next = target,
            "the server returned the same page as the next page, so the list ends there, and \
             events of later pages are not read: check `next` and `next_parameter`",
        );
    }

    /// Adds the events of a page. Stores full rounds, with an unchanged cursor.
    async fn take(&mut self, list: &Page<'_>, found: &mut Found, puts: &mut Puts) {
        let progress = self.progress.as_mut().expect("a source is opened before it runs");
        let options = &self.options;
        for body in list.events() {
            let most = puts.limits(ROUND_BYTES, options.batch_events);
            if found.round.is_full(body.len(), most) {
                puts.put(progress.with_next_put(found.round.take())).await;
            }
            let record = Record { body, kind: None, is_cut: false, cursor: None };
            let cursor = found.round.push(record, &options.shape, progress, &self.counts);
            if let Some(cursor) = cursor
                && found.cursor.as_ref().is_none_or(|largest| is_after(&cursor, largest))
            {
                found.cursor = Some(cursor);
            }
            found.events += 1;
        }
    }

    /// Returns the error that pauses the source before its next run.
    fn pause(&mut self, error: HttpError) -> SourceError {
        let random = self.env.entropy.next_u64();
        self.pause = Some(self.backoff.failed(error.trouble(), error.wait(), random));
        error.into_source_error()
    }
}

/// Returns a validator of a response if it is short enough to store.
fn validator(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= VALIDATOR_BYTES_MAX).then(|| text.to_owned())
}

/// Compares cursors: as numbers if both are, otherwise as texts.
fn is_after(one: &str, other: &str) -> bool {
    match (one.parse::<i128>(), other.parse::<i128>()) {
        (Ok(one), Ok(other)) => one > other,
        _ => one > other,
    }
}

impl Follow for HttpPoll {
    const KIND: &'static str = "http_poll";
    /// The response to the first request of a turn.
    type Link = Option<Response<Incoming>>;

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn batch_bytes(&self) -> u64 {
        ROUND_BYTES as u64
    }

    fn retry_after(&self) -> Option<Duration> {
        self.pause
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::Repeat
    }

    fn number(&self, known: &[(Bytes, Bytes)]) -> Option<u64> {
        Progress::puts(known, &shown_url(&self.client.uri))
    }

    fn drain(&self) -> Duration {
        DRAIN
    }

    async fn open(&mut self, start: &Start, _: &SourceContext) -> Result<Self::Link, SourceError> {
        self.pause = None;
        let (name, key) = (self.name.clone(), shown_url(&self.client.uri));
        self.progress = Some(Progress::load(name, &key, self.options.ids_max, &start.known));
        let first = self.begin().await.map_err(|error| self.pause(error))?;
        info!(source = %self.name, url = %key, "connected to the list");
        Ok(Some(first))
    }

    async fn read(&mut self, first: &mut Self::Link, puts: &mut Puts) -> Result<(), SourceError> {
        loop {
            let began = Instant::now();
            let turn = async {
                let first = match first.take() {
                    Some(first) => first,
                    None => self.begin().await?,
                };
                // Dropped at a stop: the server returns events again that are not stored.
                self.turn(first, puts).await
            };
            let events = turn.await.map_err(|error| self.pause(error))?;
            self.backoff.works();
            tracing::debug!(
                source = %self.name, events, took_seconds = seconds(began.elapsed()), "asked"
            );
            sleep_until(began + self.options.interval).await;
        }
    }
}

#[cfg(test)]
mod tests;

//! Sends receipts to a server of OpenLineage, by HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use complete::{Announcement, Lineage};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use ledger::NoteKind;
use pipeline::{BuildContext, BuildError};
use storage::StoreUrl;
use web::failure::refusal;
use web::settings::{HTTP, name_plain_text, shown_url, tls_without_https, url_of};
use web::{Authorization, Client, Connector, bearer};

use super::super::Config;
use super::super::settings::Settings;
use super::{AnnounceError, Announcer, OpenLineageConfig, Recipient};

/// The path of the settings, for messages.
const PATH: &str = "complete.open_lineage";

fn invalid<T>(setting: &str, problem: &str) -> Result<T, BuildError> {
    Err(BuildError::invalid(format!("{PATH}.{setting}"), problem))
}

impl OpenLineageConfig {
    /// Creates the recipient for a sink with this URL, and with this fixed part of its path.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn recipient(
        &self,
        store: &StoreUrl,
        prefix: &str,
        cx: &BuildContext,
    ) -> Result<Recipient, BuildError> {
        let login = format!("`{PATH}.token`");
        let uri = url_of(&format!("{PATH}.url"), &self.url, HTTP, &login)?;
        if self.tls.is_some() && uri.scheme_str() != Some("https") {
            return Err(tls_without_https("url").below(PATH));
        }
        name_plain_text(&format!("{PATH}.url"), &uri, cx);
        if self.timeout.0.is_zero() {
            return invalid("timeout", "must be greater than 0");
        }
        let (job, own) = (self.job.as_ref(), self.dataset_namespace.as_ref());
        let texts = [
            ("namespace", Some(&self.namespace)),
            ("job", job),
            ("dataset_namespace", own),
            ("dataset", self.dataset.as_ref()),
        ];
        if let Some((setting, _)) = texts.iter().find(|(_, it)| it.is_some_and(String::is_empty)) {
            return invalid(setting, "must not be empty");
        }
        let lineage = Lineage {
            namespace: self.namespace.clone(),
            job: job.cloned().unwrap_or_else(|| cx.name.to_string()),
            dataset_namespace: own.cloned().unwrap_or_else(|| namespace_of(store)),
            dataset: self.dataset.clone().unwrap_or_else(|| dataset_of(store, prefix)),
        };
        let fixed = self.token.as_ref().map(|token| bearer(&format!("{PATH}.token"), token));
        let authorization = Authorization::fixed(fixed.transpose()?);
        let connector = Connector::new(self.tls.clone(), &cx.env);
        let client = connector.map_err(|error| error.below(PATH))?.client();
        let url = shown_url(&uri);
        let name = format!("the OpenLineage server {url}");
        let timeout = self.timeout.0;
        let server = Server { client, uri, url, authorization, timeout, lineage };
        let scope = cx.scope::<Config>();
        Ok(Recipient {
            kind: NoteKind::Lineage,
            name,
            to: Arc::new(server),
            sent: scope.counter("lineage_events")?,
            failed: scope.counter("failed_lineage_events")?,
            due: scope.gauge("receipts_without_lineage_event")?,
            news: Default::default(),
        })
    }
}

/// Returns the namespace of a store, as OpenLineage names it.
fn namespace_of(store: &StoreUrl) -> String {
    match store.scheme() {
        "file" => "file".to_owned(),
        scheme => format!("{scheme}://{}", store.authority()),
    }
}

/// Returns the name of the dataset in its store: keys of buckets have no slash at their beginning.
fn dataset_of(store: &StoreUrl, prefix: &str) -> String {
    match store.scheme() {
        "s3" | "gs" => prefix.trim_matches('/').to_owned(),
        _ => prefix.to_owned(),
    }
}

/// A server of OpenLineage.
struct Server {
    client: Client,
    uri: Uri,
    /// Without its parameters.
    url: Arc<str>,
    authorization: Authorization,
    timeout: Duration,
    lineage: Lineage,
}

#[async_trait]
impl Announcer for Server {
    fn covers(&self, _settings: &Settings, _directory: &str) -> bool {
        true
    }

    async fn announce(
        &self,
        settings: &Settings,
        announcement: &Announcement,
    ) -> Result<(), AnnounceError> {
        let clock = &*settings.env.clock;
        for event in self.lineage.events(announcement) {
            let mut request = Request::new(Full::new(event.to_string().into()));
            (*request.method_mut(), *request.uri_mut()) = (Method::POST, self.uri.clone());
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let agent = concat!("aqueduct/", env!("CARGO_PKG_VERSION"));
            headers.insert(USER_AGENT, HeaderValue::from_static(agent));
            let limit = (self.timeout, clock);
            let response = self.authorization.send(&self.client, request, limit).await?;
            if !response.status().is_success() {
                let url = self.url.clone();
                return Err(refusal(url, response, self.timeout, clock).await.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

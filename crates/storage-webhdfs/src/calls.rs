//! Requests of WebHDFS: to the NameNode, and to the DataNode that it names for a file's content.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, LOCATION, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode, Uri};
use storage::FsError;
use tokio::time::timeout;
use web::{Client, Connector, Reply};

use crate::answer::{broken, refused};

/// Limit of one call to the NameNode.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(15);
/// Limit of one transfer from or to a DataNode.
pub(crate) const DATA_LIMIT: Duration = Duration::from_secs(30);
/// Maximum size of an answer of the NameNode. A page of a directory has a thousand names.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// A header that a cluster with `dfs.webhdfs.rest-csrf.enabled` requires, with any value.
const CSRF_HEADER: &str = "x-xsrf-header";

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A call.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) call: &'static str,
    /// The path in the URL.
    at: &'a str,
    /// The path that an error names.
    pub(crate) path: &'a str,
}

/// The client of one NameNode.
pub(crate) struct Calls {
    client: Client<Body>,
    /// `http://host:port`.
    server: String,
    user: String,
}

impl<'a> Call<'a> {
    pub(crate) fn new(call: &'static str, path: &'a str) -> Self {
        Self { call, at: path, path }
    }

    /// The same, with another path in errors.
    pub(crate) fn naming(self, path: &'a str) -> Self {
        Self { path, ..self }
    }

    /// Waits for `work` no longer than `limit`.
    pub(crate) async fn within<T>(
        self,
        limit: Duration,
        work: impl Future<Output = Result<T, FsError>>,
    ) -> Result<T, FsError> {
        let Self { call, path, .. } = self;
        let late = |_| Err(FsError::Timeout { call, path: path.into(), limit });
        timeout(limit, work).await.unwrap_or_else(late)
    }

    pub(crate) fn unfit(self, problem: &str) -> FsError {
        FsError::Unfit { call: self.call, path: self.path.into(), source: problem.into() }
    }

    pub(crate) fn failed(self, problem: &str) -> FsError {
        FsError::Failed { call: self.call, path: self.path.into(), source: problem.into() }
    }
}

/// Encodes a path for a URL.
fn encoded(path: &str) -> String {
    // The encoding for forms, in which a space is `+`; a plus itself is already `%2B`.
    let name = |name: &str| byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20");
    path.split('/').map(name).collect::<Vec<_>>().join("/")
}

/// The `host:port` of a URL.
fn address(uri: &Uri) -> String {
    uri.authority().map_or_else(String::new, ToString::to_string)
}

impl Calls {
    pub(crate) fn new(connector: &Connector, server: String, user: String) -> Self {
        Self { client: connector.client(), server, user }
    }

    /// The URL of an operation of the NameNode.
    fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut text = Serializer::new(String::new());
        text.extend_pairs(query).append_pair("user.name", &self.user);
        format!("{}/webhdfs/v1{}?{}", self.server, encoded(path), text.finish())
    }

    /// Sends a request, and waits for the head of its answer without a limit.
    pub(crate) async fn send(
        &self,
        asked: Call<'_>,
        method: Method,
        uri: Uri,
        body: Body,
    ) -> Result<Response<Incoming>, FsError> {
        let Call { call, path, .. } = asked;
        let to = address(&uri);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CSRF_HEADER, "aqueduct")
            .body(body)
            .map_err(|error| {
                asked.unfit(&format!("cannot build the request: {error}; report this as a bug"))
            })?;
        let answer = web::send(&self.client, request).await;
        answer.map_err(|lost| broken(call, path, &to, lost))
    }

    async fn ask_namenode(
        &self,
        asked: Call<'_>,
        method: Method,
        query: &[(&str, &str)],
    ) -> Result<Response<Incoming>, FsError> {
        let uri = self.direct(asked, query)?;
        self.send(asked, method, uri, Empty::new().boxed_unsync()).await
    }

    /// Sends a request to the NameNode; returns its answer.
    ///
    /// # Errors
    /// It refuses, or does not answer within the limit of a call.
    pub(crate) async fn ask(
        &self,
        asked: Call<'_>,
        method: Method,
        query: &[(&str, &str)],
    ) -> Result<Bytes, FsError> {
        let work = async {
            let answer = self.ask_namenode(asked, method, query).await?;
            accepted(asked, answer).await
        };
        asked.within(CALL_LIMIT, work).await
    }

    /// The URL of an operation that a gateway does itself.
    ///
    /// # Errors
    /// The path is not fit for one.
    pub(crate) fn direct(&self, asked: Call<'_>, query: &[(&str, &str)]) -> Result<Uri, FsError> {
        let url = self.url(asked.at, query);
        url.parse().map_err(|error| {
            asked.unfit(&format!(
                "`{url}` is not a valid URL: {error}; rename the file or directory"
            ))
        })
    }

    /// The URL at a DataNode that the NameNode names for an operation.
    ///
    /// # Errors
    /// It refuses, does not answer within the limit of a call, or names none.
    pub(crate) async fn redirected(
        &self,
        asked: Call<'_>,
        method: Method,
        query: &[(&str, &str)],
    ) -> Result<Uri, FsError> {
        let work = async {
            let answer = self.ask_namenode(asked, method, query).await?;
            if answer.status() != StatusCode::TEMPORARY_REDIRECT {
                accepted(asked, answer).await?;
                return Err(asked.unfit(
                    "the server did not return a DataNode; check that `url` names a NameNode or \
                     HttpFS, and a proxy in between",
                ));
            }
            self.named(asked, &answer)
        };
        asked.within(CALL_LIMIT, work).await
    }

    /// The URL at a DataNode that an answer names.
    fn named(&self, asked: Call<'_>, answer: &Response<Incoming>) -> Result<Uri, FsError> {
        let uri = answer.headers().get(LOCATION).and_then(|it| it.to_str().ok()?.parse().ok());
        let uri: Uri = uri.filter(|uri: &Uri| uri.authority().is_some()).ok_or_else(|| {
            asked.unfit(
                "the server redirects to a URL without the address of a DataNode; check `url`, and \
                 a proxy in between",
            )
        })?;
        if self.server.starts_with("https:") && uri.scheme_str() != Some("https") {
            return Err(asked.unfit(&format!(
                "the NameNode redirects to the DataNode {} without TLS: set dfs.http.policy to \
                 HTTPS_ONLY there, or use webhdfs://",
                address(&uri)
            )));
        }
        Ok(uri)
    }

    /// Returns the content of a file, from the DataNode that the NameNode names, or from the answer
    /// of a gateway.
    ///
    /// # Errors
    /// A server refuses, does not answer within the limits of a call and of a transfer, sends more
    /// than `bytes_max` bytes, or does not announce the length, so that a truncated content would
    /// look complete.
    pub(crate) async fn fetch(
        &self,
        asked: Call<'_>,
        query: &[(&str, &str)],
        bytes_max: usize,
    ) -> Result<Bytes, FsError> {
        let head = self.ask_namenode(asked, Method::GET, query);
        let mut answer = asked.within(CALL_LIMIT, head).await?;
        let work = async {
            let mut to = self.server.clone();
            if answer.status() == StatusCode::TEMPORARY_REDIRECT {
                let uri = self.named(asked, &answer)?;
                to = address(&uri);
                answer = self.send(asked, Method::GET, uri, Empty::new().boxed_unsync()).await?;
            }
            if !answer.status().is_success() {
                return accepted(asked, answer).await;
            }
            let is_bounded = answer.body().size_hint().exact().is_some()
                || answer.headers().contains_key(TRANSFER_ENCODING);
            if !is_bounded {
                return Err(asked.failed(
                    "the server did not return the length of the file; check a proxy in between",
                ));
            }
            let reply = Reply::read(answer, bytes_max).await;
            let reply = reply.map_err(|lost| broken(asked.call, asked.path, &to, lost))?;
            match reply.is_cut {
                true => {
                    let problem = format!(
                        "the server sent more than {bytes_max} bytes, the limit for this file"
                    );
                    Err(asked.failed(&problem))
                }
                false => Ok(reply.body),
            }
        };
        asked.within(DATA_LIMIT, work).await
    }
}

/// Returns the body of a successful answer.
///
/// # Errors
/// The request failed, or the answer is truncated.
pub(crate) async fn accepted(
    asked: Call<'_>,
    answer: Response<Incoming>,
) -> Result<Bytes, FsError> {
    let interrupted = |cause: &str| {
        asked.failed(&format!("the response was interrupted: {cause}; see the log of the server"))
    };
    let reply = Reply::read(answer, ANSWER_BYTES_MAX).await;
    let Reply { head, body, is_cut, .. } =
        reply.map_err(|lost| interrupted(&lost.cause().to_string()))?;
    match head.status.is_success() {
        _ if is_cut => Err(interrupted(&format!("it is over {ANSWER_BYTES_MAX} bytes"))),
        true => Ok(body),
        false => Err(refused(asked.call, asked.path, head.status, &body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of files have `%XX` for bytes of headers.
    #[test]
    fn each_byte_of_a_name_reaches_the_server() {
        assert_eq!(encoded("/a/b%2F+c d=é;"), "/a/b%252F%2Bc%20d%3D%C3%A9%3B");
    }
}

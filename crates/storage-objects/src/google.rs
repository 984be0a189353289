//! Google's buckets as a store of the library, with separate writes.
//!
//! The library writes by the XML interface, in which the end of an upload of several parts supports
//! no condition. The JSON interface supports `ifGenerationMatch=0` with each way of creating an
//! object:
//!
//! ```text
//!  small:  POST o?uploadType=media&name=N&ifGenerationMatch=0      the content
//!  large:  POST o?uploadType=resumable&name=N&ifGenerationMatch=0  -> Location: a session
//!          PUT session   Content-Range: bytes 0-5242879/*          -> 308, Range: bytes=0-5242879
//!          PUT session   Content-Range: bytes 5242880-5242890/5242891      the last part
//! ```
//!
//! | invariant | mechanism |
//! |---|---|
//! | a name is never replaced | the condition is part of the session, and checked at its end |
//! | no part has a gap | a part continues at the byte that the server reports |
//! | a token is sent only to the endpoint | only path and query of `Location` are used |

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures::stream::BoxStream;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE,
};
use hyper::{Method, StatusCode, Uri};
use object_store::client::{HttpClient, HttpRequest, HttpResponse};
use object_store::gcp::GoogleCloudStorage;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::provider::GCS;
use crate::request_error::{RequestError, address};
use crate::writer::PART_BYTES;

/// One bucket.
#[derive(Debug, Clone)]
pub(crate) struct Google {
    /// Reads, lists and deletes.
    reads: GoogleCloudStorage,
    client: HttpClient,
    /// `https://host`.
    endpoint: String,
    bucket: String,
}

impl fmt::Display for Google {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gs://{}", self.bucket)
    }
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "GCS", source: source.into() }
}

/// Returns the metadata of a new object.
fn made(head: &HeaderMap) -> PutResult {
    let text = |name: &str| Some(head.get(name)?.to_str().ok()?.to_owned());
    let (e_tag, version) = (text("etag"), text("x-goog-generation"));
    PutResult { e_tag, version, extensions: Default::default() }
}

impl Google {
    pub(crate) fn new(
        reads: GoogleCloudStorage,
        client: HttpClient,
        endpoint: &str,
        bucket: &str,
    ) -> Self {
        Self { reads, client, endpoint: endpoint.into(), bucket: bucket.into() }
    }

    /// Returns the URL that creates an object, unless it exists.
    fn making(&self, path: &Path, way: &str) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (bucket, name) = (encoded(&self.bucket), encoded(path.as_ref()));
        format!(
            "{}/upload/storage/v1/b/{bucket}/o?uploadType={way}&name={name}&ifGenerationMatch=0",
            self.endpoint
        )
    }

    /// Sends a request. Returns the answer if it is a success, the answer to a part, or reports a
    /// missing object or session.
    async fn send(
        &self,
        method: Method,
        uri: &str,
        path: &Path,
        range: Option<String>,
        body: PutPayload,
    ) -> Result<HttpResponse> {
        let uri: Uri = uri.parse().map_err(generic)?;
        let length = body.content_length();
        let mut request = HttpRequest::new(body.into());
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        let credential = self.reads.credentials().get_credential().await?;
        let bearer = format!("Bearer {}", credential.bearer).parse().map_err(generic)?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        let kind = hyper::header::HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        if let Some(range) = range {
            request.headers_mut().insert(CONTENT_RANGE, range.parse().map_err(generic)?);
        }
        let response = self.client.execute(request).await.map_err(generic)?;
        if response.status() == StatusCode::PRECONDITION_FAILED {
            let source = "an object with this name exists".into();
            return Err(Error::AlreadyExists { path: path.to_string(), source });
        }
        Ok(response)
    }

    /// Creates an object, or a session; a missing target means that the bucket does not exist.
    async fn make(&self, path: &Path, way: &str, body: PutPayload) -> Result<HttpResponse> {
        let uri = self.making(path, way);
        let response = self.send(Method::POST, &uri, path, None, body).await?;
        if response.status() == StatusCode::NOT_FOUND {
            let answer = (response.status(), response.headers());
            let server = address(&uri.parse().map_err(generic)?);
            return Err(generic(RequestError::answered(&GCS, &server, answer, b"")));
        }
        Ok(response)
    }
}

#[async_trait]
impl ObjectStore for Google {
    /// Never replaces, whatever the options are.
    async fn put_opts(&self, path: &Path, body: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.make(path, "media", body).await.map(|response| made(response.headers()))
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begun = self.make(path, "resumable", PutPayload::new()).await?;
        let location = begun.headers().get(LOCATION).and_then(|it| it.to_str().ok());
        let location: Option<Uri> = location.and_then(|it| it.parse().ok());
        let Some(session) = location.as_ref().and_then(Uri::path_and_query) else {
            return Err(generic(
                "the server returned no session for the upload; check the endpoint, and a proxy in \
                 between",
            ));
        };
        let session = format!("{}{session}", self.endpoint);
        let session = Arc::new(Session { google: self.clone(), path: path.clone(), uri: session });
        Ok(Box::new(Upload { session, sent: 0, last: PutPayload::new() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.reads.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reads.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.reads.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented { operation: "copy".into(), implementer: self.to_string() })
    }
}

/// An upload as the server knows it.
#[derive(Debug)]
struct Session {
    google: Google,
    path: Path,
    uri: String,
}

/// Returns the range of a request for `part`, which begins at byte `from`; `total` is set for the
/// last part.
fn range(from: u64, part: &Bytes, total: Option<u64>) -> String {
    let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    match part.len() as u64 {
        0 => format!("bytes */{total}"),
        len => format!("bytes {from}-{}/{total}", from + len - 1),
    }
}

/// Returns how many bytes the server has, from its answer to a part.
fn kept(head: &HeaderMap) -> u64 {
    let last = head.get(RANGE).and_then(|range| range.to_str().ok());
    let last = last.and_then(|range| range.strip_prefix("bytes=0-")?.parse::<u64>().ok());
    last.map_or(0, |last| last + 1)
}

impl Session {
    /// Sends bytes that begin at `from`; `total` is how many there are in all, with the last part.
    async fn send(&self, mut from: u64, part: PutPayload, total: Option<u64>) -> Result<PutResult> {
        let mut part = Bytes::from(part);
        loop {
            let range = Some(range(from, &part, total));
            let (google, uri, path) = (&self.google, &self.uri, &self.path);
            let body = PutPayload::from(part.clone());
            let response = google.send(Method::PUT, uri, path, range, body).await?;
            if response.status().is_success() && total.is_some() {
                return Ok(made(response.headers()));
            }
            if response.status() != StatusCode::PERMANENT_REDIRECT {
                return Err(generic(
                    "the server no longer knows the upload; the file is written again",
                ));
            }
            let (kept, end) = (kept(response.headers()), from + part.len() as u64);
            if kept == end && total.is_none() {
                return Ok(made(response.headers()));
            }
            if kept <= from || kept >= end {
                let source = format!(
                    "the server has {kept} bytes of an upload instead of {end}; the file is \
                     written again"
                );
                return Err(generic(source));
            }
            // It has accepted a prefix of the part.
            part.advance(usize::try_from(kept - from).unwrap_or(part.len()));
            from = kept;
        }
    }
}

/// An upload as its writer knows it.
#[derive(Debug)]
struct Upload {
    session: Arc<Session>,
    sent: u64,
    /// A part that is smaller than the others: the last one, which is sent with the end.
    last: PutPayload,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        if part.content_length() < PART_BYTES {
            self.last = part;
            return Box::pin(async { Ok(()) });
        }
        let (session, from) = (self.session.clone(), self.sent);
        self.sent += part.content_length() as u64;
        Box::pin(async move { session.send(from, part, None).await.map(drop) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let last = std::mem::take(&mut self.last);
        let total = self.sent + last.content_length() as u64;
        self.session.send(self.sent, last, Some(total)).await
    }

    async fn abort(&mut self) -> Result<()> {
        let Session { google, path, uri } = &*self.session;
        google.send(Method::DELETE, uri, path, None, PutPayload::new()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use hyper::header::HeaderValue;
    use object_store::ClientOptions;
    use object_store::client::{HttpConnector, HttpError, HttpService};
    use object_store::gcp::GoogleCloudStorageBuilder;

    use super::*;

    #[test]
    fn each_part_names_its_range() {
        let part = Bytes::from_static(b"12345");
        assert_eq!(range(0, &part, None), "bytes 0-4/*");
        assert_eq!(range(5, &part, Some(10)), "bytes 5-9/10");
        assert_eq!(range(10, &Bytes::new(), Some(10)), "bytes */10");
    }

    #[test]
    fn reads_the_stored_length_from_the_response() {
        let mut head = HeaderMap::new();
        assert_eq!(kept(&head), 0);
        head.insert(RANGE, "bytes=0-4".parse().unwrap());
        assert_eq!(kept(&head), 5);
    }

    /// Simulates two behaviours of Google that the server of the other tests lacks: it counts
    /// parts, and may accept only the beginning of one.
    #[derive(Debug, Default)]
    struct Strict {
        /// Number of received bytes, and the maximum per request.
        taken: Mutex<(usize, usize)>,
    }

    #[async_trait]
    impl HttpService for Strict {
        async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let mut response = HttpResponse::new(Bytes::new().into());
            if request.method() == Method::POST {
                let session = HeaderValue::from_static("https://elsewhere/o?upload_id=1");
                response.headers_mut().insert(LOCATION, session);
                return Ok(response);
            }
            assert_eq!(request.uri(), "https://google/o?upload_id=1");
            let range = request.headers()[CONTENT_RANGE].to_str().unwrap();
            let (part, total) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
            if let Some((from, to)) = part.split_once('-') {
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                assert_eq!((from, to - from + 1), (taken.0, request.body().content_length()));
                taken.0 += (to - from + 1).min(taken.1);
            }
            if total.parse().is_ok_and(|total: usize| total == taken.0) {
                return Ok(response);
            }
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            let range = format!("bytes=0-{}", taken.0 - 1).parse().unwrap();
            response.headers_mut().insert(RANGE, range);
            Ok(response)
        }
    }

    #[derive(Debug)]
    struct Connects(HttpClient);

    impl HttpConnector for Connects {
        fn connect(&self, _: &ClientOptions) -> Result<HttpClient> {
            Ok(self.0.clone())
        }
    }

    #[tokio::test]
    async fn a_part_goes_on_where_the_server_has_stopped() {
        const UNIT: usize = 256 << 10;
        for (most, last) in [(usize::MAX, 7), (3 * UNIT, 7), (3 * UNIT, 0), (PART_BYTES, 2 * UNIT)]
        {
            let server = Strict { taken: Mutex::new((0, most)) };
            let client = HttpClient::new(server);
            let builder = GoogleCloudStorageBuilder::new().with_bucket_name("b");
            let builder = builder.with_bearer_token("token");
            let reads = builder.with_http_connector(Connects(client.clone())).build().unwrap();
            let google = Google::new(reads, client, "https://google", "b");
            let path = Path::from("a");
            let mut upload = google.put_multipart_opts(&path, Default::default()).await.unwrap();
            for _ in 0..2 {
                upload.put_part(vec![0; PART_BYTES].into()).await.unwrap();
            }
            if last > 0 {
                upload.put_part(vec![0; last].into()).await.unwrap();
            }
            upload.complete().await.unwrap();
        }
    }
}

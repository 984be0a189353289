//! Azure's containers as a store of the library, with deletions of our own: the library deletes by
//! batches, which not every signature allows.

use std::fmt;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use hyper::{Method, StatusCode};
use object_store::azure::{AzureAuthorizer, MicrosoftAzure};
use object_store::client::{HttpClient, HttpRequest};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::signatures::Signatures;

/// Objects of a listing that are deleted at the same time.
const DELETED_AT_ONCE: usize = 8;

/// One container.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    store: MicrosoftAzure,
    client: HttpClient,
    account: String,
    /// `https://host/container`.
    container: String,
}

impl fmt::Display for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.container)
    }
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "Azure", source: source.into() }
}

impl Blobs {
    pub(crate) fn new(
        store: MicrosoftAzure,
        client: HttpClient,
        account: &str,
        container: String,
    ) -> Self {
        Self { store, client, account: account.into(), container }
    }

    async fn delete_one(&self, path: &Path) -> Result<()> {
        let parts = path
            .parts()
            .map(|part| format!("/{}", utf8_percent_encode(part.as_ref(), NON_ALPHANUMERIC)));
        let uri = format!("{}{}", self.container, parts.collect::<String>());
        let mut request = HttpRequest::new(PutPayload::new().into());
        *request.method_mut() = Method::DELETE;
        *request.uri_mut() = uri.parse().map_err(generic)?;
        let credential = self.store.credentials().get_credential().await?;
        let authorizer = AzureAuthorizer::new(&credential, &self.account).with_crypto(&Signatures);
        authorizer.try_authorize(&mut request)?;
        let response = self.client.execute(request).await.map_err(generic)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(Error::NotFound {
                path: path.to_string(),
                source: "the object does not exist".into(),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for Blobs {
    async fn put_opts(
        &self,
        path: &Path,
        body: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.store.put_opts(path, body, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let blobs = self.clone();
        let deleting = paths.map(move |path| {
            let blobs = blobs.clone();
            async move {
                let path = path?;
                blobs.delete_one(&path).await?;
                Ok(path)
            }
        });
        deleting.buffered(DELETED_AT_ONCE).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        // Azure's own copy may continue after its answer, with an empty object at the new name.
        Err(Error::NotImplemented { operation: "copy".into(), implementer: self.to_string() })
    }
}

//! Maps unexpected answers, or their absence, to the possible effects of a call.

use std::error::Error;

use hyper::header::HeaderMap;
use hyper::{StatusCode, Uri};
use object_store::Error as StoreError;
use serde_json::Value;
use storage::FsError;
use support::causes::chain;
use thiserror::Error;

use crate::provider::Provider;

/// Characters of an answer that are shown.
const SHOWN: usize = 200;

/// Why a request failed, as far as it is known.
#[derive(Debug, Error)]
pub(crate) enum RequestError {
    /// Connecting failed: nothing was done.
    #[error(
        "cannot connect to {address}; check that the server is running and reachable from this host"
    )]
    Unreached {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The machine has no role to ask for.
    #[error("{0}")]
    NoCredentials(&'static str),
    /// The connection broke under the request: it may have been done.
    #[error(
        "lost the connection to {address} during a request, which may be done or not; check the \
         network"
    )]
    Broken {
        /// The address.
        address: String,
        /// The error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server refuses.
    #[error("{server} returned {status} {code}: {message}")]
    Answered {
        /// Its provider.
        provider: &'static Provider,
        /// Its host and port.
        server: String,
        /// The status.
        status: StatusCode,
        /// The code of the provider; empty without one.
        code: String,
        /// The server's message for people.
        message: String,
    },
}

/// Returns the address of a request for messages.
pub(crate) fn address(uri: &Uri) -> String {
    uri.authority().map_or_else(String::new, ToString::to_string)
}

impl RequestError {
    /// Parses an answer with this head and body: S3 and Azure use XML, Azure also names its code in
    /// the head, and Google also uses JSON.
    pub(crate) fn answered(
        provider: &'static Provider,
        server: &str,
        (status, head): (StatusCode, &HeaderMap),
        body: &[u8],
    ) -> Self {
        let text = String::from_utf8_lossy(body);
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let within = |tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>"))?;
            Some(rest.split_once(&format!("</{tag}>"))?.0)
        };
        let named = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
        let code = head.get("x-ms-error-code").and_then(|code| code.to_str().ok());
        let code = code.or_else(|| within("Code")).or_else(|| named("/error/errors/0/reason"));
        let message = within("Message").or_else(|| named("/error/message"));
        let message = message.or_else(|| named("/error_description"));
        let shown = |text: Option<&str>| {
            text.unwrap_or_default().chars().filter(|c| !c.is_control()).take(SHOWN).collect()
        };
        let (code, message) = (shown(code), shown(message));
        Self::Answered { provider, server: server.into(), status, code, message }
    }

    /// Returns `true` if an answer means that an object is missing, and not its bucket.
    pub(crate) fn is_no_object(&self) -> bool {
        let Self::Answered { status, code, .. } = self else { return false };
        *status == StatusCode::NOT_FOUND
            && matches!(code.as_str(), "" | "NoSuchKey" | "BlobNotFound" | "notFound")
    }

    /// Returns the origin of an error of a request.
    fn find(error: &StoreError) -> Option<&Self> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(request_error) = error.downcast_ref::<Self>() {
                return Some(request_error);
            }
            cause = error.source();
        }
        None
    }
}

/// Returns the error for the caller of `call`.
pub(crate) fn failed(call: &'static str, path: &str, error: StoreError) -> FsError {
    let path = path.to_owned();
    match error {
        StoreError::NotFound { .. } => return FsError::NotFound { path },
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => {
            return FsError::AlreadyExists { path };
        }
        _ => {}
    }
    let Some(request_error) = RequestError::find(&error) else {
        return FsError::Failed { call, path, source: error.into() };
    };
    // The library repeats the URL and adds the time that the request took.
    let said = chain(request_error);
    let helps = |help: &str| format!("{help} ({said})").into();
    match request_error {
        RequestError::Unreached { .. } => FsError::Unavailable { call, path, source: said.into() },
        &RequestError::NoCredentials(help) => {
            FsError::Denied { call, path, source: Box::new(RequestError::NoCredentials(help)) }
        }
        RequestError::Answered { provider, status, code, .. } => {
            match (status.as_u16(), code.as_str()) {
                (409, "BlobAlreadyExists") => FsError::AlreadyExists { path },
                (429, _) | (503, "SlowDown") => {
                    FsError::Unavailable { call, path, source: said.into() }
                }
                (401 | 403, _) | (400, "InvalidAuthenticationInfo") => {
                    FsError::Denied { call, path, source: helps(provider.refused) }
                }
                (404, _) => FsError::Unfit { call, path, source: helps(provider.no_bucket) },
                (300..=399, _) | (400, "AuthorizationHeaderMalformed" | "PermanentRedirect") => {
                    let help = "the bucket is in another region: set `s3.region`, or `s3.endpoint`";
                    FsError::Unfit { call, path, source: helps(help) }
                }
                // Another upload of the same name has ended, and took the blocks of this one.
                (400, "RequestTimeout" | "InvalidBlockList") => {
                    FsError::Failed { call, path, source: said.into() }
                }
                (400 | 405 | 501, _) => {
                    let help = "the server does not support conditional puts or multipart uploads, \
                                which commits need; see docs/object-stores.md";
                    FsError::Unfit { call, path, source: helps(help) }
                }
                // 409: another one was about to do the same. 5xx: it may have been done.
                _ => FsError::Failed { call, path, source: said.into() },
            }
        }
        RequestError::Broken { .. } => FsError::Failed { call, path, source: said.into() },
    }
}

#[cfg(test)]
mod tests {
    use object_store::client::{HttpError, HttpErrorKind};
    use pipeline::{Classify, ErrorClass};

    use super::*;
    use crate::provider::{AZURE, GCS, S3};

    fn class(request_error: RequestError) -> ErrorClass {
        let source = HttpError::new(HttpErrorKind::Unknown, request_error);
        failed("rename", "/a", StoreError::Generic { store: "S3", source: source.into() }).class()
    }

    fn answer(
        provider: &'static Provider,
        status: u16,
        head: &HeaderMap,
        body: &str,
    ) -> RequestError {
        let status = StatusCode::from_u16(status).unwrap();
        RequestError::answered(provider, "host:1", (status, head), body.as_bytes())
    }

    /// A call that may have been done is checked before a retry; a refused one is not.
    #[test]
    fn each_answer_has_its_class() {
        let answer = |status: u16, code: &str| {
            let body = format!("<Error><Code>{code}</Code><Message>text</Message></Error>");
            class(answer(&S3, status, &HeaderMap::new(), &body))
        };
        assert_eq!(answer(503, "SlowDown"), ErrorClass::Transient);
        assert_eq!(answer(503, "ServiceUnavailable"), ErrorClass::Indeterminate);
        assert_eq!(answer(503, "ServerBusy"), ErrorClass::Indeterminate);
        assert_eq!(answer(500, "InternalError"), ErrorClass::Indeterminate);
        assert_eq!(answer(409, "ConditionalRequestConflict"), ErrorClass::Indeterminate);
        assert_eq!(answer(400, "InvalidBlockList"), ErrorClass::Indeterminate);
        assert_eq!(answer(400, "InvalidAuthenticationInfo"), ErrorClass::Blocked);
        assert_eq!(answer(403, "AccessDenied"), ErrorClass::Blocked);
        assert_eq!(answer(404, "NoSuchBucket"), ErrorClass::Blocked);
        assert_eq!(answer(404, "ContainerNotFound"), ErrorClass::Blocked);
        assert_eq!(answer(301, "PermanentRedirect"), ErrorClass::Blocked);
        assert_eq!(answer(501, "NotImplemented"), ErrorClass::Blocked);
        let (address, source) = ("host:1".to_owned(), "reset".into());
        assert_eq!(class(RequestError::Broken { address, source }), ErrorClass::Indeterminate);
        let (address, source) = ("host:1".to_owned(), "refused".into());
        assert_eq!(class(RequestError::Unreached { address, source }), ErrorClass::Transient);
    }

    /// Each provider uses another form.
    #[test]
    fn code_and_message_are_found_where_the_provider_has_them() {
        let found = |request_error: RequestError| match request_error {
            RequestError::Answered { code, message, .. } => (code, message),
            other => panic!("{other:?}"),
        };
        let none = HeaderMap::new();
        let google = r#"{"error": {"code": 412, "message": "no", "errors": [{"reason": "c"}]}}"#;
        assert_eq!(found(answer(&GCS, 412, &none, google)), ("c".into(), "no".into()));
        let token = r#"{"error": "invalid_client", "error_description": "no\nsuch secret"}"#;
        assert_eq!(found(answer(&AZURE, 401, &none, token)).1, "nosuch secret");
        let head = [("x-ms-error-code".parse().unwrap(), "BlobNotFound".parse().unwrap())];
        let gone = answer(&AZURE, 404, &head.into_iter().collect(), "");
        assert!(gone.is_no_object());
        assert!(!answer(&AZURE, 404, &none, "<Code>ContainerNotFound</Code>").is_no_object());
    }
}

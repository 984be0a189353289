//! What an answer that is none of the expected ones, or its absence, says of what was done.

use std::error::Error;

use hyper::StatusCode;
use object_store::Error as StoreError;
use storage::FsError;
use thiserror::Error;

/// Why a request came to nothing, as far as it is known.
#[derive(Debug, Error)]
pub(crate) enum Trouble {
    /// There was no connection: nothing was done.
    #[error("{address} is not reachable")]
    Unreached {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The machine has no role to ask for.
    #[error(
        "there is no access key: set `s3.access_key` and `s3.secret_key`, or AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or give the machine a role"
    )]
    NoKey,
    /// The connection broke under the request: it may have been done.
    #[error("the connection to {address} broke under the request")]
    Broken {
        /// Where.
        address: String,
        /// How.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server refuses.
    #[error("the server answers {status} {code}: {message}")]
    Answered {
        /// The status.
        status: StatusCode,
        /// The code of S3; empty where there is none.
        code: String,
        /// What the server said for people.
        message: String,
    },
}

impl Trouble {
    /// What an answer with this body says.
    pub(crate) fn answered(status: StatusCode, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let within = |tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>"))?;
            let (inner, _) = rest.split_once(&format!("</{tag}>"))?;
            Some(inner.chars().filter(|c| !c.is_control()).take(200).collect::<String>())
        };
        let code = within("Code").unwrap_or_default();
        Self::Answered { status, code, message: within("Message").unwrap_or_default() }
    }

    /// Where an error of a request stems from.
    fn of(error: &StoreError) -> Option<&Self> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(trouble) = error.downcast_ref::<Self>() {
                return Some(trouble);
            }
            cause = error.source();
        }
        None
    }
}

/// What it means for the caller of `call`.
pub(crate) fn failed(call: &'static str, path: &str, error: StoreError) -> FsError {
    let path = path.to_owned();
    match error {
        StoreError::NotFound { .. } => return FsError::NotFound { path },
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => {
            return FsError::AlreadyExists { path };
        }
        _ => {}
    }
    let helps = |help: &str, source: StoreError| format!("{help} ({source})").into();
    match Trouble::of(&error) {
        Some(Trouble::Unreached { .. }) => {
            FsError::Unavailable { call, path, source: error.into() }
        }
        Some(Trouble::NoKey) => FsError::Denied { call, path, source: Box::new(Trouble::NoKey) },
        Some(Trouble::Answered { status, code, .. }) => match (status.as_u16(), code.as_str()) {
            (429, _) | (503, "SlowDown") => {
                FsError::Unavailable { call, path, source: error.into() }
            }
            (401 | 403, _) => {
                let help = "check `s3.access_key`, `s3.secret_key` and what the key may do: it \
                            needs s3:GetObject, PutObject, DeleteObject, ListBucket and \
                            AbortMultipartUpload; check the clock of this host too";
                FsError::Denied { call, path, source: helps(help, error) }
            }
            (404, "NoSuchBucket") => {
                let help = "there is no such bucket: make it, or correct `url`";
                FsError::Unfit { call, path, source: helps(help, error) }
            }
            (300..=399, _) | (400, "AuthorizationHeaderMalformed" | "PermanentRedirect") => {
                let help = "the bucket is in another region: set `s3.region`, or `s3.endpoint`";
                FsError::Unfit { call, path, source: helps(help, error) }
            }
            (400, "RequestTimeout") => FsError::Failed { call, path, source: error.into() },
            (400 | 405 | 501, _) => {
                let help = "the server cannot do what a commit needs: conditional puts and \
                            multipart uploads; see docs/object-stores.md";
                FsError::Unfit { call, path, source: helps(help, error) }
            }
            // 409: another one was about to do the same. 5xx: it may have been done.
            _ => FsError::Failed { call, path, source: error.into() },
        },
        Some(Trouble::Broken { .. }) | None => FsError::Failed { call, path, source: error.into() },
    }
}

#[cfg(test)]
mod tests {
    use object_store::client::{HttpError, HttpErrorKind};
    use pipeline::{Classify, ErrorClass};

    use super::*;

    fn class(trouble: Trouble) -> ErrorClass {
        let source = HttpError::new(HttpErrorKind::Unknown, trouble);
        failed("rename", "/a", StoreError::Generic { store: "S3", source: source.into() }).class()
    }

    /// What may have been done is asked for before it is tried again; what was refused is not.
    #[test]
    fn each_answer_has_its_class() {
        let answer = |status: u16, code: &str| {
            let body = format!("<Error><Code>{code}</Code><Message>text</Message></Error>");
            let status = StatusCode::from_u16(status).unwrap();
            class(Trouble::answered(status, body.as_bytes()))
        };
        assert_eq!(answer(503, "SlowDown"), ErrorClass::Transient);
        assert_eq!(answer(503, "ServiceUnavailable"), ErrorClass::Indeterminate);
        assert_eq!(answer(500, "InternalError"), ErrorClass::Indeterminate);
        assert_eq!(answer(409, "ConditionalRequestConflict"), ErrorClass::Indeterminate);
        assert_eq!(answer(403, "AccessDenied"), ErrorClass::Blocked);
        assert_eq!(answer(404, "NoSuchBucket"), ErrorClass::Blocked);
        assert_eq!(answer(301, "PermanentRedirect"), ErrorClass::Blocked);
        assert_eq!(answer(501, "NotImplemented"), ErrorClass::Blocked);
        let (address, source) = ("host:1".to_owned(), "reset".into());
        assert_eq!(class(Trouble::Broken { address, source }), ErrorClass::Indeterminate);
        let (address, source) = ("host:1".to_owned(), "refused".into());
        assert_eq!(class(Trouble::Unreached { address, source }), ErrorClass::Transient);
    }
}

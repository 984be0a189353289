//! A bucket over a server of a test: everything in this crate except requests, signatures and
//! credentials.
//!
//! ```text
//!   ledger, sink ─► Bucket, ObjectWriter ─► object_store::ObjectStore ─► the server of the test
//!                        ▲ meaning of an error                              │ Answer::error
//!                        └──────────────────────────────────────────────────┘
//! ```

use std::sync::Arc;

use hyper::StatusCode;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::{Error, ObjectStore};
use pipeline::Env;
use storage::FileSystem;

use crate::bucket::Bucket;
use crate::provider;
use crate::request_error::RequestError;

/// Differences between servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTraits {
    /// True if the server itself copies an object to a free name, like S3. `false`: it is read and
    /// uploaded, as with Google and Azure.
    pub copies_inside: bool,
    /// Bytes of a part of an upload, more than 0. Real servers want some mebibytes.
    pub part_bytes: usize,
}

/// The bucket of this server, for one opening.
pub fn over(server: Arc<dyn ObjectStore>, ways: ServerTraits, env: &Env) -> Arc<dyn FileSystem> {
    let provider = if ways.copies_inside { &provider::S3 } else { &provider::GCS };
    Arc::new(Bucket::new(server, provider, env.clone()).with_parts_of(ways.part_bytes))
}

/// Answers of a server that are neither yes nor no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Connecting failed: nothing was done.
    Unreached,
    /// 503 `SlowDown`: nothing was done.
    SlowDown,
    /// 503 `ServiceUnavailable`: it may have been done.
    Unavailable,
    /// 409 `ConditionalRequestConflict`: another one is about to do the same.
    Conflict,
    /// The connection broke under the request: it may have been done.
    Broken,
}

impl Answer {
    /// Returns the error that the client of a real server would return.
    pub fn error(self) -> Error {
        let (server, source) = ("simulated".to_owned(), "simulated".into());
        let answered = |status, code: &str| RequestError::Answered {
            provider: &provider::S3,
            server: server.clone(),
            status,
            code: code.into(),
            message: String::new(),
        };
        let trouble = match self {
            Self::Unreached => RequestError::Unreached { address: server, source },
            Self::SlowDown => answered(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
            Self::Unavailable => answered(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Self::Conflict => answered(StatusCode::CONFLICT, "ConditionalRequestConflict"),
            Self::Broken => RequestError::Broken { address: server, source },
        };
        let source = Box::new(HttpError::new(HttpErrorKind::Unknown, trouble));
        Error::Generic { store: "S3", source }
    }
}

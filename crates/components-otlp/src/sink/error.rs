//! Errors of deliveries, and their classes according to OTLP.

use std::time::Duration;

use hyper::StatusCode;
use pipeline::{Classify, ErrorClass};
use thiserror::Error;
use tonic::Code;
use web::Cause;

/// Why records were not delivered.
#[derive(Debug, Error)]
pub(super) enum OtlpError {
    #[error(
        "cannot connect to {url}; check that the server is running and reachable from this host"
    )]
    Connect {
        url: String,
        #[source]
        source: Cause,
    },
    #[error(
        "lost the connection to {url} before the response; the records are resent, and may be \
         stored twice; see the log of that server"
    )]
    Broken {
        url: String,
        #[source]
        source: Cause,
    },
    #[error("{url} answered {status}: {text}; see the log of that server")]
    Http { url: String, status: StatusCode, text: String, retry_after: Option<Duration> },
    #[error("{url} answered {code:?}: {text}; see the log of that server")]
    Grpc { url: String, code: Code, text: String, retry_after: Option<Duration> },
    #[error(
        "{url} returned success, but its response is not OTLP: {problem}; check that `url` names \
         an OTLP receiver, and a proxy in between"
    )]
    Unreadable { url: String, problem: String },
}

impl Classify for OtlpError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } => ErrorClass::Transient,
            // The request may have been accepted.
            Self::Broken { .. } => ErrorClass::Indeterminate,
            // The server may not be an OTLP receiver.
            Self::Unreadable { .. } => ErrorClass::Blocked,
            Self::Http { status, .. } => class_of_status(*status),
            Self::Grpc { code, retry_after, .. } => class_of_code(*code, retry_after.is_some()),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http { retry_after, .. } | Self::Grpc { retry_after, .. } => *retry_after,
            Self::Connect { .. } | Self::Broken { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// Classifies a status: the specification retries four of them. Statuses that indicate a wrong
/// setup are retried, too, because the records are valid.
fn class_of_status(status: StatusCode) -> ErrorClass {
    match status.as_u16() {
        429 | 502 | 503 | 504 => ErrorClass::Transient,
        401 | 403 | 404 | 405 | 407 => ErrorClass::Blocked,
        400.. => ErrorClass::Poison,
        // Redirects are not followed.
        _ => ErrorClass::Blocked,
    }
}

/// Classifies a gRPC code: the specification retries `RESOURCE_EXHAUSTED` only with a delay.
fn class_of_code(code: Code, says_when: bool) -> ErrorClass {
    match code {
        Code::Unavailable => ErrorClass::Transient,
        Code::ResourceExhausted if says_when => ErrorClass::Transient,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::DataLoss => ErrorClass::Indeterminate,
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::NotFound => {
            ErrorClass::Blocked
        }
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Internal => ErrorClass::Poison,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_the_statuses_of_the_specification() {
        let codes = (1..=16).map(Code::from);
        let again: Vec<Code> =
            codes.filter(|code| class_of_code(*code, false) != ErrorClass::Poison).collect();
        let blocked =
            [Code::NotFound, Code::PermissionDenied, Code::Unimplemented, Code::Unauthenticated];
        let named = [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ];
        assert_eq!(again.len(), blocked.len() + named.len());
        assert!(named.iter().chain(&blocked).all(|code| again.contains(code)), "{again:?}");
        assert_eq!(class_of_code(Code::ResourceExhausted, true), ErrorClass::Transient);
        for (status, class) in [
            (429, ErrorClass::Transient),
            (503, ErrorClass::Transient),
            (500, ErrorClass::Poison),
            (400, ErrorClass::Poison),
            (413, ErrorClass::Poison),
            (404, ErrorClass::Blocked),
            (302, ErrorClass::Blocked),
        ] {
            assert_eq!(class_of_status(StatusCode::from_u16(status).unwrap()), class, "{status}");
        }
    }
}

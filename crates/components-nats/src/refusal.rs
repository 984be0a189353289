//! Errors of the server: their meaning, and advice. Pure.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Classify, ErrorClass};
use thiserror::Error;
use tls::SecretFileError;

/// Reason why a connection cannot be opened, or has ended.
#[derive(Debug, Error)]
pub(crate) enum NatsError {
    /// The connection failed.
    #[error(
        "cannot connect to {address}; check that the server is running and reachable from this host"
    )]
    Connect {
        address: Arc<str>,
        #[source]
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error(
        "no answer from {address} within {limit:?} to the request for {what}; check the server \
         and the network"
    )]
    NoAnswer { address: Arc<str>, what: String, limit: Duration },
    /// The server rejected the login.
    #[error("{address} rejects the login: {problem}; {remedy}")]
    Login { address: Arc<str>, problem: String, remedy: String },
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(SecretFileError),
    /// The server works and refuses a request.
    #[error("{address} {problem}")]
    NotGranted { address: Arc<str>, problem: String },
    /// The user may not publish to this subject.
    #[error("{address} rejects a message: {words}; check the permissions of the user")]
    NoRight { address: Arc<str>, subject: String, words: String },
    /// The connection has ended.
    #[error(
        "lost the connection to {address}: {problem}; reconnecting; no event is lost. If this \
         repeats, see the log of the server, and check the network and proxies in between"
    )]
    Ended { address: Arc<str>, problem: String },
    /// A stream does not accept a message now.
    #[error(
        "{address} cannot accept a message now, so its batch is resent: {problem}; no event is \
         lost. If this lasts, see the log of the server"
    )]
    NotTaken { address: Arc<str>, problem: String },
    /// A message cannot become an event, and stays in its stream.
    #[error(
        "message {sequence} of `{stream}` cannot become an event: {problem}; the source stops \
         reading. Delete the message, or set `unusable = \"reject\"` to skip such messages"
    )]
    Unusable { stream: String, sequence: u64, problem: String },
}

impl Classify for NatsError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } => ErrorClass::Transient,
            Self::Login { .. }
            | Self::Credentials(_)
            | Self::NotGranted { .. }
            | Self::NoRight { .. }
            | Self::Unusable { .. } => ErrorClass::Blocked,
            // The messages may have been stored.
            Self::NoAnswer { .. } | Self::Ended { .. } | Self::NotTaken { .. } => {
                ErrorClass::Indeterminate
            }
        }
    }
}

/// Converts an error text of the server, which precedes the end of the connection or replaces a
/// reply. `remedy` is the advice for a login error.
pub(crate) fn said(address: &Arc<str>, words: &str, remedy: &str) -> NatsError {
    let address = address.clone();
    let lower = words.to_ascii_lowercase();
    if lower.contains("permissions violation for publish")
        && let Some(subject) = words.split('"').nth(1)
    {
        return NatsError::NoRight { address, subject: subject.into(), words: words.into() };
    }
    if lower.contains("permissions violation") {
        let remedy = "check the permissions of the user";
        return NatsError::NotGranted {
            address,
            problem: format!("denies a request: {words}; {remedy}"),
        };
    }
    if lower.contains("authorization") || lower.contains("authentication") {
        let (problem, remedy) = (words.to_owned(), remedy.to_owned());
        return NatsError::Login { address, problem, remedy };
    }
    NatsError::Ended { address, problem: words.to_owned() }
}

/// Converts a refusal of JetStream with its error code, in reply to the request `what`.
pub(crate) fn refused(address: &Arc<str>, what: &str, code: u32, words: &str) -> NatsError {
    let address = address.clone();
    let remedy = match code {
        10012 | 10013 | 10016 => Some(
            "it exists with other settings: set the same settings here, or delete it at the server",
        ),
        10014 | 10059 => Some("create it at the server, or correct its name"),
        10039 | 10076 => Some("enable JetStream for the account of the user"),
        10084 | 10098 | 10099 | 10100 => Some("set `consumer`, or other subjects as `filter`"),
        10093 => Some("`filter` matches no subject of the stream: correct it"),
        _ => None,
    };
    match remedy {
        Some(remedy) => NatsError::NotGranted {
            address,
            problem: format!("rejects {what}: {words} ({code}); {remedy}"),
        },
        None => {
            let problem = format!("{what}: {words} ({code}){}", no_room(code));
            NatsError::NotTaken { address, problem }
        }
    }
}

/// Returns advice if a refusal is due to a lack of room. Earlier messages may have been stored.
fn no_room(code: u32) -> &'static str {
    match code {
        10023 | 10047 => {
            "; the storage of JetStream is full: raise `max_file_store`, or delete streams"
        }
        10077 => "; raise the limits of the stream, or let it discard old messages",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_a_remedy_and_temporary_ones_are_retried() {
        let address: Arc<str> = "n:4222".into();
        for (words, class, remedy) in [
            ("Authorization Violation", ErrorClass::Blocked, "Violation; look at it"),
            ("User Authentication Expired", ErrorClass::Blocked, "Expired; look at it"),
            (
                "Permissions Violation for Publish to \"a\"",
                ErrorClass::Blocked,
                "permissions of the user",
            ),
            (
                "Permissions Violation for Subscription to \"a\"",
                ErrorClass::Blocked,
                "permissions of the user",
            ),
            ("Stale Connection", ErrorClass::Indeterminate, "Stale"),
        ] {
            let error = said(&address, words, "look at it");
            assert_eq!(error.class(), class, "{error}");
            assert!(error.to_string().contains(remedy), "{error}");
        }
        for (code, words, class, remedy) in [
            (10059, "stream not found", ErrorClass::Blocked, "create it at the server"),
            (10012, "deliver policy can not be updated", ErrorClass::Blocked, "the same"),
            (10039, "jetstream not enabled for account", ErrorClass::Blocked, "enable JetStream"),
            (10023, "insufficient resources", ErrorClass::Indeterminate, "`max_file_store`"),
            (10077, "maximum messages exceeded", ErrorClass::Indeterminate, "limits of the stream"),
            (10008, "jetstream temporarily unavailable", ErrorClass::Indeterminate, "temporarily"),
        ] {
            let error = refused(&address, "stream `s`", code, words);
            assert_eq!(error.class(), class, "{error}");
            let said = error.to_string();
            assert!(said.contains(remedy) && said.contains("stream `s`"), "{said}");
        }
    }
}

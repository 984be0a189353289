//! What a refusal of a server means, and what helps. Pure.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Classify, ErrorClass};
use thiserror::Error;
use tls::SecretFileError;

/// Why a connection cannot be made, or has ended.
#[derive(Debug, Error)]
pub(crate) enum NatsError {
    /// There is no connection.
    #[error("cannot connect to {address}")]
    Connect {
        address: Arc<str>,
        #[source]
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error("{address} has not answered within {limit:?}: {what}")]
    NoAnswer { address: Arc<str>, what: String, limit: Duration },
    /// The server does not want this client.
    #[error("{address} refuses the login: {problem}; {remedy}")]
    Login { address: Arc<str>, problem: String, remedy: String },
    /// There is no login to show.
    #[error(transparent)]
    Credentials(SecretFileError),
    /// The server works and does not do what it is asked for.
    #[error("{address} {problem}")]
    NotGranted { address: Arc<str>, problem: String },
    /// The user may not send to this subject.
    #[error("{address} refuses a message: {words}; look at the permissions of the user")]
    NoRight { address: Arc<str>, subject: String, words: String },
    /// The connection has ended.
    #[error("the connection to {address} has ended: {problem}")]
    Ended { address: Arc<str>, problem: String },
    /// A stream does not take a message now.
    #[error("{address} does not take a message now: {problem}")]
    NotTaken { address: Arc<str>, problem: String },
    /// A message of which no event can be made stays in its stream.
    #[error(
        "message {sequence} of `{stream}` can be no event: {problem}; the stream is not read on. \
         Delete the message, or set `unusable = \"reject\"`, which passes such messages over"
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
            // What was sent may have been taken.
            Self::NoAnswer { .. } | Self::Ended { .. } | Self::NotTaken { .. } => {
                ErrorClass::Indeterminate
            }
        }
    }
}

/// An error of the server in its own words, which comes before the connection ends or instead of an
/// answer. `remedy` is what helps where it is the login.
pub(crate) fn said(address: &Arc<str>, words: &str, remedy: &str) -> NatsError {
    let address = address.clone();
    let lower = words.to_ascii_lowercase();
    if lower.contains("permissions violation for publish")
        && let Some(subject) = words.split('"').nth(1)
    {
        return NatsError::NoRight { address, subject: subject.into(), words: words.into() };
    }
    if lower.contains("permissions violation") {
        let remedy = "look at the permissions of the user";
        return NatsError::NotGranted { address, problem: format!("refuses: {words}; {remedy}") };
    }
    if lower.contains("authorization") || lower.contains("authentication") {
        let (problem, remedy) = (words.to_owned(), remedy.to_owned());
        return NatsError::Login { address, problem, remedy };
    }
    NatsError::Ended { address, problem: words.to_owned() }
}

/// A refusal of JetStream by its own code, while it was asked for `what`.
pub(crate) fn refused(address: &Arc<str>, what: &str, code: u32, words: &str) -> NatsError {
    let address = address.clone();
    let remedy = match code {
        10012 | 10013 | 10016 => Some("it is there with other settings: make them the same"),
        10014 | 10059 => Some("make it at the server, or look at its name"),
        10039 | 10076 => Some("enable JetStream there, for the account of the user"),
        10084 | 10098 | 10099 | 10100 => Some("set `consumer`, or other subjects as `filter`"),
        10093 => Some("no subject of the stream is among `filter`"),
        _ => None,
    };
    match remedy {
        Some(remedy) => NatsError::NotGranted {
            address,
            problem: format!("refuses {what}: {words} ({code}); {remedy}"),
        },
        None => {
            let problem = format!("{what}: {words} ({code}){}", no_room(code));
            NatsError::NotTaken { address, problem }
        }
    }
}

/// What makes room where a refusal is for the lack of it. Messages before it may have been taken.
fn no_room(code: u32) -> &'static str {
    match code {
        10023 | 10047 => "; its streams have no more room: raise `max_file_store`, or delete some",
        10077 => "; raise the limits of the stream, or let it discard old messages",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_helps_and_what_passes_is_tried_again() {
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
            (10059, "stream not found", ErrorClass::Blocked, "make it at the server"),
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

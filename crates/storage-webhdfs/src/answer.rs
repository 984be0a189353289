//! Maps unexpected answers, or their absence, to the possible effects of a call.

use hyper::StatusCode;
use serde::Deserialize;
use storage::FsError;
use storage::hdfs::refusal;
use support::causes::chain;
use web::Lost;

/// Characters of an answer that are shown.
const SHOWN: usize = 300;

/// The remedy if the server is not a WebHDFS.
const NO_WEBHDFS: &str = "the server is not WebHDFS: `url` needs the NameNode's web server, which \
                          is dfs.namenode.http-address (port 9870), or with swebhdfs:// \
                          dfs.namenode.https-address (port 9871)";

/// The remedy if the server asks for Kerberos.
const KERBEROS: &str = "this cluster requires Kerberos, which is not supported over HTTP: set an \
     hdfs:// `url`, with `kerberos.principal` and `kerberos.keytab`";

/// The answer of a NameNode or DataNode that refuses.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "RemoteException")]
    remote: Remote,
}

#[derive(Deserialize)]
struct Remote {
    exception: String,
    #[serde(default)]
    message: String,
}

/// Returns the first line of a server's text, without control characters.
fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

/// Returns the error for the caller of `call` when the server answers with this status.
pub(crate) fn refused(call: &'static str, path: &str, status: StatusCode, body: &[u8]) -> FsError {
    let path = path.to_owned();
    let Ok(Refusal { remote }) = serde_json::from_slice::<Refusal>(body) else {
        let said = |help: &str| format!("the server returned {status}; {help}").into();
        return match status.as_u16() {
            401 => FsError::Denied { call, path, source: said(KERBEROS) },
            403 => FsError::Denied {
                call,
                path,
                source: said(
                    "permission denied; grant this user access to the directory, or set another \
                     `proxy_user`",
                ),
            },
            429 => {
                FsError::Unavailable { call, path, source: said("the server is busy; retry later") }
            }
            // For example the RPC port, or another HTTP server.
            300..=499 => FsError::Unfit { call, path, source: said(NO_WEBHDFS) },
            _ => FsError::Failed {
                call,
                path,
                source: said("the call may have taken effect; see the log of the server"),
            },
        };
    };
    let Remote { exception, message } = remote;
    // HttpFS does not name each exception of a NameNode.
    let is_safe = exception == "RemoteException" && message.ends_with("Name node is in safe mode.");
    let name = if is_safe { "SafeModeException" } else { &*exception };
    let refusal = refusal(&format!("{name}: {message}")).map_or("", |(_, helps)| helps);
    let said = |help: &str| {
        let help = if help.is_empty() { refusal } else { help };
        let between = if help.is_empty() { "" } else { "; " };
        format!("{exception}: {}{between}{help}", shown(&message)).into()
    };
    match name {
        "FileNotFoundException" => FsError::NotFound { path },
        // A file that another client is writing exists, too.
        "FileAlreadyExistsException" | "AlreadyBeingCreatedException" => {
            FsError::AlreadyExists { path }
        }
        "SafeModeException" => FsError::SafeMode { call, path, source: said("") },
        "StandbyException" | "RetriableException" => {
            FsError::Unavailable { call, path, source: said("") }
        }
        _ if status == StatusCode::UNAUTHORIZED => {
            FsError::Denied { call, path, source: said(KERBEROS) }
        }
        "AccessControlException"
        | "AuthorizationException"
        | "SecurityException"
        | "InvalidToken" => FsError::Denied { call, path, source: said("") },
        // The last one: HttpFS's answer to an unknown operation.
        "IllegalArgumentException" | "UnsupportedOperationException" | "QueryParamException" => {
            FsError::Unfit { call, path, source: said("") }
        }
        name if name.contains("Quota") => FsError::NoRoom { call, path, source: said("") },
        _ => FsError::Failed { call, path, source: said("") },
    }
}

/// Returns the error for a missing answer.
pub(crate) fn broken(call: &'static str, path: &str, address: &str, lost: Lost) -> FsError {
    let path = path.to_owned();
    match lost {
        // Nothing was requested.
        Lost::Connect(cause) => {
            let source = format!(
                "cannot connect to {address}; check that it is running and reachable from this \
                 host: {}",
                chain(&*cause)
            )
            .into();
            FsError::Unavailable { call, path, source }
        }
        Lost::Broken(cause) => {
            let problem = format!("lost the connection to {address} during the request");
            let source = format!("{problem}: {}", chain(&*cause)).into();
            FsError::Failed { call, path, source }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use pipeline::{Classify, ErrorClass};

    use super::*;

    fn said(status: u16, exception: &str) -> FsError {
        let remote = format!(r#"{{"exception":"{exception}","message":"m\n\tat x"}}"#);
        let body = format!(r#"{{"RemoteException":{remote}}}"#);
        refused("rename", "/a", StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    /// A call that may have been done is checked before a retry; a refused one is not.
    #[test]
    fn each_answer_has_its_class() {
        assert!(said(404, "FileNotFoundException").is_not_found());
        assert!(said(403, "FileAlreadyExistsException").is_already_exists());
        assert_eq!(said(403, "StandbyException").class(), ErrorClass::Transient);
        assert_eq!(said(403, "SafeModeException").class(), ErrorClass::Transient);
        assert_eq!(said(500, "RemoteException").class(), ErrorClass::Indeterminate);
        assert_eq!(said(500, "QueryParamException").class(), ErrorClass::Blocked);
        assert_eq!(said(403, "DSQuotaExceededException").class(), ErrorClass::Transient);
        assert_eq!(said(403, "AccessControlException").class(), ErrorClass::Blocked);
        assert_eq!(said(401, "AuthenticationException").class(), ErrorClass::Blocked);
        assert_eq!(said(403, "IOException").class(), ErrorClass::Indeterminate);
        assert_eq!(said(500, "NullPointerException").class(), ErrorClass::Indeterminate);
        let text = |error: &FsError| error.source().unwrap().to_string();
        assert_eq!(text(&said(403, "IOException")), "IOException: m", "no stack of Java");
        assert!(text(&said(401, "AuthenticationException")).contains("Kerberos"));
        assert!(text(&said(403, "DSQuotaExceededException")).contains("-setSpaceQuota"));
        assert!(text(&said(403, "SafeModeException")).contains("-safemode leave"));
    }

    /// The answer of HttpFS of Hadoop 3.4.1 to a rename.
    #[test]
    fn safe_mode_is_known_by_its_message_behind_a_gateway() {
        let message = r"Cannot rename \/a. Name node is in safe mode.";
        let remote = format!(r#"{{"exception":"RemoteException","message":"{message}"}}"#);
        let body = format!(r#"{{"RemoteException":{remote}}}"#);
        let error = refused("rename", "/a", StatusCode::INTERNAL_SERVER_ERROR, body.as_bytes());
        assert!(matches!(error, FsError::SafeMode { .. }), "{error:?}");
        assert!(error.source().unwrap().to_string().contains("-safemode leave"), "{error:?}");
    }

    #[test]
    fn a_server_of_something_else_is_named_as_such() {
        let answer = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let error = refused("stat", "/a", status, b"It looks like you are making an HTTP");
            (error.class(), error.source().unwrap().to_string())
        };
        assert_eq!(answer(404).0, ErrorClass::Blocked);
        assert!(answer(404).1.contains("dfs.namenode.http-address"));
        assert!(answer(401).1.contains("Kerberos"));
        assert_eq!(answer(502).0, ErrorClass::Indeterminate);
        assert_eq!(answer(429).0, ErrorClass::Transient);
    }
}

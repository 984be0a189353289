//! Maps answers of HDFS, or their absence, to the possible effects of a call.

use std::io;

use hdfs_native::HdfsError;
use storage::FsError;
use storage::hdfs::Kind;

use crate::remedy::remedy;

/// Maps an error of the client.
pub(crate) fn explain(error: HdfsError, call: &'static str, path: &str) -> FsError {
    let error = without_trace(error);
    if let Some((kind, said)) = remedy(&error) {
        let path = path.to_owned();
        return match kind {
            Kind::Away => FsError::Unavailable { call, path, source: said.into() },
            Kind::Denied => FsError::Denied { call, path, source: said.into() },
            Kind::Unusable => FsError::Unfit { call, path, source: said.into() },
            Kind::NoRoom => FsError::NoRoom { call, path, source: said.into() },
            Kind::Safe => FsError::SafeMode { call, path, source: said.into() },
        };
    }
    let path = path.to_owned();
    let exception = match &error {
        HdfsError::FileNotFound(_) => return FsError::NotFound { path },
        HdfsError::AlreadyExists(_) => return FsError::AlreadyExists { path },
        HdfsError::IOError(cause) if not_reached(cause) => {
            return FsError::Unavailable { call, path, source: Box::new(error) };
        }
        HdfsError::RPCError(exception, _) | HdfsError::FatalRPCError(exception, _) => {
            exception.rsplit(['.', '$']).next().unwrap_or_default().to_owned()
        }
        HdfsError::SASLError(_) | HdfsError::GSSAPIError(..) | HdfsError::NoSASLMechanism => {
            return FsError::Denied { call, path, source: Box::new(error) };
        }
        _ => return FsError::Failed { call, path, source: Box::new(error) },
    };
    let source = Box::new(error);
    match exception.as_str() {
        "FileNotFoundException" => FsError::NotFound { path },
        "FileAlreadyExistsException" => FsError::AlreadyExists { path },
        "StandbyException" | "RetriableException" => FsError::Unavailable { call, path, source },
        "AccessControlException" | "AuthorizationException" | "InvalidToken" => {
            FsError::Denied { call, path, source }
        }
        _ => FsError::Failed { call, path, source },
    }
}

/// The first line of a Java answer is the message; the others are a stack trace, which does not
/// help in a log.
fn without_trace(error: HdfsError) -> HdfsError {
    let first = |said: &str| said.lines().next().unwrap_or_default().to_owned();
    match error {
        HdfsError::RPCError(exception, said) => HdfsError::RPCError(exception, first(&said)),
        HdfsError::FatalRPCError(exception, said) => {
            HdfsError::FatalRPCError(exception, first(&said))
        }
        error => error,
    }
}

/// Returns `true` if certainly nothing has left this machine.
fn not_reached(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, NotConnected,
    };
    matches!(
        error.kind(),
        AddrNotAvailable | ConnectionRefused | HostUnreachable | NetworkUnreachable | NotConnected
    )
}

#[cfg(test)]
mod tests {
    use pipeline::{Classify, ErrorClass};

    use super::*;

    fn said(exception: &str) -> FsError {
        let text = "because\n\tat a.b.C".to_owned();
        explain(HdfsError::RPCError(exception.into(), text), "rename", "/a")
    }

    #[test]
    fn a_stack_trace_is_left_out() {
        let error = said("java.lang.NullPointerException");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("because") && !cause.contains("a.b.C"), "{cause}");
    }

    /// The meaning of each NameNode answer decides between loss and duplicate.
    #[test]
    fn every_known_answer_has_its_meaning() {
        let fs = "org.apache.hadoop.hdfs.server.namenode";
        assert!(matches!(said("java.io.FileNotFoundException"), FsError::NotFound { .. }));
        assert!(matches!(said(&format!("{fs}.SafeModeException")), FsError::SafeMode { .. }));
        let quota = "org.apache.hadoop.hdfs.protocol.NSQuotaExceededException";
        assert!(matches!(said(quota), FsError::NoRoom { .. }));
        let denied = "org.apache.hadoop.security.AccessControlException";
        assert_eq!(said(denied).class(), ErrorClass::Blocked);
        assert_eq!(said("java.lang.NullPointerException").class(), ErrorClass::Indeterminate);
    }

    #[test]
    fn a_refused_connection_was_not_applied_and_a_broken_one_may_have_been() {
        let class =
            |kind: io::ErrorKind| explain(HdfsError::IOError(kind.into()), "rename", "/a").class();
        assert_eq!(class(io::ErrorKind::ConnectionRefused), ErrorClass::Transient);
        assert_eq!(class(io::ErrorKind::ConnectionReset), ErrorClass::Indeterminate);
    }

    /// Errors that an operator meets during the setup of a cluster name the remedy, and their class
    /// shows whether they are temporary.
    #[test]
    fn an_answer_that_an_operator_can_change_names_its_remedy() {
        let explained = |error| {
            let error = explain(error, "mkdirs", "/logs");
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            (error.class(), cause.unwrap_or_default())
        };
        let remote = |class: &str, text: &str| {
            explained(HdfsError::RPCError(class.into(), format!("{text}\n at a.b.C")))
        };
        let (class, text) = explained(HdfsError::OperationFailed(
            "Kerberos: Cannot contact any KDC for realm 'EXAMPLE.COM'".into(),
        ));
        assert_eq!(class, ErrorClass::Transient, "a KDC comes back: {text}");
        let security = "org.apache.hadoop.security";
        let simple = "SIMPLE authentication is not enabled.  Available:[TOKEN, KERBEROS]";
        let (class, text) = remote(&format!("{security}.AccessControlException"), simple);
        assert_eq!(class, ErrorClass::Blocked);
        assert!(text.contains("`kerberos.principal`") && !text.contains("at a.b.C"), "{text}");
        let proxy = "User: a@B is not allowed to impersonate logs";
        let (_, text) = remote(&format!("{security}.authorize.AuthorizationException"), proxy);
        assert!(text.contains("`proxy_user`"), "{text}");
        let copies = "File /l/_aqueduct/f could only be written to 0 of the 2 required nodes for \
                      XOR-2-1-1024k. There are 1 datanode(s) running";
        let (class, text) = remote("java.io.IOException", copies);
        assert_eq!(class, ErrorClass::Blocked);
        assert!(text.contains("-setPolicy -replicate"), "{text}");
        let mounts = "Rename of /one/_aqueduct/f to /one/two/f is not allowed, no eligible \
                      destination in the same namespace was found";
        let (class, text) = remote("java.io.IOException", mounts);
        assert_eq!(class, ErrorClass::Blocked);
        assert!(text.contains("use one sink for each mount"), "{text}");
    }

    /// Errors that an operator meets while a cluster runs, with the texts of Hadoop 3.4.1.
    #[test]
    fn a_cluster_that_refuses_is_answered_by_what_ends_that() {
        let protocol = "org.apache.hadoop.hdfs.protocol";
        for (class, text, meant, helps) in [
            (
                &*format!("{protocol}.NSQuotaExceededException"),
                "The NameSpace quota (directories and files) of directory /l is exceeded: quota=1 \
                 file count=9",
                ErrorClass::Transient,
                "`hdfs dfsadmin -setQuota N",
            ),
            (
                &*format!("{protocol}.DSQuotaExceededException"),
                "The DiskSpace quota of /l is exceeded: quota = 1 B = 1 B but diskspace consumed = \
                 268435456 B = 256 MB",
                ErrorClass::Transient,
                "`hdfs dfsadmin -setSpaceQuota N",
            ),
            (
                "org.apache.hadoop.security.AccessControlException",
                "Permission denied: user=logs, access=EXECUTE, inode=\"/l\":root:users:drwxr-x---",
                ErrorClass::Blocked,
                "`hdfs dfs -chown`",
            ),
            (
                "java.io.IOException",
                "File /l/f could only be written to 0 of the 1 minReplication nodes. There are 3 \
                 datanode(s) running and no node(s) are excluded in this operation.",
                ErrorClass::Transient,
                "`hdfs dfsadmin -report`",
            ),
            (
                "org.apache.hadoop.hdfs.server.namenode.SafeModeException",
                "Cannot create file/l/f. Name node is in safe mode.",
                ErrorClass::Transient,
                "`hdfs dfsadmin -safemode leave`",
            ),
        ] {
            let refusal = HdfsError::RPCError(class.into(), format!("{text}\n\tat a.b.C"));
            let error = explain(refusal, "create", "/l/f");
            assert_eq!(error.class(), meant, "{error:?}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains(helps) && !cause.contains("at a.b.C"), "{cause}");
        }
    }
}

//! Checks whether the NameNode can be reached: its client retries a refused connection repeatedly,
//! without a report until the call's time is over.
//!
//! If the URL has a host and a port, the check connects to that address before the first call, and
//! after a call without an answer. NameNodes of a name service are left to the client.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pipeline::env::Net;
use storage::FsError;
use tokio::time::timeout;

/// Time limit for connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The address of a NameNode.
pub(crate) struct ReachabilityCheck {
    /// `host:port`; `None` for a name service.
    address: Option<String>,
    net: Arc<dyn Net>,
    /// A connection was made, and every call since has been answered.
    was_open: AtomicBool,
}

impl ReachabilityCheck {
    /// Of `hdfs://host:port`.
    pub(crate) fn new(url: &str, net: Arc<dyn Net>) -> Self {
        let authority = url.split_once("://").map_or(url, |(_, authority)| authority);
        let has_port = authority.rsplit_once(':').is_some_and(|(_, it)| it.parse::<u16>().is_ok());
        let address = has_port.then(|| authority.to_owned());
        Self { address, net, was_open: AtomicBool::new(false) }
    }

    /// Checks that the NameNode is reachable, or may be.
    ///
    /// # Errors
    /// It is not reachable: no call was made.
    pub(crate) async fn check(&self, call: &'static str, path: &str) -> Result<(), FsError> {
        if self.was_open.load(Ordering::Relaxed) {
            return Ok(());
        }
        let unavailable = |error: io::Error| FsError::Unavailable {
            call,
            path: path.into(),
            source: error.into(),
        };
        self.connect().await.map_err(unavailable)?;
        self.was_open.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the error of a call without an answer, which may have been applied; `silence` is the
    /// cause if the NameNode can be reached.
    pub(crate) async fn explain(
        &self,
        call: &'static str,
        path: String,
        limit: Duration,
        silence: &str,
    ) -> FsError {
        let problem = match self.connect().await {
            Ok(()) => format!("no response within {limit:?}; {silence}"),
            Err(error) => {
                self.was_open.store(false, Ordering::Relaxed);
                format!("no response within {limit:?}, and now {error}")
            }
        };
        FsError::Failed { call, path, source: problem.into() }
    }

    async fn connect(&self) -> io::Result<()> {
        let Some(address) = &self.address else { return Ok(()) };
        let name = |problem: &str| format!("NameNode {problem}");
        match timeout(CONNECT_LIMIT, self.net.connect(address)).await {
            Ok(Ok(_stream)) => Ok(()),
            Ok(Err(error)) => Err(io::Error::new(error.kind(), name(&error.to_string()))),
            Err(_) => {
                let problem = name(&format!("{address}: no connection within {CONNECT_LIMIT:?}"));
                Err(io::Error::new(io::ErrorKind::TimedOut, problem))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Classify, ErrorClass};
    use support::causes::chain;

    use super::*;

    #[tokio::test]
    async fn a_namenode_that_refuses_is_named_at_once_with_the_cause() {
        let door = ReachabilityCheck::new("hdfs://127.0.0.1:1", env::real().net);
        let error = door.check("mkdirs", "/logs").await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Transient, "nothing was asked");
        let text = chain(&error);
        assert!(text.contains("NameNode 127.0.0.1:1: Connection refused"), "{text}");
        // A call that was under way may have been done.
        let error = door.explain("rename", "/a".into(), Duration::from_secs(15), "").await;
        assert_eq!(error.class(), ErrorClass::Indeterminate);
        let text = chain(&error);
        assert!(text.contains("NameNode 127.0.0.1:1: Connection refused"), "{text}");
    }

    #[tokio::test]
    async fn a_namenode_that_is_there_is_connected_to_once() {
        let real = env::real().net;
        let listener = real.listen("127.0.0.1:0").await.unwrap();
        let door = ReachabilityCheck::new(&format!("hdfs://{}", listener.local_address()), real);
        door.check("stat", "/a").await.unwrap();
        drop(listener);
        door.check("stat", "/a").await.unwrap();
        let error = door.explain("stat", "/a".into(), Duration::from_secs(15), "").await;
        assert!(matches!(error, FsError::Failed { .. }));
        assert!(door.check("stat", "/a").await.is_err(), "it is looked for again");
    }

    #[tokio::test]
    async fn a_name_service_is_left_to_the_client() {
        let door = ReachabilityCheck::new("hdfs://cluster", env::real().net);
        door.check("stat", "/a").await.unwrap();
    }
}

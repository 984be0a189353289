//! Test helpers: a SQLite file for tests that run with two clients, and a server that announces
//! long messages.
//!
//! For ODBC, another process changes the file: a process with two copies of SQLite, the driver's
//! and this program's, loses its locks.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::connection::Via;
use crate::database::Target;

/// Runs statements, and prints the first value of the last one.
const PROGRAM: &str = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=60)
if sys.argv[3] == 'ask':
    row = c.execute(sys.argv[2]).fetchone()
    print('' if row[0] is None else row[0], end='')
else:
    c.executescript(sys.argv[2])
    c.commit()";

/// A SQLite file.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    by_odbc: bool,
}

impl File {
    /// Created by these statements, for the tests of `module`: the ODBC tests or others.
    pub(crate) fn new(path: PathBuf, module: &str, sql: &str) -> Self {
        let file = Self { path, by_odbc: module.ends_with("by_odbc") };
        file.run(sql);
        file
    }

    /// Returns the URL for the settings.
    pub(crate) fn url(&self) -> String {
        let path = self.path.display();
        let driver = "/usr/lib/x86_64-linux-gnu/odbc/libsqlite3odbc.so";
        match self.by_odbc {
            true => format!("odbc:Driver={driver};Database={path}"),
            false => format!("sqlite:{path}"),
        }
    }

    /// Runs statements.
    pub(crate) fn run(&self, sql: &str) {
        match self.by_odbc {
            true => drop(self.python(sql, "run")),
            false => rusqlite::Connection::open(&self.path).unwrap().execute_batch(sql).unwrap(),
        }
    }

    /// Returns the result of a query as text.
    pub(crate) fn ask(&self, sql: &str) -> String {
        if self.by_odbc {
            return self.python(sql, "ask");
        }
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        let answer = connection.query_row(sql, [], |row| row.get::<_, Option<String>>(0));
        answer.unwrap().unwrap_or_default()
    }

    fn python(&self, sql: &str, what: &str) -> String {
        let mut python = Command::new("python3");
        let output = python.arg("-c").arg(PROGRAM).arg(&self.path).args([sql, what]).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Far more than a login, and than the socket buffers.
const FLOOD_BYTES: usize = 128 << 20;

/// Starts a server that sends `head` to one client, and zeros until the client disconnects. The
/// task returns how many bytes it could send.
pub(crate) async fn flood(via: Via, head: &'static [u8]) -> (Target, JoinHandle<usize>) {
    let env = env::real();
    let listener = env.net.listen("127.0.0.1:0").await.unwrap();
    let target = Target {
        via,
        address: listener.local_address().into(),
        name: "db".into(),
        login: Some(("user".into(), None)),
        connect_timeout: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
        tls: None,
        own_tls: None,
        env,
    };
    let flooding = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        if via == Via::Postgres {
            let _startup = stream.read(&mut [0; 4096]).await.unwrap();
        }
        let (zeros, mut sent) = (vec![0; 1 << 20], 0);
        stream.write_all(head).await.unwrap();
        while sent < FLOOD_BYTES {
            match stream.write(&zeros).await {
                Ok(bytes) => sent += bytes,
                Err(_) => break,
            }
        }
        sent
    });
    (target, flooding)
}

/// Maximum bytes of an unread flood in the buffers of two sockets.
pub(crate) const UNREAD_BYTES_MAX: usize = 32 << 20;

//! What several tests use: a file of SQLite, for tests that are run by two clients, and a server
//! that announces long messages.
//!
//! By ODBC the file is changed by another process: a process that has SQLite in it twice, that of
//! the driver and that of this program, loses its locks.

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

/// A file of SQLite.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    by_odbc: bool,
}

impl File {
    /// Made by these statements, for the tests of `module`, those of ODBC or others.
    pub(crate) fn new(path: PathBuf, module: &str, sql: &str) -> Self {
        let file = Self { path, by_odbc: module.ends_with("by_odbc") };
        file.run(sql);
        file
    }

    /// As the settings name it.
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

    /// The answer to a question about the rows, as text.
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

/// Far more than a login has, and than the buffers of the sockets hold.
const FLOOD_BYTES: usize = 128 << 20;

/// A server that sends `head` to one client, and zeros until the client closes the connection. The
/// task returns the number of bytes that it was able to send.
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

/// Bytes that the buffers of two sockets may hold of a flood that is not read.
pub(crate) const UNREAD_BYTES_MAX: usize = 32 << 20;

//! A connection to a database by one of four clients.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use mysql_async::prelude::Queryable;
use pipeline::env::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_util::task::AbortOnDropHandle;

use crate::database::Target;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::odbc::Odbc;

/// The MySQL character set for bytes.
pub(crate) const MYSQL_BINARY: u16 = 63;

/// Maximum bytes that a PostgreSQL server may send until the login is complete.
pub(crate) const LOGIN_BYTES_MAX: u64 = 1 << 20;

/// No limit in [`Wire::left`].
const NO_LIMIT: u64 = u64::MAX;

/// A database client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
    /// An ODBC driver.
    Odbc,
}

impl Via {
    /// Returns its dialect; `None` for ODBC, where only a connection knows it.
    pub(crate) fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Postgres => Some(Dialect::Postgres),
            Self::Mysql => Some(Dialect::Mysql),
            Self::Sqlite => Some(Dialect::Sqlite),
            Self::Odbc => None,
        }
    }
}

/// An open connection.
pub(crate) enum Connection {
    /// PostgreSQL.
    Postgres(Postgres),
    /// MySQL and MariaDB.
    Mysql(Box<mysql_async::Conn>),
    /// SQLite.
    Sqlite(Sqlite),
    /// An ODBC driver.
    Odbc(Odbc),
}

impl Connection {
    /// Connects. All sessions use UTC.
    ///
    /// # Errors
    /// The connection fails, or the database rejects it.
    pub(crate) async fn open(target: &Target) -> Result<Self, SqlError> {
        let opening = async {
            match target.via {
                Via::Postgres => postgres(target).await.map(Self::Postgres),
                Via::Mysql => mysql(target).await.map(Box::new).map(Self::Mysql),
                Via::Sqlite => Sqlite::open(target).await.map(Self::Sqlite),
                Via::Odbc => Odbc::open(target).await.map(Self::Odbc),
            }
        };
        let limit = target.connect_timeout;
        let silent = |_| Err(SqlError::Silent { address: target.address.clone(), limit });
        timeout(limit, opening).await.unwrap_or_else(silent)
    }

    /// Returns the dialect of the database.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::Mysql(_) => Dialect::Mysql,
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Odbc(it) => it.dialect,
        }
    }

    /// Returns whether this is an ODBC connection.
    pub(crate) fn is_odbc(&self) -> bool {
        matches!(self, Self::Odbc(_))
    }

    /// Runs statements without parameters and rows.
    ///
    /// # Errors
    /// One of them failed.
    pub(crate) async fn batch(&mut self, target: &Target, sql: &str) -> Result<(), SqlError> {
        let address = &target.address;
        match self {
            Self::Postgres(it) => {
                let done = it.client.batch_execute(sql).await;
                done.map_err(|error| SqlError::postgres(address, &error))
            }
            Self::Mysql(it) => {
                let done = it.query_drop(sql).await;
                done.map_err(|error| SqlError::mysql(address, &error))
            }
            Self::Sqlite(it) => {
                let sql = sql.to_owned();
                it.call(target, move |connection| connection.execute_batch(&sql)).await
            }
            Self::Odbc(it) => it.run(target, sql).await,
        }
    }
}

/// The PostgreSQL client, and the task of its connection.
pub(crate) struct Postgres {
    pub(crate) client: tokio_postgres::Client,
    /// Aborted on drop.
    _task: AbortOnDropHandle<()>,
}

async fn postgres(target: &Target) -> Result<Postgres, SqlError> {
    let address = &target.address;
    let stream = target.env.net.connect(address).await;
    let stream = stream.map_err(|source| SqlError::Connect { address: address.clone(), source })?;
    let mut config = tokio_postgres::Config::new();
    config.dbname(&*target.name).application_name("aqueduct");
    if let Some((user, password)) = &target.login {
        config.user(user);
        if let Some(password) = password {
            config.password(password.expose());
        }
    }
    config.ssl_mode(if target.tls.is_some() { SslMode::Require } else { SslMode::Disable });
    let left = Arc::new(AtomicU64::new(LOGIN_BYTES_MAX));
    let tls = Upgrade { tls: target.tls.clone(), address: address.clone(), left: left.clone() };
    let connected = config.connect_raw(Wire { stream, left: left.clone() }, tls).await;
    left.store(NO_LIMIT, Ordering::Relaxed);
    let (client, connection) =
        connected.map_err(|error| match SqlError::postgres(address, &error) {
            // No statement was sent yet.
            SqlError::Broken { address, problem } => {
                SqlError::Connect { address, source: io::Error::other(problem) }
            }
            other => other,
        })?;
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        // The client reports its error.
        let _ = connection.await;
    }));
    let millis = target.statement_timeout.as_millis().min(i32::MAX as u128);
    let session = format!(
        "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601'; \
         SET extra_float_digits = 1; SET bytea_output = 'hex'; SET statement_timeout = {millis}"
    );
    let set = client.batch_execute(&session).await;
    set.map_err(|error| SqlError::postgres(address, &error))?;
    Ok(Postgres { client, _task: task })
}

/// Performs the TLS handshake when the server has agreed to it.
struct Upgrade {
    tls: Option<tls::Client>,
    address: Arc<str>,
    left: Arc<AtomicU64>,
}

impl TlsConnect<Wire> for Upgrade {
    type Stream = Wire;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Wire>>;

    fn connect(self, stream: Wire) -> Self::Future {
        Box::pin(async move {
            match self.tls {
                Some(tls) => {
                    let stream = tls.wrap(stream.stream, &self.address).await?;
                    Ok(Wire { stream, left: self.left })
                }
                None => Err(io::Error::other("TLS without settings")),
            }
        })
    }
}

/// A stream, plain or with TLS, that fails if the server sends more bytes than are `left`. The
/// client buffers complete messages, whatever length the server announces.
struct Wire {
    stream: Box<dyn Stream>,
    left: Arc<AtomicU64>,
}

impl TlsStream for Wire {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let left = self.left.load(Ordering::Relaxed);
        if left == NO_LIMIT {
            return Poll::Ready(Ok(()));
        }
        let Some(left) = left.checked_sub((buffer.filled().len() - before) as u64) else {
            let problem = format!(
                "the server sent more than {LOGIN_BYTES_MAX} bytes during the login; check that \
                 the address belongs to a PostgreSQL server"
            );
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
        };
        self.left.store(left, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn mysql(target: &Target) -> Result<mysql_async::Conn, SqlError> {
    let address = &target.address;
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "3306"));
    let (user, password) = target.login.clone().unzip();
    let password = password.flatten().map(|password| password.expose().to_owned());
    // Strict mode: a value that does not fit a column is an error and is never changed silently.
    // A 0 in an AUTO_INCREMENT column stays 0.
    // The write timeout is long, because a reader may wait for its channels.
    let setup = vec![
        "SET time_zone = '+00:00', net_write_timeout = 3600, sql_mode = \
         'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,\
         NO_AUTO_VALUE_ON_ZERO'"
            .to_owned(),
    ];
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(host.trim_matches(['[', ']']))
        .tcp_port(port.parse().unwrap_or(3306))
        .db_name(Some(&*target.name))
        .user(user)
        .pass(password)
        .prefer_socket(false)
        .setup(setup)
        .ssl_opts(ssl(target).await?);
    let connected = mysql_async::Conn::new(options).await;
    let mut connection = connected.map_err(|error| match SqlError::mysql(address, &error) {
        SqlError::Broken { address, problem } => {
            SqlError::Connect { address, source: io::Error::other(problem) }
        }
        other => other,
    })?;
    let failed = |error| SqlError::mysql(address, &error);
    let version: Option<String> =
        connection.query_first("SELECT VERSION()").await.map_err(failed)?;
    let limit = target.statement_timeout;
    let limit = match version.is_some_and(|version| version.contains("MariaDB")) {
        true => format!("SET max_statement_time = {:.3}", limit.as_secs_f64()),
        false => format!("SET max_execution_time = {}", limit.as_millis().min(u32::MAX.into())),
    };
    connection.query_drop(limit).await.map_err(failed)?;
    Ok(connection)
}

/// Reads the TLS files for a MySQL connection.
async fn ssl(target: &Target) -> Result<Option<mysql_async::SslOpts>, SqlError> {
    let Some(tls) = &target.own_tls else { return Ok(None) };
    let pem = tls.read().await.map_err(|error| SqlError::Connect {
        address: target.address.clone(),
        source: io::Error::other(error),
    })?;
    let identity = pem.identity.map(|(chain, key)| {
        let key = key.as_bytes().to_vec();
        mysql_async::ClientIdentity::new(chain.into_bytes().into(), key.into())
    });
    let ssl = mysql_async::SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(pem.authorities.into_iter().map(Into::into).collect())
        .with_client_identity(identity)
        .with_danger_accept_invalid_certs(pem.trust_all)
        .with_danger_tls_hostname_override(pem.server_name);
    Ok(Some(ssl))
}

/// A SQLite file. Its calls block, and run on other threads, one at a time.
#[derive(Clone)]
pub(crate) struct Sqlite(Arc<Mutex<rusqlite::Connection>>);

impl Sqlite {
    async fn open(target: &Target) -> Result<Self, SqlError> {
        let (path, wait) = (target.address.clone(), target.statement_timeout);
        let opened = target.env.offload(move || {
            use rusqlite::OpenFlags as Flags;
            // Do not create a missing file: its path is probably wrong.
            let flags = Flags::SQLITE_OPEN_READ_WRITE | Flags::SQLITE_OPEN_NO_MUTEX;
            let connection = rusqlite::Connection::open_with_flags(&*path, flags)?;
            connection.busy_timeout(wait)?;
            // An unknown column name in quotes is an error, not a text.
            connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
            // Read the file once, to detect a file that is not a database.
            connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
            Ok(connection)
        });
        let opened = opened.await.map_err(|error| SqlError::sqlite(&target.address, &error))?;
        Ok(Self(Arc::new(Mutex::new(opened))))
    }

    /// Runs `work` with the connection, to its end even if the future is dropped.
    ///
    /// # Errors
    /// The error of `work`.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        target: &Target,
        work: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SqlError> {
        let connection = self.0.clone();
        let done = target
            .env
            .offload(move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.map_err(|error| SqlError::sqlite(&target.address, &error))
    }

    /// Starts `work` without waiting for it.
    pub(crate) fn start(
        &self,
        target: &Target,
        work: impl FnOnce(&mut rusqlite::Connection) + Send + 'static,
    ) {
        let connection = self.0.clone();
        target.env.blocking.run(Box::new(move || {
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{UNREAD_BYTES_MAX, flood};

    #[tokio::test]
    async fn a_long_message_before_the_login_closes_the_connection() {
        for (via, head) in [
            (Via::Postgres, &b"R\x3f\xff\xff\xff"[..]),
            (Via::Postgres, b"S\x3f\xff\xff\xff"),
            (Via::Mysql, b"\xff\xff\xff\x00"),
        ] {
            let (target, flooding) = flood(via, head).await;
            let error = Connection::open(&target).await.err().expect("it is not a database");
            let sent = flooding.await.unwrap();
            assert!(sent < UNREAD_BYTES_MAX, "{via:?}: {sent} bytes were read: {error:?}");
        }
    }
}

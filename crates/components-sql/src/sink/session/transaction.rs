//! Transactions and savepoints in each dialect.
//!
//! A procedure may end the transaction that calls it, which would apply earlier rows without the
//! ledger. PostgreSQL rejects that within a transaction. MySQL and MariaDB silently allow it,
//! except in XA transactions, which are therefore used for calls.

use super::Session;
use crate::connection::Connection;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::odbc::Odbc;

impl Session {
    /// Prevents procedures from ending the transaction, from the next one on.
    pub(in crate::sink) fn guard_commits(&mut self) {
        self.guards_commits = true;
    }

    /// Returns the XA transaction name of this connection, if calls need one.
    fn guarded(&self) -> Option<String> {
        match &self.connection {
            Connection::Mysql(mysql) if self.guards_commits => {
                Some(format!("'aqueduct-{}'", mysql.id()))
            }
            _ => None,
        }
    }

    /// Returns the driver if ODBC controls its transactions. Not for SQLite, where a transaction
    /// that starts to write late may have to be abandoned.
    fn transactions(&mut self) -> Option<&mut Odbc> {
        match &mut self.connection {
            Connection::Odbc(odbc) if odbc.dialect != Dialect::Sqlite => Some(odbc),
            _ => None,
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Same as [`Self::run`].
    pub(in crate::sink) async fn begin(&mut self) -> Result<(), SqlError> {
        let target = self.target.clone();
        if let Some(odbc) = self.transactions() {
            odbc.call(&target, |session| session.begin()).await?;
            if self.dialect() == Dialect::Postgres {
                self.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                self.run("SET CONSTRAINTS ALL IMMEDIATE").await?;
            }
            return Ok(());
        }
        if let Some(name) = self.guarded() {
            return self.run(&format!("XA START {name}")).await;
        }
        self.run(match self.dialect() {
            // Otherwise COMMIT would report violations of deferred constraints, without naming the
            // row.
            Dialect::Postgres => {
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET CONSTRAINTS ALL IMMEDIATE"
            }
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            _ => "START TRANSACTION",
        })
        .await
    }

    /// Commits.
    ///
    /// # Errors
    /// The commit failed, or was not answered.
    pub(in crate::sink) async fn commit(&mut self) -> Result<(), SqlError> {
        self.end(true).await
    }

    /// Rolls the transaction back.
    ///
    /// # Errors
    /// Same as [`Self::run`].
    pub(in crate::sink) async fn rollback(&mut self) -> Result<(), SqlError> {
        self.end(false).await
    }

    async fn end(&mut self, commits: bool) -> Result<(), SqlError> {
        let target = self.target.clone();
        if let Some(name) = self.guarded() {
            self.run(&format!("XA END {name}")).await?;
            let end = if commits { "COMMIT" } else { "ROLLBACK" };
            let phase = if commits { " ONE PHASE" } else { "" };
            return self.run(&format!("XA {end} {name}{phase}")).await;
        }
        match self.transactions() {
            Some(odbc) => odbc.call(&target, move |session| session.end(commits)).await,
            None => self.run(if commits { "COMMIT" } else { "ROLLBACK" }).await,
        }
    }

    /// Sets a savepoint.
    ///
    /// # Errors
    /// Same as [`Self::run`].
    pub(in crate::sink) async fn save(&mut self) -> Result<(), SqlError> {
        self.run(match self.dialect() {
            Dialect::SqlServer => "SAVE TRANSACTION aqueduct",
            _ => "SAVEPOINT aqueduct",
        })
        .await
    }

    /// Rolls back to the savepoint.
    ///
    /// # Errors
    /// Same as [`Self::run`].
    pub(in crate::sink) async fn back(&mut self) -> Result<(), SqlError> {
        self.run(match self.dialect() {
            Dialect::SqlServer => "ROLLBACK TRANSACTION aqueduct",
            _ => "ROLLBACK TO SAVEPOINT aqueduct",
        })
        .await
    }

    /// Releases the savepoint, if the next one of the same name does not replace it.
    ///
    /// # Errors
    /// Same as [`Self::run`].
    pub(in crate::sink) async fn release(&mut self) -> Result<(), SqlError> {
        match self.dialect() {
            Dialect::SqlServer | Dialect::Oracle => Ok(()),
            _ => self.run("RELEASE SAVEPOINT aqueduct").await,
        }
    }
}
